"""``mailserver import maildir|mbox|dovecot`` and ``export``: mailboxes from elsewhere, and out again.

These commands read and write the Maildirs themselves, whether the server runs or not: it treats the messages
like those of other programs that deliver. As root, they read a source, and write an export, as root, and use
the mailbox as the owner of the data.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

import attrs
import click

from mailserver.cli.accounts import import_
from mailserver.cli.console import configured
from mailserver.cli.progress import progress
from mailserver.cli.requests import as_owner, become_owner, perform
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.durable.disk import Disk
from mailserver.errors import one_line, storage_error
from mailserver.migration.dovecot import DEFAULT_FORMAT, UIDLIST, InvalidFormat, UIDFormat, read_uidlist
from mailserver.migration.maildir import MaildirSource, folder_remark, folders_of
from mailserver.migration.mbox import MboxSource
from mailserver.migration.mbox_export import MboxExport
from mailserver.migration.source import MessageSource, key_of
from mailserver.migration.transfer import Transfer, Transferred, User
from mailserver.store.intake import MaildirIntake

T = TypeVar("T")

folder_source = click.argument(
    "source", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="SOURCE"
)
to = click.option("--to", "address", required=True, metavar="ADDRESS", help="The account that gets the mail.")
folder = click.option(
    "--folder", "folders", multiple=True, metavar="NAME",
    help='A folder to include, such as Sent for ".Sent". May be repeated.',
)  # fmt: skip


# ------------------------------------------------------------ import


@import_.command("maildir")
@folder_source
@to
@folder
@configured
def import_maildir(source: Path, address: str, folders: tuple[str, ...], config: Path) -> int:
    """Import the messages of a Maildir.

    Their names, flags and times stay. A message that is there already is compared and skipped, so the command
    can be repeated. Changes nothing in SOURCE. Exit status 1 if a message cannot be imported.
    """
    return _import_folders(source, address, folders, config, MaildirSource)


@import_.command("dovecot")
@folder_source
@to
@folder
@click.option(
    "--uidl-format", default=DEFAULT_FORMAT, show_default=True, metavar="FORMAT",
    help="The value of pop3_uidl_format in Dovecot.",
)  # fmt: skip
@configured
def import_dovecot(
    source: Path, address: str, folders: tuple[str, ...], uidl_format: str, config: Path
) -> int:
    """Import the messages of a Maildir of Dovecot, with their unique-ids.

    POP3 clients that leave mail on the server then do not fetch it again. Stop Dovecot before the last
    import. Otherwise like "import maildir".
    """
    try:
        format = UIDFormat(uidl_format)
    except InvalidFormat as error:
        raise click.UsageError(f"{error}.") from None
    if not (source / UIDLIST).exists():
        raise click.ClickException(f"{source} has no {UIDLIST}; for another Maildir use: import maildir")

    def with_uids(path: Path) -> MaildirSource:
        return MaildirSource(path, read_uidlist(path).uids(format))

    return _import_folders(source, address, folders, config, with_uids)


@import_.command("mbox")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="SOURCE")
@to
@configured
def import_mbox(source: Path, address: str, config: Path) -> int:
    """Import the messages of an mbox file (mboxo or mboxrd).

    A message that is there already is compared and skipped, so the command can be repeated. Changes nothing
    in SOURCE. Exit status 1 if a message cannot be imported.
    """
    mailbox = AccountMailbox.of(address, config)
    return _report([mailbox.take(_opened(source, MboxSource), mailbox.path)], "imported")


@import_.command("store")
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DATA")
@configured
def import_store(source: Path, config: Path) -> int:
    """Import all mailboxes and the account store of a data directory into the database.

    For storage.engine = "postgresql". DATA is the data directory of a server with the engine "maildir", also
    that of this configuration. Unique-ids, order and times of arrival stay. What is there already is compared
    and skipped, so the command can be repeated. Changes nothing in DATA. No server may be running. Exit
    status 1 if something cannot be imported.
    """
    return _move_store(source, config, is_import=True)


def _move_store(folder: Path, config: Path, *, is_import: bool) -> int:
    from mailserver.app.engine_transfer import StoreTransfer

    loaded = load(config, os.environ)
    transfer = StoreTransfer(loaded, folder.absolute())
    become_owner(loaded.data)
    with progress("mailboxes") as show:
        result = transfer.import_files(show) if is_import else transfer.export_files(show)
    for line in result.lines("imported" if is_import else "exported"):
        click.echo(line)
    return result.status


def _import_folders(
    source: Path,
    address: str,
    folders: Sequence[str],
    config: Path,
    inbox: Callable[[Path], MaildirSource],
) -> int:
    """Import a Maildir, and folders below it into folders with the same names."""
    mailbox = AccountMailbox.of(address, config)
    wanted = _wanted(source, folders)
    results = [mailbox.take(_opened(source, inbox), mailbox.path)]
    for name, path in wanted.items():
        results.append(mailbox.take(_opened(path, MaildirSource), mailbox.path / f".{name}"))
    _print_remarks(source, folders)
    return _report(results, "imported")


# ------------------------------------------------------------ export


@click.command
@click.argument("address", required=False)
@click.option("--maildir", type=click.Path(path_type=Path), metavar="DIR", help="Write a Maildir.")
@click.option(
    "--mbox", type=click.Path(path_type=Path), metavar="FILE", help="Write a new mbox file (mboxrd)."
)
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DATA",
    help="Write all mailboxes and the account store of the database to a new data directory.",
)
@folder
@configured
def export(
    address: str | None,
    maildir: Path | None,
    mbox: Path | None,
    store: Path | None,
    folders: tuple[str, ...],
    config: Path,
) -> int:
    """Copy the mailbox of an account to a Maildir or an mbox, or the whole store with --store.

    The mailbox stays as it is. An export to a Maildir can be repeated, and adds what is new. FILE must not
    exist. Exit status 1 if a message cannot be copied.

    With --store there is no ADDRESS. It reverses "import store", for storage.engine = "postgresql". An
    export that was interrupted continues when it is repeated. No server may be running.
    """
    if store is not None:
        if address is not None or maildir is not None or mbox is not None or folders:
            raise click.UsageError("--store takes neither an ADDRESS nor another option.")
        return _move_store(store, config, is_import=False)
    if address is None:
        raise click.UsageError("Missing argument 'ADDRESS'.")
    if (maildir is None) == (mbox is None):
        raise click.UsageError("Give one of --maildir DIR and --mbox FILE.")
    if mbox is not None and folders:
        raise click.UsageError("--folder needs --maildir.")
    mailbox = AccountMailbox.of(address, config)
    with mailbox.owner():
        source = MaildirSource(mailbox.path, may_be_new=True)
        wanted = _wanted(mailbox.path, folders)
        more = {name: MaildirSource(path) for name, path in wanted.items()}
    results = []
    if mbox is not None:
        if mbox.exists():
            raise click.ClickException(f"{mbox} exists already")
        with progress("messages") as show:
            results.append(MboxExport(source, mbox.absolute(), Disk(), mailbox.owner).run(show))
    elif maildir is not None:
        maildir = maildir.absolute()
        _require_export(maildir)
        places = {maildir: source, **{maildir / f".{name}": one for name, one in more.items()}}
        for path, one in places.items():
            results.append(_transfer(one, _intake(maildir.parent, path), mailbox.owner, nullcontext))
    with mailbox.owner():
        _print_remarks(mailbox.path, folders)
    return _report(results, "exported")


def _require_export(path: Path) -> None:
    """Allow a folder that does not exist, or that an earlier export has made."""
    if path.exists() and not path.is_dir():
        raise click.ClickException(f"{path} is not a folder")
    names = [entry.name for entry in path.iterdir()] if path.exists() else []
    others = [name for name in names if name not in ("new", "cur", "tmp") and not name.startswith(".")]
    if others:
        raise click.ClickException(f"{path} is not a Maildir: it has {others[0]}")


# ------------------------------------------------------------ shared


@attrs.frozen
class AccountMailbox:
    """The Maildir of an account, and the configuration of its server."""

    path: Path
    config: Config

    @classmethod
    def of(cls, address: str, config: Path) -> "AccountMailbox":
        """That of an address. Raises :class:`~mailserver.errors.MailserverError`."""
        loaded = load(config, os.environ)
        request = {"command": "account mailbox", "config": str(config.absolute()), "address": address}
        return cls(Path(perform(loaded.data, request, stay_root=True).lines[0]), loaded)

    def owner(self) -> AbstractContextManager[None]:
        return as_owner(self.config.data)

    def take(self, source: MessageSource, path: Path) -> Transferred:
        """Import a source into the Maildir ``path``: the mailbox, or a folder of it."""
        target = _intake(self.config.data, path, self.config.storage.reserve)
        return _transfer(source, target, nullcontext, self.owner)


def _intake(root: Path, path: Path, reserve: int = 0) -> MaildirIntake:
    return MaildirIntake(root, path, Disk(), key_of=key_of, reserve=reserve)


def _transfer(source: MessageSource, target: MaildirIntake, reading: User, writing: User) -> Transferred:
    with progress("messages") as show:
        return Transfer(source, target, reading, writing, show).run()


def _opened(path: Path, kind: Callable[[Path], T]) -> T:
    try:
        return kind(path)
    except OSError as error:
        raise storage_error(error) from error


def _wanted(path: Path, folders: Sequence[str]) -> dict[str, Path]:
    """The folders with these names. Raises ``click.ClickException`` if there is no such folder."""
    there = folders_of(path)
    for name in folders:
        if name not in there:
            known = ", ".join(there) or "none"
            raise click.ClickException(one_line(f"{path} has no folder {name}; its folders: {known}"))
    return {name: there[name] for name in folders}


def _print_remarks(path: Path, folders: Sequence[str]) -> None:
    """Name the folders that are not included."""
    for name, place in folders_of(path).items():
        if name not in folders:
            click.echo(one_line(folder_remark(name, place)))


def _report(results: Sequence[Transferred], done: str) -> int:
    """Print the problems and the sum; return the exit status."""
    total = sum(results[1:], start=results[0])
    for problem in total.problems:
        click.echo(one_line(problem))
    click.echo(total.summary(done))
    return 1 if total.problems else 0
