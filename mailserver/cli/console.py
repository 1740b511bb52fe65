"""Shared by the commands: the option --config, arguments, the question for a password, the printing of
an outcome."""

import sys
from pathlib import Path
from typing import TypeVar

import click

from mailserver.config.loader import DEFAULT_CONFIG
from mailserver.config.schema.kinds import Context, Kind
from mailserver.config.schema.problems import InvalidValue
from mailserver.control.channel import CommandOutcome

T = TypeVar("T")

configured = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The configuration file.",
)


def ask_password() -> str:
    """Ask for a password twice, or read the first line of standard input if that is not a terminal.

    Raises ``click.ClickException``.
    """
    if sys.stdin.isatty():
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        try:
            password = sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise click.ClickException("the password is not UTF-8") from None
    if not password:
        raise click.ClickException("the password is empty")
    return password


def valid_argument(text: str, kind: Kind[T], context: Context | None = None) -> T:
    """An argument of a kind that the configuration has, too. Raises ``click.UsageError``."""
    try:
        return kind.convert(text, context or Context())
    except InvalidValue as error:
        raise click.UsageError(f"{error.what}; allowed: {error.allowed or kind.allowed}.") from None


def print_outcome(outcome: CommandOutcome) -> int:
    """Print the outcome of a command; return its exit status."""
    for line in outcome.lines:
        click.echo(line)
    return outcome.status
