"""The SQLite engine: coordinates transactions on the database with the content files.

A file is written and synced before the transaction with its row is committed, and removed after the
transaction that deletes the row. The rows of a failed commit may be on the disk; the next commit deletes
them, and their files stay until then.
"""

import contextlib
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
from zope.interface import implementer

from mailserver.durable.calls import Statement, numbered
from mailserver.durable.database import Database, read_only
from mailserver.durable.disk import Disk
from mailserver.interfaces import QueuedMessage
from mailserver.mail.queued import HELD, QueuedRecipient
from mailserver.queue.entries import DamagedPart, Entry, InMemoryContent, QueueCounts
from mailserver.queue.interfaces import ISpoolEngine, ISpoolTransaction
from mailserver.queue.sql.values import encode, encode_handling, encode_history, name_of
from mailserver.queue.sqlite.contents import CONTENTS, Contents, FileContent
from mailserver.queue.sqlite.listing import SQLiteListing
from mailserver.queue.sqlite.schema import SCHEMA, migrate
from mailserver.queue.sqlite.snapshot import SpoolSnapshot

Row = tuple[Any, ...]

SWEPT = 500  # files that are looked up together
IN_ROW = 64 * 1024  # octets; a new message up to here stands in its row
# SQLite would read the whole table for "IN (VALUES {})".
FORGET = "DELETE FROM recipient WHERE (seq, number) IN (SELECT column1, column2 FROM (VALUES {}))"
FORGET_MESSAGES = (
    "DELETE FROM queued WHERE seq IN (VALUES {}) AND NOT EXISTS"
    " (SELECT 1 FROM recipient WHERE seq = queued.seq)"
)
_AT_ONCE = 500  # rows in one statement; SQLite takes 32,766 values


