"""The ``mailserver`` command: its sub-commands, and how it ends.

Exit status 0: done; 1: failed; 2: wrong usage, with one line that says what is wrong.
"""

import sys

import click

from mailserver import __version__
from mailserver.auth.passwords import hash_password


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(__version__, prog_name="mailserver", message="%(prog)s %(version)s")
def cli() -> None:
    """Help run a mail server. The server itself is started by: twistd mailserver."""


@cli.command()
def passwd() -> None:
    """Print the hash of a password, for an account in the configuration.

    The password is asked for twice; if standard input is no terminal it is its first line.
    """
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        try:
            password = sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise click.ClickException("the password is not UTF-8") from None
    if not password:
        raise click.ClickException("the password is empty")
    click.echo(hash_password(password))


def main() -> None:
    """Run the command and end the process."""
    try:
        cli(standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mailserver"
        click.echo(f"{command}: {error.format_message()} See: {command} --help", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"mailserver: {error.format_message()}", err=True)
        sys.exit(1)
    except click.Abort:
        click.echo("mailserver: given up", err=True)
        sys.exit(1)
