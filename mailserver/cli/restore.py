"""``mailserver restore``: makes a data directory of a backup."""

import sys
from contextlib import closing
from pathlib import Path

import click

from mailserver.backup.generations import Generations
from mailserver.backup.manifest import Manifest
from mailserver.backup.restore import Restoration
from mailserver.cli.backup import check, summary
from mailserver.cli.progress import progress
from mailserver.durable.disk import Disk
from mailserver.errors import one_line, storage_error


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to", type=click.Path(path_type=Path), metavar="DATA",
    help="The new data directory; the configuration is left alone. Default: the place of both in the backup.",
)  # fmt: skip
@click.option("--generation", help="The name of a backup in DIR. Default: the newest.")
@click.option("--replace", is_flag=True, help="Set a data directory that is there aside, under another name.")
@click.option("--check", "only_check", is_flag=True, help="Only read the backup, and report damage.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore(
    folder: Path, to: Path | None, generation: str | None, replace: bool, only_check: bool, yes: bool
) -> int:
    """Restore the data directory from a backup in DIR, or from an unpacked tar file.

    Says what it will do, and asks. The data directory is complete in the end, or unchanged. No server may be
    running on it. A command that was interrupted can be started again, and goes on.
    """
    from mailserver.app.data import FORMAT

    try:
        manifest = Manifest(Generations(folder.absolute(), Disk()).find(generation))
        if only_check:
            return check(manifest)
        target = (to or Path(manifest.origin.data)).absolute()
        restoration = Restoration(manifest, target, Disk(), format=FORMAT, replace=replace)
        restoration.check()
        for line in _plan(manifest, target, restoration, data_only=to is not None):
            click.echo(one_line(line))
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("nobody can be asked: standard input is no terminal; use --yes.")
            click.confirm("Restore?", abort=True)
        _restore(restoration, data_only=to is not None)
    except OSError as error:
        raise storage_error(error) from error
    click.echo(f"{target}: restored")
    return 0


def _plan(manifest: Manifest, target: Path, restoration: Restoration, *, data_only: bool) -> list[str]:
    origin, totals = manifest.origin, restoration.totals
    lines = [
        f"from: {manifest.folder}, made {origin.time} of {origin.data}",
        f"to: {target}",
        f"what: {summary(totals)}, {totals.octets} octets",
    ]
    if restoration.is_occupied:
        lines.append(f"before: {target} is renamed to {restoration.aside}")
    if not data_only:
        lines.append(f"configuration: {origin.configuration} and its files, those that are missing")
    if totals.queued:
        lines.append(
            'queue: what was delivered since the backup is delivered again; "mailserver queue hold --all" '
            "before the start of the server prevents it"
        )
    return lines


def _restore(restoration: Restoration, *, data_only: bool) -> None:
    if not data_only:
        for line in restoration.configuration():
            click.echo(one_line(line))
    with progress("files") as show, closing(restoration.run()) as steps:
        for files in steps:
            show(files, restoration.totals.files)
