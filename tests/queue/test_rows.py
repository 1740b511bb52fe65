"""Rows of the SQLite engine: what is written is read again, and nothing else is."""

import sqlite3

import pytest

from mailserver.interfaces import StoredCopy
from mailserver.mail.address import Address
from mailserver.mail.handling import USUAL, DeliveryDeadline, Handling
from mailserver.queue.entries import InMemoryContent, address_text
from mailserver.queue.sql.values import decode, encode, encode_handling, read_handling
from mailserver.queue.sqlite.engine import FORGET, FORGET_MESSAGES, runs
from mailserver.queue.sqlite.schema import SCHEMA


@pytest.mark.parametrize(
    "text",
    [
        StoredCopy("1.M2P3Q4R5.host,S=6,W=6", "1.M2P3Q4R5.host", ("example.org/alice",), b"", 6, 2**32 - 1),
        StoredCopy("n", "u", ("a/b", "c/d"), "Received: from grün\r\n".encode(), 0, 0, "a/b/tmp/u"),
        StoredCopy("n", "u", ("a/%2eb",), bytes(range(256)), 2**40, 1),
        StoredCopy("n", "u", ("a/b",), b"\xed\xa0\xbd\xed\xb8\x80 \xc3", 1, 1),
    ],
)
def test_copies(text):
    assert decode(encode([text, text])) == (text, text)
    assert encode([text]).isascii()


@pytest.mark.parametrize(
    "wrong", ["", "{", "null", "1", "[1]", "[[]]", '[["name"]]', "[[1,2,3,4,5,6,7]]", '["1234567"]', "\udcff"]
)
def test_what_was_never_written(wrong):
    with pytest.raises(ValueError):
        decode(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        "{", "null", "1", "[1]", "[0, 0, [1, 2, 3], 0]", "[0, 0, [], 0]", '["", 0, null, 0]',
        "[0, 0, null]", "[0, 0, null, false, false, false, false]",
    ],
)  # fmt: skip
def test_a_handling_that_was_never_written(wrong):
    with pytest.raises(ValueError, match="handling is invalid"):
        read_handling(wrong)


def test_handlings():
    for handling in (
        USUAL,
        Handling(utf8=True),
        Handling(binary=True),
        Handling(-3, 5.0, DeliveryDeadline(7.0, "R", True), True),
    ):
        assert read_handling(encode_handling(handling)) == handling
    # of older servers
    assert read_handling("[2, 0.0, null, true]") == Handling(2, require_tls=True)
    assert read_handling("[2, 0.0, null, false, true]") == Handling(2, utf8=True)


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([], []),
        ([1], [(1, 1)]),
        ([3, 1, 2], [(1, 3)]),
        ([1, 2, 4, 5, 9], [(1, 2), (4, 5), (9, 9)]),
        (range(1000, 0, -1), [(1, 1000)]),
    ],
)
def test_runs_of_numbers(numbers, found):
    assert list(runs(numbers)) == found


def test_reverse_paths():
    assert address_text(None) == ""
    odd = Address('a "b" c', "example.org")
    assert Address.parse(address_text(odd)) == odd


def test_content():
    content = InMemoryContent(b"octets")
    assert (content.size, b"".join(content.chunks())) == (6, b"octets")


@pytest.mark.parametrize(("statement", "row"), [(FORGET, "(?,?)"), (FORGET_MESSAGES, "(?)")])
@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_statement_for_some_rows_reads_no_others(statement, row, count):
    with sqlite3.connect(":memory:") as database:
        for table in SCHEMA:
            database.execute(table)
        values = [1] * row.count("?") * count
        plan = database.execute(
            f"EXPLAIN QUERY PLAN {statement.format(','.join([row] * count))}", values
        ).fetchall()
    assert not [step for *_, step in plan if step.startswith(("SCAN recipient", "SCAN queued"))], plan
