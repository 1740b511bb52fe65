"""Contents in the table ``body``, in parts: memory for one part is enough, however large a message is."""

from collections.abc import Iterable, Iterator

from mailserver.errors import MessageDamaged
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.errors import DatabaseConnection

PART = 256 * 1024  # octets

_INSERT = "INSERT INTO body VALUES (%s, %s, %b)"
_EXISTS = "SELECT FROM body WHERE id = %s LIMIT 1"
_READ = "SELECT data FROM body WHERE id = %s AND part = %s"
# No transaction refers to a body that was committed before, so one without a message stays so.
_SWEEP = (
    "WITH next AS (SELECT DISTINCT id FROM body WHERE id > %(after)s ORDER BY id LIMIT %(limit)s),"
    " gone AS (DELETE FROM body USING next WHERE body.id = next.id"
    " AND NOT EXISTS (SELECT FROM message WHERE message.body = next.id)"
    " AND NOT EXISTS (SELECT FROM queued WHERE content = next.id) RETURNING body.id)"
    " SELECT (SELECT max(id) FROM next), (SELECT count(DISTINCT id) FROM gone)"
)


def parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The octets in pieces of :data:`PART`; the last one is shorter. At least one, which may be empty."""
    held: list[bytes] = []
    octets = 0
    for chunk in chunks:
        held.append(chunk)
        octets += len(chunk)
        if octets >= PART:
            whole = b"".join(held)
            for start in range(0, len(whole) - PART + 1, PART):
                yield whole[start : start + PART]
            held = [whole[len(whole) - len(whole) % PART :]]
            octets = len(held[0])
    yield b"".join(held)


def write(connection: DatabaseConnection, id: str, chunks: Iterable[bytes]) -> None:
    """Write a body, or nothing of it if an exception is raised. Raises ``psycopg.Error``."""
    with connection.transaction():
        for number, part in enumerate(parts(chunks)):
            connection.execute(_INSERT, (id, number, part))


def remove(connection: DatabaseConnection, id: str) -> None:
    """Remove a body. Raises ``psycopg.Error``."""
    connection.execute("DELETE FROM body WHERE id = %s", (id,))


def read(connections: Connections, id: str) -> Iterator[bytes]:
    """The octets of a body in pieces. Each step blocks, and raises ``OSError``. Raises
    :class:`~mailserver.errors.MessageDamaged` if there is no such body."""
    number = 0
    while (part := read_part(connections, id, number)) is not None:
        yield part
        number += 1
        if len(part) < PART:
            return
    raise MessageDamaged(f"the body {id} is not complete")


def read_part(connections: Connections, id: str, number: int) -> bytes | None:
    """One part of a body, None if it does not exist. Blocks; raises ``OSError``."""
    row = connections.read(lambda each: each.execute(_READ, (id, number), binary=True).fetchone())
    return None if row is None else row[0]


def exists(connections: Connections, id: str) -> bool:
    """Whether there is such a body. Blocks; raises ``OSError``."""
    return connections.run(lambda each: each.execute(_EXISTS, (id,)).fetchone() is not None)


def sweep(connections: Connections, after: str, limit: int) -> tuple[str | None, int]:
    """Remove bodies that no message has, among the next ``limit`` ones. Returns the last one that was looked
    at, None at the end, and how many were removed. Blocks; raises ``OSError``."""
    values = {"after": after, "limit": limit}
    row = connections.run(lambda each: each.execute(_SWEEP, values).fetchone())
    assert row is not None
    return row[0], row[1]
