"""What the spool keeps of a message, as values, and as rows of its database.

    message   one for each message that is not synced everywhere: its copies are written to their
              mailboxes but perhaps not on disk there, or recipients wait for another attempt
    waiting   one for each such recipient

``content`` is the message as it came, without head; NULL if every copy has a ``source`` of its own.
``checksum`` is its CRC-32 if somebody waits; each copy has one of its own.

SQLite keeps a value of any type in any column, and the names in a row become paths. So rows are
checked when they are read.
"""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
from zope.interface import implementer

from mailserver.durable.calls import Statement
from mailserver.interfaces import Delivery, IContent, StoredCopy
from mailserver.mail.address import Address

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS message (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, received REAL NOT NULL,"
    " reverse_path TEXT NOT NULL, octets INTEGER NOT NULL, texts TEXT NOT NULL,"
    " content BLOB, checksum INTEGER)",
    "CREATE TABLE IF NOT EXISTS waiting (seq INTEGER NOT NULL, number INTEGER NOT NULL,"
    " recipient TEXT NOT NULL, reverse_path TEXT NOT NULL, mailbox TEXT NOT NULL, head BLOB NOT NULL,"
    " attempts INTEGER NOT NULL, next REAL NOT NULL, error TEXT NOT NULL,"
    " PRIMARY KEY (seq, number)) WITHOUT ROWID",
)
"""Times are in seconds since the epoch; ``texts`` is JSON."""

ROW = "SELECT seq, id, received, reverse_path, octets, texts, content, checksum FROM message WHERE seq = ?"
WAITING = (
    "SELECT number, recipient, reverse_path, mailbox, head, attempts, next, error FROM waiting"
    " WHERE seq = ? ORDER BY number"
)
LATEST = 1e11  # seconds since the epoch, the year 5138

# A file, and a mailbox: the folder of a domain and a folder in it.
_FILE = re.compile(r"(?!\.)[!-.0-~]{1,255}")
_MAILBOX = re.compile(rf"{_FILE.pattern}/{_FILE.pattern}")


@attrs.frozen
class Waiting:
    """A recipient that could not be delivered yet.

    ``recipient`` is what to call it to whom its failure is reported, ``reverse_path`` ("" is nobody);
    ``mailbox`` is where it leads. ``attempts`` have failed, the last one because of ``error``; the
    ``next`` is due then.
    """

    number: int
    recipient: str
    reverse_path: str
    mailbox: str
    head: bytes
    attempts: int
    next: float
    error: str

    @property
    def delivery(self) -> Delivery:
        return Delivery(Address.parse(self.mailbox), self.head)


