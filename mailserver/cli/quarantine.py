"""``mailserver quarantine``: from the command line to requests."""

from pathlib import Path

import click

from mailserver.cli.console import configured, print_outcome
from mailserver.cli.queue import as_json, outcomes


@click.group
def quarantine() -> None:
    """Show, release and remove the messages that are kept aside."""


@quarantine.command("list")
@as_json
@configured
def quarantine_list(as_json: bool, config: Path) -> int:
    """List the messages, those of each domain in the order of their arrival.

    With --json, prints an object for each message, one per line.
    """
    for outcome in outcomes(config, "quarantine list", json=as_json):
        print_outcome(outcome)
    return 0


@quarantine.command("show")
@click.argument("id")
@configured
def quarantine_show(id: str, config: Path) -> int:
    """Show why a message is kept aside, and its beginning."""
    for outcome in outcomes(config, "quarantine show", id=id):
        print_outcome(outcome)
    return 0


@quarantine.command("release")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@configured
def quarantine_release(ids: tuple[str, ...], config: Path) -> int:
    """Deliver messages to their recipients, and remove them from the quarantine."""
    return _change(config, "quarantine release", ids)


@quarantine.command("remove")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@configured
def quarantine_remove(ids: tuple[str, ...], config: Path) -> int:
    """Remove messages. They cannot be recovered."""
    return _change(config, "quarantine remove", ids)


def _change(config: Path, command: str, ids: tuple[str, ...]) -> int:
    """One request for each message, so that a failure leaves no doubt about the others."""
    for id in ids:
        for outcome in outcomes(config, command, ids=[id]):
            print_outcome(outcome)
    return 0
