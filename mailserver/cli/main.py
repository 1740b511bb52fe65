"""The ``mailserver`` command: its sub-commands and its exit status.

Exit status 0: done; 1: failed; 2: wrong usage, with one line that names the mistake. Without a command it
prints the help, with exit status 2; so do its groups of commands.
"""

import sys
from pathlib import Path

import click

from mailserver import __version__
from mailserver.accounts.passwords import hash_password
from mailserver.cli import accounts as account_commands
from mailserver.cli.backup import backup
from mailserver.cli.config import config_commands
from mailserver.cli.console import ask_password, configured, print_outcome
from mailserver.cli.dkim import dkim
from mailserver.cli.dns import dns
from mailserver.cli.doctor import doctor
from mailserver.cli.explain import explain
from mailserver.cli.fixture import fixture
from mailserver.cli.init import init
from mailserver.cli.migration import export
from mailserver.cli.quarantine import quarantine
from mailserver.cli.queue import queue
from mailserver.cli.requests import ask_server, data_folder, perform
from mailserver.cli.restore import restore
from mailserver.cli.sendmail import sendmail
from mailserver.cli.top import top
from mailserver.errors import ConfigurationError, MailserverError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mailserver", message="%(prog)s %(version)s")
def cli() -> None:
    """Administer a mail server. To start the server: twistd mailserver."""


@cli.command()
def passwd() -> None:
    """Print the hash of a password.

    The hash is for an account in the configuration. Asks for the password twice. If standard input is not a
    terminal, its first line is the password.
    """
    click.echo(hash_password(ask_password()))


@cli.command()
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@configured
def reload(dry_run: bool, config: Path) -> int:
    """Make the running server read its configuration again.

    A configuration with an error is rejected, and the old one stays in force.
    """
    return print_outcome(ask_server(config, {"command": "reload", "dry_run": dry_run}))


@cli.command()
@configured
def verify(config: Path) -> int:
    """Check the mailboxes, the spool and the accounts.

    Changes nothing; a server may be running. Prints one line per problem: the file, the problem, and what a
    repair would do ("would be removed"). Exit status 1 if there is a problem.
    """
    return print_outcome(
        perform(data_folder(config), {"command": "verify", "config": str(config.absolute())})
    )


@cli.command()
@click.argument("what", metavar="ID|ADDRESS")
@click.option("--last", default=20, type=click.IntRange(1, 1000), show_default=True, help="Messages to show.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as JSON, one per line.")
@configured
def trace(what: str, last: int, as_json: bool, config: Path) -> int:
    """Show what has happened to a message.

    ID is the id in the 250 reply, in the log and in the Received field. With an ADDRESS, shows the last
    messages from or to it. Exit status 1 if no message is found.
    """
    request = {
        "command": "trace",
        "what": what,
        "last": last,
        "json": as_json,
        "config": str(config.absolute()),
    }
    return print_outcome(perform(data_folder(config), request))


class WholeCommand(click.Command):
    """A command that parses its own arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the arguments as they are."""
        ctx.args = args
        return args


@cli.command("sendmail", cls=WholeCommand, add_help_option=False)
@click.pass_context
def sendmail_command(context: click.Context) -> int:
    """Submit a message from standard input, like sendmail(1)."""
    return sendmail(context.args)


for command in (
    init,
    account_commands.account,
    account_commands.alias,
    account_commands.domain,
    account_commands.mailing_list,
    account_commands.import_,
    config_commands,
    export,
    backup,
    restore,
    dkim,
    explain,
    dns,
    doctor,
    quarantine,
    queue,
    top,
    fixture,
):
    cli.add_command(command)


def main() -> None:
    """Run the command and end the process."""
    if Path(sys.argv[0]).name == "sendmail":
        sys.exit(sendmail(sys.argv[1:]))
    try:
        sys.exit(cli(standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.message)
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mailserver"
        click.echo(f"{command}: {error.format_message()} See: {command} --help", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"mailserver: {error.format_message()}", err=True)
        sys.exit(1)
    except ConfigurationError as error:
        click.echo("\n".join(error.lines), err=True)
        sys.exit(1)
    except MailserverError as error:
        click.echo(f"mailserver: {error}", err=True)
        sys.exit(1)
    except click.Abort:
        click.echo("mailserver: aborted", err=True)
        sys.exit(1)
