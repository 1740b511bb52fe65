"""Reads the spool in PostgreSQL for listings, also while a server uses it."""

from collections.abc import Mapping, Sequence
from typing import Any

from mailserver.postgresql.connections import Connections
from mailserver.postgresql.errors import DatabaseConnection
from mailserver.postgresql.translation import translated
from mailserver.queue.postgresql.contents import BodyContents
from mailserver.queue.sql.listing import SpoolListing


class PostgreSQLListing(SpoolListing):
    """The messages of a spool in PostgreSQL, for listings. The tables must exist."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        super().__init__(self._rows, BodyContents(connections))

    def _rows(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Sequence[tuple[Any, ...]]:
        def ask(connection: DatabaseConnection) -> Sequence[tuple[Any, ...]]:
            return connection.execute(translated(query), values, binary=True).fetchall()

        return self.connections.run(ask)