@attrs.frozen
class Entry:
    """A message in the spool. ``reverse_path`` is "" for the null one."""

    seq: int
    id: str
    received: float
    reverse_path: str
    octets: int
    copies: tuple[StoredCopy, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    content: bytes | None = attrs.field(default=None, repr=False)


@implementer(IContent)
@attrs.frozen
class SpooledContent:
    """The content of an entry."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        """See :meth:`~mailserver.interfaces.IContent.chunks`."""
        yield self.data


def insert(entries: Sequence[Entry]) -> Iterator[Statement]:
    """All rows of these entries; the messages in one statement."""
    if entries:
        values: list[Any] = []
        for entry in entries:
            values += (
                entry.seq, entry.id, entry.received, entry.reverse_path,
                entry.octets, encode(entry.copies), entry.content,
                None if entry.content is None or not entry.waiting else zlib.crc32(entry.content),
            )  # fmt: skip
        places = ",".join(["(?,?,?,?,?,?,?,?)"] * len(entries))
        yield f"INSERT INTO message VALUES {places}", values
    for entry in entries:
        for waiting in entry.waiting:
            yield (
                "INSERT INTO waiting VALUES (?,?,?,?,?,?,?,?,?)",
                (entry.seq, *attrs.astuple(waiting)),
            )


def retire(numbers: Sequence[int]) -> Iterator[Statement]:
    """Forget what is synced; only who waits is kept."""
    for first, last in _runs(numbers):
        yield (
            "UPDATE message SET texts = '[]' WHERE seq BETWEEN ? AND ? AND seq IN (SELECT seq FROM waiting)",
            (first, last),
        )
        yield (
            "DELETE FROM message WHERE seq BETWEEN ? AND ? AND seq NOT IN (SELECT seq FROM waiting)",
            (first, last),
        )


def remove(numbers: Sequence[int]) -> Iterator[Statement]:
    """As if these had never been taken in."""
    for first, last in _runs(numbers):
        yield "DELETE FROM waiting WHERE seq BETWEEN ? AND ?", (first, last)
        yield "DELETE FROM message WHERE seq BETWEEN ? AND ?", (first, last)


def attempted(seq: int, left: Sequence[Waiting], gone: Sequence[Waiting]) -> Iterator[Statement]:
    """After another attempt: who still waits, and who does not any more.

    The copies of a row never change: what an attempt delivers has a row of its own.
    """
    for waiting in left:
        yield (
            "UPDATE waiting SET attempts = ?, next = ?, error = ? WHERE seq = ? AND number = ?",
            (waiting.attempts, waiting.next, waiting.error, seq, waiting.number),
        )
    for waiting in gone:
        yield "DELETE FROM waiting WHERE seq = ? AND number = ?", (seq, waiting.number)
    yield (
        "DELETE FROM message WHERE seq = ? AND texts = '[]' AND seq NOT IN (SELECT seq FROM waiting)",
        (seq,),
    )


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The numbers as ranges, first and last."""
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None or number != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last


def encode(copies: Sequence[StoredCopy]) -> str:
    """Texts as JSON."""
    return json.dumps(
        [
            (copy.name, copy.uid, copy.mailboxes, copy.head.decode("utf-8", "surrogateescape"),
             copy.octets, copy.checksum, copy.source)
            for copy in copies
        ]
    )  # fmt: skip


def decode(encoded: str) -> tuple[StoredCopy, ...]:
    """Texts from JSON. Raises ``ValueError`` for what ``encode`` never wrote."""
    found = []
    try:
        for name, uid, mailboxes, head, octets, checksum, source in json.loads(encoded):
            if not isinstance(mailboxes, list) or [type(octets), type(checksum)] != [int, int]:
                raise TypeError("a list and two integers are wanted")
            octets_of_head = head.encode("utf-8", "surrogateescape")
            found.append(StoredCopy(name, uid, tuple(mailboxes), octets_of_head, octets, checksum, source))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not the form of copies: {error}") from error
    for copy in found:
        if not all(isinstance(each, str) for each in (copy.name, copy.uid, copy.source, *copy.mailboxes)):
            raise ValueError("not the form of copies")
        if not copy.mailboxes or not all(map(_MAILBOX.fullmatch, copy.mailboxes)):
            raise ValueError(f"{copy.mailboxes} are not names of mailboxes")
        if not (_FILE.fullmatch(copy.name) and _FILE.fullmatch(copy.uid)):
            raise ValueError(f"{(copy.name, copy.uid)} are not names of files")
        if copy.source not in ("", f"{copy.mailboxes[0]}/tmp/{copy.uid}"):
            raise ValueError(f"{copy.source!r} is not a file in the mailbox")
    return tuple(found)


def read(row: Sequence[Any]) -> Entry:
    """The entry in a row that :data:`ROW` gives, without those that wait.

    Raises ``ValueError`` for a damaged one.
    """
    seq, id_, received, reverse_path, octets, texts, content, checksum = row
    _check("id", id_, str)
    _check("time", received, float)
    _check("reverse-path", reverse_path, str)
    _check("size", octets, int)
    if content is not None and not isinstance(content, bytes):
        raise ValueError("content is not octets")
    if checksum is not None and (content is None or zlib.crc32(content) != checksum):
        raise ValueError("content does not have its checksum")
    try:
        stored = decode(texts)
    except ValueError as error:
        raise ValueError(f"texts make no sense: {error}") from error
    return Entry(seq, id_, received, reverse_path, octets, stored, (), content)


def read_waiting(row: Sequence[Any]) -> Waiting:
    """The recipient in a row that :data:`WAITING` gives. Raises ``ValueError`` for a damaged one."""
    waiting = Waiting(*row)
    _check("number", waiting.number, int)
    _check("recipient", waiting.recipient, str)
    _check("reverse-path", waiting.reverse_path, str)
    _check("mailbox", waiting.mailbox, str)
    _check("head", waiting.head, bytes)
    _check("number of attempts", waiting.attempts, int)
    _check("time of the next attempt", waiting.next, float)
    _check("error", waiting.error, str)
    Address.parse(waiting.mailbox)
    if waiting.reverse_path:
        Address.parse(waiting.reverse_path)
    return waiting


def _check(what: str, value: object, kind: type) -> None:
    good = type(value) is kind and not (isinstance(value, int) and value < 0)
    if not good or (isinstance(value, float) and not 0 <= value <= LATEST):
        raise ValueError(f"{what} is {value!r:.60}")


def address_text(path: Address | None) -> str:
    """A reverse-path as the spool keeps it."""
    return "" if path is None else str(path)
