"""Rows: what is written is read again, and only what is synced is retired."""

import sqlite3

import pytest

from mailserver.interfaces import StoredCopy
from mailserver.mail.address import Address
from mailserver.queue import entries
from mailserver.queue.entries import Entry, SpooledContent, Waiting

COPY = StoredCopy("1.M2P3Q4R5.host,S=6,W=6", "1.M2P3Q4R5.host", ("example.org/alice",), b"", 6, 2**32 - 1)


@pytest.fixture
def database():
    database = sqlite3.connect(":memory:", isolation_level=None)
    for statement in entries.SCHEMA:
        database.execute(statement)
    yield database
    database.close()


def run(database, statements):
    for statement in statements:
        database.execute(*statement)


def waiting(number):
    return Waiting(number, "a@b", "", "c@d", b"\xff\x00", 1, 5.5, "full")


@pytest.mark.parametrize(
    "copy",
    [
        COPY,
        StoredCopy("n", "u", ("a/b", "c/d"), "Received: from grün\r\n".encode(), 0, 0, "a/b/tmp/u"),
        StoredCopy("n", "u", ("a/%2eb",), bytes(range(256)), 2**40, 1),
        StoredCopy("n", "u", ("a/b",), b"\xed\xa0\xbd\xed\xb8\x80 \xc3", 1, 1),
    ],
)
def test_copies(copy):
    assert entries.decode(entries.encode([copy, copy])) == (copy, copy)
    assert entries.encode([copy]).isascii()


@pytest.mark.parametrize(
    "wrong", ["", "{", "null", "1", "[1]", "[[]]", '[["name"]]', "[[1,2,3,4,5,6,7]]", '["1234567"]', "\udcff"]
)
def test_what_was_never_written(wrong):
    with pytest.raises(ValueError):
        entries.decode(wrong)


@pytest.mark.parametrize(
    ("numbers", "runs"),
    [
        ([], 0),
        ([1], 1),
        ([3, 1, 2], 1),
        ([1, 2, 4, 5, 9], 3),
        (list(range(1000, 0, -1)), 1),
    ],
)
@pytest.mark.parametrize("operation", [entries.retire, entries.remove])
def test_runs_of_numbers(database, operation, numbers, runs):
    """Just these rows are gone, in as many pairs of statements as there are gaps."""
    known = range(1, 1001)
    run(database, entries.insert([Entry(seq, "id", 1.0, "", 6, (COPY,)) for seq in known]))
    statements = list(operation(numbers))
    assert len(statements) == 2 * runs
    run(database, statements)
    left = [seq for (seq,) in database.execute("SELECT seq FROM message ORDER BY seq")]
    assert left == [seq for seq in known if seq not in set(numbers)]


def test_who_waits_is_not_retired(database):
    run(database, entries.insert([Entry(1, "id", 1.0, "", 6, (COPY,), (waiting(1), waiting(2)), b"octets")]))
    run(database, entries.retire([1]))
    query = "SELECT texts, content FROM message"
    assert database.execute(query).fetchall() == [("[]", b"octets")]
    run(database, entries.attempted(1, (), (waiting(1),)))
    assert len(database.execute(query).fetchall()) == 1
    run(database, entries.attempted(1, (), (waiting(2),)))
    assert database.execute(query).fetchall() == []


def test_what_is_not_synced_outlives_who_waits(database):
    run(database, entries.insert([Entry(1, "id", 1.0, "", 6, (COPY,), (waiting(1),), b"octets")]))
    run(database, entries.attempted(1, (), (waiting(1),)))
    ((texts, content),) = database.execute("SELECT texts, content FROM message")
    assert (entries.decode(texts), content) == ((COPY,), b"octets")
    run(database, entries.retire([1]))
    assert database.execute("SELECT * FROM message").fetchall() == []


def test_reverse_paths():
    assert entries.address_text(None) == ""
    odd = Address('a "b" c', "example.org")
    assert Address.parse(entries.address_text(odd)) == odd


def test_content():
    content = SpooledContent(b"octets")
    assert (content.size, b"".join(content.chunks())) == (6, b"octets")
