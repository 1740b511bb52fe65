"""Copies all mailboxes and the account store between a data directory and the database of a configuration.

No server may run meanwhile: the data directories are locked. What waits in a queue is not copied, so the
queue of the source must be empty.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs

from mailserver.accounts.sql.changes import SQLAccounts
from mailserver.accounts.sqlite.engine import ReadOnlyAccounts, SQLiteAccounts
from mailserver.app.data import accounts_file, data_lock, queue_file, require_format
from mailserver.app.storage import needs_psycopg, view_of_all
from mailserver.config.keys.top_level import Config
from mailserver.control.channel import CommandFailed
from mailserver.durable.disk import Disk
from mailserver.errors import DataInUse, storage_error
from mailserver.mail.words import counted
from mailserver.migration.engines import EngineTransfer
from mailserver.migration.maildirs import Maildirs
from mailserver.migration.transfer import Transferred
from mailserver.queue.interfaces import ISpoolView
from mailserver.queue.selection import Selection
from mailserver.queue.sqlite.listing import view

Show = Callable[[int, int], None]


@attrs.define
class StoreTransferred:
    """The result: ``mail``, how many ``entries`` of the account store were copied, and how many were there
    already, ``problems`` with a line for each entry that was not copied, and ``remarks``."""

    mail: Transferred
    entries: int
    skipped: int
    problems: list[str]
    remarks: list[str]

    def lines(self, done: str) -> list[str]:
        """All lines of the report."""
        names = f"{done} {counted(self.entries, 'name')} (accounts, aliases and lists)"
        last = f"{len(self.problems)} not {done}" if self.problems else "verified"
        return [
            *self.remarks,
            *self.problems,
            *self.mail.problems,
            f"{names}, skipped {self.skipped}, {last}",
            self.mail.summary(done),
        ]

    @property
    def status(self) -> int:
        """The exit status."""
        return 1 if self.problems or self.mail.problems else 0


class StoreTransfer:
    """Copies between ``folder``, a data directory with Maildirs, and the database.

    The constructor reads what only root may read. The methods raise
    :class:`~mailserver.errors.MailserverError`.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        if config.storage.engine != "postgresql":
            raise CommandFailed(
                f'storage.engine is "{config.storage.engine}": this command needs "postgresql" and the URL '
                "of the database"
            )
        with needs_psycopg():
            from mailserver.accounts.postgresql.engine import PostgreSQLAccounts
            from mailserver.app import database
            from mailserver.store.postgresql.copying import DatabaseMailboxes
        self._config = config
        self._folder = folder
        self._disk = Disk()
        self._connections = database.connections(config)
        self._check_database = partial(database.require_alone, config, self._disk, self._connections)
        self._queue = partial(database.queue_view, config)
        self._accounts = partial(PostgreSQLAccounts, self._connections)
        self._mailboxes = DatabaseMailboxes(self._connections)

    def import_files(self, show: Show) -> StoreTransferred:
        """Copy from the folder to the database."""
        if not any((self._folder / name).exists() for name in ("mail", "accounts.db")):
            raise CommandFailed(f"{self._folder} is no data directory: it has neither mail nor accounts.db")
        with self._alone():
            _require_empty(view_of_all(self._folder, view(queue_file(self._folder))), str(self._folder))
            accounts = ReadOnlyAccounts(accounts_file(self._folder))
            maildirs = Maildirs(self._folder, self._disk)
            entries = _copy_entries(accounts, self._accounts())
            mail = EngineTransfer(maildirs, self._mailboxes, show).run()
            return StoreTransferred(mail, *entries, remarks=maildirs.remarks)

    def export_files(self, show: Show) -> StoreTransferred:
        """Copy from the database to the folder, which is created if it is missing."""
        with self._alone(make=True):
            _require_empty(self._queue(), "the database")
            maildirs = Maildirs(self._folder, self._disk, self._config.storage.reserve)
            accounts = SQLiteAccounts(accounts_file(self._folder), self._disk)
            try:
                entries = _copy_entries(self._accounts(), accounts)
            finally:
                accounts.close()
            return StoreTransferred(
                EngineTransfer(self._mailboxes, maildirs, show).run(), *entries, remarks=[]
            )

    @contextmanager
    def _alone(self, *, make: bool = False) -> Iterator[None]:
        """Lock the data directory and the folder, and check both and the database."""
        data, folder = self._config.data, self._folder
        try:
            with ExitStack() as stack:
                try:
                    require_format(data)
                    stack.enter_context(data_lock(data))
                    if make:
                        self._disk.make_dirs(folder)
                    require_format(folder)
                    if not folder.samefile(data) and (make or (folder / "lock").exists()):
                        stack.enter_context(data_lock(folder))
                    self._check_database()
                except DataInUse as error:
                    raise CommandFailed(f"{error}; this command needs a stopped server") from None
                yield
        except OSError as error:
            raise storage_error(error) from error


def _require_empty(queue: ISpoolView, place: str) -> None:
    if queue.page(Selection(), 0, 1):
        raise CommandFailed(
            f"messages wait in the queue of {place}: start the server with its old engine until "
            '"mailserver queue list" shows none'
        )


def _copy_entries(source: SQLAccounts, target: SQLAccounts) -> tuple[int, int, list[str]]:
    """Copy the entries of an account store in one transaction, and compare all. Returns how many were copied,
    how many were there already, and a line for each that is not the same."""
    found, there = source.entries(), target.entries()
    target.add_entries([rows for key, rows in found.items() if key not in there])
    after = target.entries()
    problems = [
        f"{key}: the target has another account, alias or list of this name"
        for key, rows in found.items()
        if after.get(key) != rows
    ]
    copied = sum(key not in there for key in found)
    return copied, len(found) - copied - len(problems), problems
