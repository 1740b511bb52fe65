"""Builds what keeps mail in PostgreSQL. Only a server with ``storage.engine = "postgresql"`` imports this
module, because it needs the package psycopg."""

import secrets
from collections.abc import Callable
from pathlib import Path

from mailserver.app.data import node_file
from mailserver.config.keys.top_level import Config
from mailserver.durable.disk import Disk
from mailserver.errors import DataInUse, StorageRefused, storage_error, storage_errors
from mailserver.interfaces import IReactor
from mailserver.mail.address import Address
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.database import NODE, PostgreSQLDatabase, prepare
from mailserver.postgresql.leases import Leases
from mailserver.queue.interfaces import ISpoolView
from mailserver.queue.postgresql.listing import PostgreSQLListing
from mailserver.store.postgresql.store import PostgreSQLStore, has_messages
from mailserver.store.quota import QuotaOf


def connections(config: Config) -> Connections:
    """The connections to the database. Raises :class:`~mailserver.errors.ConfigurationError`."""
    assert config.storage.url is not None
    return Connections(config.storage.url.reveal())


def postgresql_store(
    config: Config,
    disk: Disk,
    reactor: IReactor,
    quota_of: QuotaOf,
    current: Callable[[Address], Address],
) -> PostgreSQLStore:
    """The mailboxes, in a database that is not open yet."""
    database = PostgreSQLDatabase(connections(config), lambda: _node(config.data, disk))
    return PostgreSQLStore(database, reactor, quota_of, current)


def _node(data: Path, disk: Disk) -> str:
    """The id of this data directory among those that use the database. Raises
    :class:`~mailserver.errors.StorageError`."""
    path = node_file(data)
    with storage_errors(path):
        try:
            node = path.read_text("ascii").strip()
        except FileNotFoundError:
            node = secrets.token_hex(8)
            disk.replace(path, f"{node}\n".encode())
    if not node:
        raise StorageRefused(f"{path}: is empty; remove it")
    return node


def has_mail_in(config: Config, mailbox: Address) -> bool:
    """Whether a mailbox has messages. Blocks; raises :class:`~mailserver.errors.StorageError`."""
    with storage_errors(config.data):
        return has_messages(connections(config), mailbox)


def queue_view(config: Config) -> ISpoolView:
    """The queue, also while a server uses it. Raises :class:`~mailserver.errors.StorageError`."""
    found = connections(config)
    try:
        prepare(found)
    except OSError as error:
        raise storage_error(error) from error
    return PostgreSQLListing(found)


def require_alone(config: Config, disk: Disk, found: Connections) -> None:
    """Check a database, create its tables, and raise :class:`~mailserver.errors.DataInUse` if a server with
    another data directory uses it. Raises ``OSError`` and :class:`~mailserver.errors.StorageError`."""
    prepare(found)
    leases = Leases(found)
    leases.node = _node(config.data, disk)
    if leases.others(NODE):
        raise DataInUse("another server uses the database; stop it, and wait 30 seconds if it was killed")
