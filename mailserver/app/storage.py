"""Builds what keeps mail and accounts, in the kind that ``storage.engine`` names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mailserver.accounts.interfaces import IAccountEngine
from mailserver.accounts.memory import MemoryAccounts
from mailserver.accounts.sqlite.engine import ReadOnlyAccounts, SQLiteAccounts
from mailserver.accounts.store import AccountStore
from mailserver.app.data import (
    accounts_file,
    left_over_queue_files,
    moved_file,
    queue_file,
    worker_queue_file,
    worker_queue_files,
)
from mailserver.app.moved import MovedMailboxes
from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.config.keys.top_level import Config
from mailserver.control.channel import CommandFailed
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.durable.room import require_room
from mailserver.errors import ConfigurationError
from mailserver.interfaces import IMailboxStore, IReactor
from mailserver.mail.address import Address
from mailserver.queue.interfaces import ISpoolEngine, ISpoolView
from mailserver.queue.memory import MemorySpool
from mailserver.queue.several import SeveralSpools
from mailserver.queue.shards.absorption import Absorption
from mailserver.queue.shards.forwarding import ACCEPT, ForwardedContents, accept_forwarded, remove_left_over
from mailserver.queue.shards.worker_spool import WorkerSpool
from mailserver.queue.spool import Spool
from mailserver.queue.sqlite.engine import SQLiteSpool
from mailserver.queue.sqlite.listing import outdated, view
from mailserver.store.locks import MailboxLocks
from mailserver.store.maildir import MaildirStore
from mailserver.store.memory import MemoryStore
from mailserver.store.quota import QuotaOf
from mailserver.threads.pool import Threads


def moved_mailboxes(config: Config, disk: Disk) -> MovedMailboxes:
    """The record of mailboxes that have moved to other names."""
    has_mail = None
    if config.storage.engine == "postgresql":
        with needs_psycopg():
            from mailserver.app.database import has_mail_in

        has_mail = partial(has_mail_in, config)
    return MovedMailboxes(moved_file(config), disk, has_mail)


def require_files(config: Config) -> None:
    """Raise :class:`~mailserver.control.channel.CommandFailed` if mail is in a database."""
    if config.storage.engine == "postgresql":
        raise CommandFailed(
            'storage.engine is "postgresql": this command checks files; check the database with pg_amcheck'
        )


@contextmanager
def needs_psycopg() -> Iterator[None]:
    """Raise :class:`~mailserver.errors.ConfigurationError` for an import that fails."""
    try:
        yield
    except ImportError:
        raise ConfigurationError(
            [
                'storage.engine: "postgresql" requires the package psycopg; allowed: after '
                'pip install "mailserver[postgresql]"'
            ]
        ) from None


def stored_queue(config: Config) -> ISpoolView:
    """The queue while no server runs. Raises ``OSError`` and :class:`~mailserver.errors.StorageError`."""
    if config.storage.engine == "postgresql":
        with needs_psycopg():
            from mailserver.app.database import queue_view

        return queue_view(config)
    return view_of_all(config.data, view(queue_file(config.data)))


def view_of_all(data: Path, first: ISpoolView) -> ISpoolView:
    """The spools of all workers for listings, of which ``first`` is that of the first worker. Other processes
    may be using them."""

    def others() -> dict[int, ISpoolView]:
        # A worker converts an older format when it starts.
        return {number: view(path) for number, path in worker_queue_files(data).items() if not outdated(path)}

    return SeveralSpools(first, others)


def open_accounts(config: Config, disk: Disk) -> AccountStore:
    """Open the account store. Blocks; raises :class:`~mailserver.errors.StorageError`."""
    if config.storage.engine == "memory":
        return AccountStore(MemoryAccounts())
    if config.storage.engine == "postgresql":
        return AccountStore(_accounts_in_database(config))
    return AccountStore(SQLiteAccounts(accounts_file(config.data), disk))


def read_accounts(config: Config) -> AccountStore:
    """The account store as it is stored, to be read only; empty if it is in the memory of a server. Blocks;
    raises :class:`~mailserver.errors.StorageError`."""
    if config.storage.engine == "memory":
        return AccountStore(MemoryAccounts())
    if config.storage.engine == "postgresql":
        return AccountStore(_accounts_in_database(config))
    return AccountStore(ReadOnlyAccounts(accounts_file(config.data)))


def _accounts_in_database(config: Config) -> IAccountEngine:
    with needs_psycopg():
        from mailserver.accounts.postgresql.engine import PostgreSQLAccounts
        from mailserver.app.database import connections

    return PostgreSQLAccounts(connections(config))


def mailbox_store(
    config: Config,
    disk: Disk,
    damaged: DamagedFolder,
    quota_of: QuotaOf,
    reactor: IReactor,
    threads: Threads,
    current: Callable[[Address], Address] = lambda mailbox: mailbox,
    locks: MailboxLocks | None = None,
    worker: int = 0,
) -> IMailboxStore:
    """The store that the configuration names."""
    if config.storage.engine == "memory":
        return MemoryStore(quota_of, current=current)
    if config.storage.engine == "postgresql":
        from mailserver.app.database import postgresql_store

        return postgresql_store(config, disk, reactor, quota_of, current)
    return MaildirStore(
        config.data / "mail",
        config.hostname,
        disk,
        reactor,
        damaged=damaged,
        quota_of=quota_of,
        reserve=config.storage.reserve,
        threads=threads,
        current=current,
        locks=locks,
        worker=worker,
    )


def make_spool(
    config: Config,
    store: IMailboxStore,
    disk: Disk,
    damaged: DamagedFolder,
    first_retry: Callable[[], float],
    reactor: IReactor,
    peers: IPeers,
) -> Spool:
    """The spool of a worker in front of the store, of the same kind."""
    options: dict[str, Any] = {
        "first_retry": first_retry,
        "check_room": partial(require_room, config.data / "tmp", config.storage.reserve),
    }
    folder = config.data / "tmp"
    if config.storage.engine == "memory":
        return Spool(store, MemorySpool(), folder, damaged, reactor, **options)
    if config.storage.engine == "postgresql":
        from mailserver.queue.postgresql.engine import PostgreSQLSpool
        from mailserver.store.postgresql.store import PostgreSQLStore

        assert isinstance(store, PostgreSQLStore)
        return Spool(store, PostgreSQLSpool(store.database), folder, damaged, reactor, **options)
    if peers.number != FIRST:
        return WorkerSpool(
            store,
            SQLiteSpool(worker_queue_file(config.data, peers.number), disk),
            folder,
            damaged,
            reactor,
            peers=peers,
            forwarded=ForwardedContents(folder, peers.number, disk, options["check_room"]),
            **options,
        )
    absorption = Absorption(
        partial(left_over_queue_files, config.data, peers.others),
        lambda path: SQLiteSpool(path, disk),
        damaged,
        disk,
    )

    def absorb(engine: ISpoolEngine, last: int) -> int:
        remove_left_over(folder, disk, lambda number: number not in peers.others)
        return absorption(engine, last)

    engine = SQLiteSpool(queue_file(config.data), disk)
    spool = Spool(store, engine, folder, damaged, reactor, absorb=absorb, **options)
    peers.serve(ACCEPT, partial(accept_forwarded, spool))
    return spool
