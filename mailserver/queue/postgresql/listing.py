"""Reads the spool in PostgreSQL for listings, also while a server uses it."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from mailserver.postgresql.connections import Connections
from mailserver.postgresql.errors import DatabaseConnection
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


@cache
def translated(query: str) -> str:
    """A query with the places of SQLite (``?``, ``?1``) in the form of psycopg."""
    return re.sub(r"\?(\d*)", lambda place: f"%({place[1]})s" if place[1] else "%s", query.replace("%", "%%"))
