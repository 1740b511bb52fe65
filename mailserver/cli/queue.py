"""``mailserver queue``: from the command line to requests, and their output."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from mailserver.cli.console import configured, print_outcome
from mailserver.cli.requests import data_folder, perform
from mailserver.control.channel import CommandOutcome

_F = TypeVar("_F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def selecting(command: _F) -> _F:
    """The conditions for messages and recipients. The command gets them as ``conditions``."""
    for option in (
        click.option(
            "--state", type=click.Choice(["due", "waiting", "held"]), help="Recipients in this state."
        ),
        click.option("--sender", help='Messages with this reverse-path; "" is the null one.'),
        click.option("--domain", help="Recipients in this domain."),
        click.option("--recipient", help="Recipients with this address."),
        click.argument("ids", metavar="[ID]...", nargs=-1),
    ):
        command = option(command)
    return command


def outcomes(config: Path, command: str, **arguments: object) -> Iterator[CommandOutcome]:
    """The outcomes of a command that is performed in steps."""
    more: object = None
    while True:
        request = {"command": command, "config": str(config.absolute()), **arguments, "more": more}
        outcome = perform(data_folder(config), request)
        yield outcome
        more = outcome.more
        if more is None:
            return


@click.group
def queue() -> None:
    """Show and change the messages in the queue."""


@queue.command("list")
@selecting
@as_json
@configured
def queue_list(as_json: bool, config: Path, **conditions: object) -> int:
    """List messages and their waiting recipients, the oldest first.

    With --json, prints an array with an object for each message.
    """
    steps = outcomes(config, "queue list", json=as_json, **_request(conditions))
    if as_json:
        return _print_array(line for outcome in steps for line in outcome.lines)
    for outcome in steps:
        print_outcome(outcome)
    return 0


@queue.command("show")
@click.argument("id")
@as_json
@configured
def queue_show(id: str, as_json: bool, config: Path) -> int:
    """Show the envelope, the state and the header of a message.

    The ID is in the output of list, in the log and in the 250 reply.
    """
    request = {"command": "queue show", "config": str(config.absolute()), "id": id, "json": as_json}
    return print_outcome(perform(data_folder(config), request))


@queue.command("summary")
@as_json
@configured
def queue_summary(as_json: bool, config: Path) -> int:
    """Show the number of waiting recipients for each destination, the largest first.

    With --json, prints an array with an object for each destination.
    """
    outcome = perform(
        data_folder(config), {"command": "queue summary", "config": str(config.absolute()), "json": as_json}
    )
    return _print_array(iter(outcome.lines)) if as_json else print_outcome(outcome)


def _print_array(objects: Iterator[str]) -> int:
    """Print a JSON array with an object on each line."""
    click.echo("[", nl=False)
    for number, line in enumerate(objects):
        click.echo(f"{',' if number else ''}\n{line}", nl=False)
    click.echo("\n]")
    return 0


def _request(conditions: dict[str, object]) -> dict[str, object]:
    return {**conditions, "ids": list(conditions["ids"])}  # type: ignore[call-overload]


def _changing(name: str, about: str) -> None:
    """Add a command that changes the queue."""

    @queue.command(name, help=about)
    @selecting
    @click.option("--all", "every", is_flag=True, help="All messages.")
    @configured
    def change(every: bool, config: Path, **conditions: object) -> int:
        if every == any(value not in (None, ()) for value in conditions.values()):
            raise click.UsageError("name messages by IDs or options, or use --all.")
        shown = sys.stderr.isatty()
        status = 0
        for outcome in outcomes(config, f"queue {name}", **_request(conditions)):
            if outcome.more is not None and shown:
                click.echo(f"\r{name}: {outcome.more['recipients']} recipients", nl=False, err=True)
            elif outcome.more is None:
                if shown:
                    click.echo("\r\x1b[K", nl=False, err=True)
                status = print_outcome(outcome)
        return status


for _name, _about in (
    ("retry", "Try recipients again now, except held ones."),
    ("hold", "Make no more attempts for recipients until they are released."),
    ("release", "Release held recipients, and try them again now."),
    ("remove", "Remove recipients from the queue. They do not get the message; no bounce is sent."),
    ("expire", "Give up on recipients now, and send bounces."),
):
    _changing(_name, _about)
