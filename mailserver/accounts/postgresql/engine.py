"""The account store in a database that also has the mailboxes."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from mailserver.accounts.interfaces import DUMMY_KEY_SIZE
from mailserver.accounts.sql.changes import SQLAccounts
from mailserver.durable.calls import Statement
from mailserver.errors import storage_errors
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.database import prepare
from mailserver.postgresql.errors import DatabaseConnection
from mailserver.postgresql.translation import translated

PLACE = "PostgreSQL"
_KEEP = "INSERT INTO setting VALUES ('dummy_key', %s) ON CONFLICT DO NOTHING"


class PostgreSQLAccounts(SQLAccounts):
    """The account store of a database, whose tables are created if they are missing."""

    def __init__(self, connections: Connections) -> None:
        """Blocks. Raises :class:`~mailserver.errors.StorageError`."""
        super().__init__(PLACE, self._ask, self._change)
        self._connections = connections
        with storage_errors(PLACE):
            prepare(connections)
            connections.run(lambda each: each.execute(_KEEP, (secrets.token_bytes(DUMMY_KEY_SIZE),)))
            [(self.dummy_key,)] = self._ask("SELECT value FROM setting WHERE name = 'dummy_key'")

    def _ask(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Sequence[tuple[Any, ...]]:
        return self._connections.run(
            lambda each: each.execute(translated(query), values, binary=True).fetchall()
        )

    def _change(self, statements: Sequence[Statement]) -> None:
        def change(connection: DatabaseConnection) -> None:
            with connection.transaction():
                for statement, values in statements:
                    connection.execute(translated(statement), values)
                connection.execute("UPDATE account_revision SET number = number + 1")

        self._connections.run(change)

    def revision(self) -> int:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        with storage_errors(PLACE):
            [(number,)] = self._ask("SELECT number FROM account_revision")
        return int(number)

    def close(self) -> None:
        """See :class:`~mailserver.accounts.interfaces.IAccountEngine`."""
        self._connections.forget()
