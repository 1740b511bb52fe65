"""``mailserver doctor``: looks for trouble, and says how to mend it."""

import json
from pathlib import Path

import click

from mailserver.cli.console import configured


@click.command
@click.option("--offline", is_flag=True, help="Ask no DNS server and no other mail server.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@configured
def doctor(offline: bool, as_json: bool, config: Path) -> int:
    """Look for trouble: configuration, files, disk, TLS, DNS, queue, accounts, backup.

    Each finding is an error, a warning or a notice, with its kind in square brackets. Below it is the command
    or the key that mends it. Changes nothing; a server may be running. Exit status 1 if there is an error or
    a warning.
    """
    from mailserver.app.doctor.runner import Doctor  # slow, and no other command needs it

    examination = Doctor(config, offline=offline).run()
    if as_json:
        click.echo(json.dumps(examination.object, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(examination.lines))
    return 0 if examination.is_sound else 1