@implementer(ISpoolEngine)
class SQLiteSpool(SQLiteListing):
    """A database at ``path``, with the content files in a folder beside it."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._database = Database(path, disk.calls)
        self._contents = Contents(path.parent / CONTENTS, disk)
        # Files of uncommitted rows, and those of them whose commit has failed.
        self._written: set[str] = set()
        self._doubtful: list[str] = []
        super().__init__(self._database.rows, self._contents)

    def open(self) -> int:
        """See :class:`ISpoolEngine`."""
        self._disk.make_dirs(self._contents.folder, below=self._path.parent.parent)
        self._database.open(SCHEMA)
        migrate(self._database, self._contents)
        numbers = self._database.rows("SELECT max(seq) FROM entry UNION ALL SELECT max(seq) FROM queued")
        return max(number or 0 for (number,) in numbers)

    def close(self) -> None:
        """See :class:`ISpoolEngine`."""
        self._database.close()

    def begin(self) -> "SQLiteTransaction":
        """See :class:`ISpoolEngine`."""
        return SQLiteTransaction(self)

    def bring_forward(self, latest: float) -> None:
        """See :class:`ISpoolEngine`."""
        late = f"next > max(?1, release) AND next < {HELD}"
        values = numbered(latest)
        if self._database.rows(f"SELECT 1 FROM recipient WHERE {late} LIMIT 1", values):
            self._database.commit([(f"UPDATE recipient SET next = max(?1, release) WHERE {late}", values)])

    def counts(self, now: float) -> QueueCounts:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        # By a connection of its own, because a commit waits for a read by the other one.
        return SQLiteListing(partial(read_only, self._path), self._contents).counts(now)

    def write(self, name: str, message: QueuedMessage) -> FileContent:
        """Copy a content to a file for an uncommitted row."""
        self._written.add(name)
        try:
            return self._contents.write(name, message.content)
        except BaseException:
            self._written.discard(name)
            raise

    def commit(
        self, statements: Sequence[Statement], written: Sequence[str], perhaps_gone: dict[int, str]
    ) -> None:
        """Commit. ``written``: files of new rows. ``perhaps_gone``: files of rows that may be deleted."""
        try:
            if written:
                self._contents.sync()
            self._database.commit(statements)
        except BaseException:
            self._doubtful += written
            raise
        gone, self._doubtful = self._doubtful, []
        # After the commit nothing may raise. If the rows cannot be read, the sweep removes the files.
        with contextlib.suppress(OSError):
            gone += [name for seq, name in perhaps_gone.items() if not self.is_waiting(seq)]
        for name in gone:
            self._contents.remove(name)
        self._written.difference_update(written, gone)

    def sweep(self, go_on: Callable[[], bool]) -> int:
        """See :class:`ISpoolEngine`."""
        removed = 0
        files = self._contents.names()
        while go_on() and (some := list(islice(files, SWEPT))):
            # Check in this order: a file that is not in ``_written`` now has a row or will never have one.
            asked = [(seq, name) for seq, name in some if name not in self._written]
            query = f"SELECT content FROM queued WHERE seq IN ({','.join('?' * len(asked))})"
            known = {name for (name,) in self._database.rows(query, [seq for seq, _ in asked])}
            for _, name in asked:
                if name not in known:
                    self._contents.remove(name)
                    removed += 1
        return removed

    def snapshot(self, mail: Path, stage: Path, go_on: Callable[[], bool]) -> SpoolSnapshot:
        """See :class:`ISpoolEngine`."""
        return SpoolSnapshot(self._path, self._contents, self._disk, mail, stage, go_on)


@implementer(ISpoolTransaction)
class SQLiteTransaction:
    """Collects the statements for one commit.

    Each statement releases the interpreter and then waits for it again. Therefore one statement inserts or
    deletes the rows of all messages in the group.
    """

    def __init__(self, engine: SQLiteSpool) -> None:
        self._engine = engine
        self._statements: list[Statement] = []
        self._entries: list[Row] = []
        self._queued: list[Row] = []
        self._recipients: list[Row] = []
        # Numbers of messages, with those of recipients that leave the queue.
        self._gone: list[Row] = []
        self._attempted: list[Row] = []
        self._written: list[str] = []
        self._perhaps_gone: dict[int, str] = {}

    def take(self, entry: Entry) -> None:
        """See :class:`ISpoolTransaction`."""
        self._entries.append(
            (entry.seq, entry.id, entry.received, entry.reverse_path, entry.octets, encode(entry.copies),
             entry.content)
        )  # fmt: skip

    def enqueue(self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]) -> QueuedMessage:
        """See :class:`ISpoolTransaction`."""
        name, data = "", None
        content: InMemoryContent | FileContent
        if message.octets <= IN_ROW and not any(each.attempts for each in recipients):
            # It is likely to leave the queue within a second.
            data = b"".join(message.content.chunks())
            checksum, content = zlib.crc32(data), InMemoryContent(data)
        else:
            name = name_of(message.id, message.seq)
            content = self._engine.write(name, message)
            checksum = content.checksum
            self._written.append(name)
        handling = message.handling
        self._queued.append(
            (message.seq, message.id, message.received, message.reverse_path, message.octets, name, checksum,
             message.ret, message.envid, data, encode_handling(handling))
        )  # fmt: skip
        for each in recipients:
            self._recipients.append(
                (message.seq, each.number, each.destination, each.address, each.recipient, each.reverse_path,
                 each.head, each.attempts, each.next, encode_history(each.history), each.notify, each.orcpt,
                 each.warned, handling.priority, handling.release)
            )  # fmt: skip
        return attrs.evolve(message, content=content)

    def record_attempt(
        self, message: QueuedMessage, left: Iterable[QueuedRecipient], gone: Iterable[QueuedRecipient]
    ) -> None:
        """See :class:`ISpoolTransaction`."""
        for each in left:
            self._add(
                f"UPDATE recipient SET attempts = ?, next = iif(next >= {HELD}, next, ?), history = ?,"
                " warned = ? WHERE seq = ? AND number = ?",
                each.attempts, each.next, encode_history(each.history), each.warned, message.seq, each.number,
            )  # fmt: skip
        numbers = [(message.seq, each.number) for each in gone]
        if numbers:
            in_row = isinstance(message.content, InMemoryContent)
            self._forget(message.seq, numbers, "" if in_row else name_of(message.id, message.seq))

    def reschedule(self, seq: int, numbers: Collection[int], when: float) -> None:
        """See :class:`ISpoolTransaction`."""
        for number in numbers:
            self._add("UPDATE recipient SET next = ? WHERE seq = ? AND number = ?", when, seq, number)

    def _forget(self, seq: int, numbers: Sequence[Row], name: str) -> None:
        self._gone += numbers
        self._attempted.append((seq,))
        if name:
            self._perhaps_gone[seq] = name

    def retire(self, numbers: Collection[int]) -> None:
        """See :class:`ISpoolTransaction`."""
        for first, last in runs(numbers):
            self._add("DELETE FROM entry WHERE seq BETWEEN ? AND ?", first, last)

    def remove(self, numbers: Collection[int]) -> None:
        """See :class:`ISpoolTransaction`."""
        for first, last in runs(numbers):
            for table in ("entry", "queued", "recipient"):
                self._add(f"DELETE FROM {table} WHERE seq BETWEEN ? AND ?", first, last)

    def drop(self, part: DamagedPart) -> None:
        """See :class:`ISpoolTransaction`."""
        match part.key:
            case ("entry",):
                self._add("DELETE FROM entry WHERE seq = ?", part.seq)
            case ("recipient", number, name):
                self._forget(part.seq, [(part.seq, number)], name)
            case ("queued", name):
                self._add("DELETE FROM recipient WHERE seq = ?", part.seq)
                self._add("DELETE FROM queued WHERE seq = ?", part.seq)
                if name:
                    self._perhaps_gone[part.seq] = name

    def _add(self, statement: str, *values: Any) -> None:
        self._statements.append((statement, values))

    def commit(self) -> None:
        """See :class:`ISpoolTransaction`."""
        statements = [
            *self._statements,
            *_for_rows("INSERT INTO entry VALUES {}", self._entries),
            *_for_rows("INSERT INTO queued VALUES {}", self._queued),
            *_for_rows("INSERT INTO recipient VALUES {}", self._recipients),
            *_for_rows(FORGET, self._gone),
            *_for_rows(FORGET_MESSAGES, self._attempted),
        ]
        if statements:
            self._engine.commit(statements, self._written, self._perhaps_gone)


def _for_rows(statement: str, rows: Sequence[Row]) -> Iterator[Statement]:
    """The statement with these values, or several if there are many."""
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        row = f"({','.join('?' * len(some[0]))})"
        yield statement.format(",".join([row] * len(some))), [value for each in some for value in each]


def runs(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """The numbers as ranges: pairs of first and last."""
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None or number != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last
