"""``mailserver backup``: makes a backup, or reads one again.

The command reads the data itself, in a process of its own with a low priority. It asks a running server only
for a copy of the spool.
"""

import json
import os
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import click

from mailserver.backup.copying import BackupCopy, BackupSource
from mailserver.backup.folder import FolderTarget
from mailserver.backup.generations import Generations
from mailserver.backup.manifest import BackupOrigin, BackupTotals, Manifest
from mailserver.backup.stream import TarTarget
from mailserver.backup.target import BackupTarget
from mailserver.backup.verify import BackupCheck
from mailserver.cli.console import configured
from mailserver.cli.progress import progress
from mailserver.cli.requests import PATIENCE, owner
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.control.client import ask
from mailserver.durable.copies import FileAttributes, set_attributes
from mailserver.durable.disk import Disk
from mailserver.errors import DataInUse, one_line, storage_error
from mailserver.mail.words import counted

NICE = 10
MOST_LINES = 20  # problems that are printed


@click.command()
@click.argument("to", metavar="DIR|-")
@click.option("--keep", type=click.IntRange(1), help="Remove all backups in DIR but the newest ones.")
@click.option("--verify", is_flag=True, help="Read the newest backup in DIR again. Makes no backup.")
@click.option("--generation", help="With --verify: the name of another backup.")
@configured
def backup(to: str, keep: int | None, verify: bool, generation: str | None, config: Path) -> int:
    """Copy the data and the configuration to DIR, or to standard output as a tar file.

    The server may be running. Each backup is a folder in DIR, with the time (UTC) as its name. Only what is
    new since the last one takes time and space. Exit status 1 if a file cannot be read.
    """
    if generation is not None and not verify:
        raise click.UsageError("--generation is for --verify.")
    if to == "-" and (keep or verify):
        raise click.UsageError("--keep and --verify need a folder.")
    if to == "-" and sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal.")
    try:
        if verify:
            return check(Manifest(Generations(Path(to), Disk()).find(generation)))
        return _back_up(to, keep, config)
    except OSError as error:
        raise storage_error(error) from error


def check(manifest: Manifest) -> int:
    """Read a backup again, and print what is wrong. Returns the exit status."""
    checking = BackupCheck(manifest)
    with progress("files") as show:
        for files in checking.run():
            show(files, checking.totals.files)
    _print_problems(checking.problems)
    result = counted(len(checking.problems), "problem") if checking.problems else "all well"
    click.echo(f"{manifest.folder}: {summary(checking.totals)}: {result}")
    return 1 if checking.problems else 0


def summary(totals: BackupTotals) -> str:
    """The counts in words."""
    boxes = f"{totals.mailboxes} mailbox{'' if totals.mailboxes == 1 else 'es'}"
    return (
        f"{counted(totals.messages, 'message')} in {boxes}, {counted(totals.queued, 'queued message')}, "
        f"{counted(totals.accounts, 'account')}, {counted(totals.files, 'file')}"
    )


def _print_problems(problems: list[str]) -> None:
    for line in problems[:MOST_LINES]:
        click.echo(one_line(line), err=True)
    if len(problems) > MOST_LINES:
        click.echo(f"and {len(problems) - MOST_LINES} more", err=True)


def _back_up(to: str, keep: int | None, path: Path) -> int:
    from mailserver.app.backup import EXAMINE, origin, other_files

    config, disk, now = load(path, os.environ), Disk(), time.time()
    if config.storage.engine == "memory":
        raise click.ClickException('storage.engine is "memory": there is nothing on the disk')
    if config.storage.engine == "postgresql":
        raise click.ClickException(
            'storage.engine is "postgresql": back up the database with pg_dump or pg_basebackup'
        )
    owner(config.data)
    source = BackupSource(
        config.data, other_files(config, path), partial(_copy_spools, config.data, disk), EXAMINE
    )
    begin = origin(config, path, now)
    if to == "-":
        with TarTarget(sys.stdout.buffer, begin) as stream:
            problems = _copy(source, stream, disk)
        return _report(config, "-", begin, stream, problems, disk)
    generations = Generations(Path(to).absolute(), disk)
    if generations.folder.resolve().is_relative_to(config.data.resolve()):
        raise click.UsageError(f"DIR must not be in the data directory {config.data}.")
    with generations.lock():
        known = generations.known()
        partial_folder = generations.begin(now)
        with FolderTarget(partial_folder, begin, disk, known) as target:
            problems = _copy(source, target, disk)
        done = generations.finish(partial_folder)
        removed = generations.clean(keep)
    status = _report(config, str(done), begin, target, problems, disk)
    for name in removed:
        click.echo(f"{generations.folder / name}: removed")
    return status


def _copy(source: BackupSource, target: BackupTarget, disk: Disk) -> list[str]:
    os.nice(NICE)
    copy = BackupCopy(source, target, disk)
    with progress("mailboxes") as show, closing(copy.run()) as steps:
        for step in steps:
            show(step.done, step.mailboxes)
    return copy.problems


def _report(
    config: Config, place: str, begin: BackupOrigin, target: BackupTarget, problems: list[str], disk: Disk
) -> int:
    """Print the result, and record a backup without problems."""
    _print_problems(problems)
    totals = target.manifest.totals
    new = f"{counted(target.fresh, 'new file')} with {target.fresh_octets} octets"
    click.echo(f"{place}: {summary(totals)}; {new}", err=place == "-")
    if problems:
        click.echo(f"{counted(len(problems), 'file or folder')} could not be read", err=True)
        return 1
    from mailserver.app.doctor.backup import RECORD

    record = {"time": begin.time, "directory": place, "messages": totals.messages}
    path = config.data / RECORD
    disk.replace(path, json.dumps(record).encode() + b"\n")
    _give(path, config.data)
    return 0


def _give(path: Path, data: Path) -> None:
    """Give a new file to the owner of the data."""
    status, now = data.stat(), FileAttributes.of(path.stat())
    set_attributes(path, FileAttributes(now.mode, status.st_uid, status.st_gid, now.mtime))


def _copy_spools(data: Path, disk: Disk) -> Path | None:
    """Let the running server copy its spool, or do it here. Returns the folder of the copy."""
    from mailserver.app.backup import BACKUP_SPOOL, copy_spools
    from mailserver.app.data import data_lock

    deadline = time.monotonic() + PATIENCE
    while (outcome := ask(data, {"command": BACKUP_SPOOL})) is None:
        try:
            with data_lock(data):
                _give(data / "lock", data)
                return copy_spools(data, disk)
        except DataInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    return Path(outcome.lines[0])
