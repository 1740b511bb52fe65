"""Adds many rows to a table with one COPY, which takes less time than statements for single rows."""

from collections.abc import Iterable, Sequence

from mailserver.postgresql.errors import DatabaseConnection


def copy_rows(
    connection: DatabaseConnection, table: str, types: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Add rows to a table. ``types`` are those of its columns. Raises ``psycopg.Error``."""
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
