"""Contents in parts."""

import pytest

from mailserver.errors import MessageDamaged
from mailserver.postgresql import bodies
from mailserver.postgresql.bodies import PART
from mailserver.queue.postgresql.engine import PostgreSQLSpool


@pytest.mark.parametrize("octets", [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 7])
@pytest.mark.parametrize("piece", [1000, PART, 5 * PART])
def test_parts(octets, piece):
    data = bytes(range(251)) * (octets // 251 + 1)
    data = data[:octets]
    found = list(bodies.parts(data[start : start + piece] for start in range(0, octets, piece)))
    assert b"".join(found) == data
    assert [len(part) for part in found] == [PART] * (octets // PART) + [octets % PART]


def test_what_is_written_is_read(connections, database):
    data = b"x" * (2 * PART) + b"end"
    connections.run(lambda each: bodies.write(each, "one", [data]))
    assert b"".join(bodies.read(connections, "one")) == data
    connections.run(lambda each: each.execute("DELETE FROM body WHERE part = 2"))
    with pytest.raises(MessageDamaged, match="the body one is not complete"):
        list(bodies.read(connections, "one"))


def test_a_transaction_reads_with_its_own_connection(connections, database, monkeypatch):
    """Others may have all the rest, and wait for its locks."""
    data = b"x" * PART + b"end"
    connections.run(lambda each: bodies.write(each, "one", [data]))
    connection = database.group.begin()
    with monkeypatch.context() as context:
        context.setattr(connections, "run", None)
        bodies.write(connection, "copy", bodies.read(connections, "one"))
        connection.execute("SAVEPOINT before")
        connection.execute("ALTER TABLE body RENAME TO gone")
        with pytest.raises(OSError, match=r"PostgreSQL: relation .body. does not exist"):
            bodies.read_part(connections, "one", 0)
        connection.execute("ROLLBACK TO before")
        database.group.commit()
    assert b"".join(bodies.read(connections, "copy")) == data


def test_a_sweep_removes_what_nobody_has(connections, database, ask):
    for number in range(7):
        connections.run(lambda each, id=f"body{number}": bodies.write(each, id, [b"x" * PART]))
    ask("INSERT INTO message VALUES (1, 1, 'uid', '', 'body2', 0, 0, NULL, 0)")
    ask("INSERT INTO queued VALUES (1, 'id', 0, '', 0, 'body5', 0, '', '', NULL, '')")
    assert bodies.sweep(connections, "", 3) == ("body2", 2)
    assert bodies.sweep(connections, "body2", 3) == ("body5", 2)
    assert bodies.sweep(connections, "body5", 3) == ("body6", 1)
    assert bodies.sweep(connections, "body6", 3) == (None, 0)
    assert ask("SELECT DISTINCT id FROM body ORDER BY id") == [("body2",), ("body5",)]
    engine = PostgreSQLSpool(database)
    ask("DELETE FROM message")
    assert engine.sweep(lambda: False) == 0
    assert engine.sweep(lambda: True) == 1
