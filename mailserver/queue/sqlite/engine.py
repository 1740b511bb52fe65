"""The SQLite engine: coordinates transactions on the database with the content files.

A file is written and synced before the transaction with its row is committed, and removed after the
transaction that deletes the row. The rows of a failed commit may be on the disk; the next commit deletes
them, and their files stay until then.
"""

import contextlib
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
from zope.interface import implementer

from mailserver.durable.calls import Statement
from mailserver.durable.database import Database
from mailserver.durable.disk import Disk
from mailserver.interfaces import QueuedMessage
from mailserver.mail.queued import HELD, QueuedRecipient
from mailserver.queue.entries import DamagedPart, Entry, InMemoryContent
from mailserver.queue.interfaces import ISpoolEngine, ISpoolTransaction
from mailserver.queue.sqlite.contents import CONTENTS, Contents, FileContent, name_of
from mailserver.queue.sqlite.listing import SpoolListing
from mailserver.queue.sqlite.rows import encode, encode_handling, encode_history
from mailserver.queue.sqlite.schema import SCHEMA, migrate

SWEPT = 500  # files that are looked up together
IN_ROW = 64 * 1024  # octets; a new message up to here stands in its row
_INSERTED = 500  # rows in one statement; SQLite takes 32,766 values


@implementer(ISpoolEngine)
class SQLiteSpool(SpoolListing):
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

    def waiting(self) -> int:
        """See :class:`ISpoolEngine`."""
        ((count,),) = self._database.rows("SELECT count(*) FROM queued")
        return int(count)

    def bring_forward(self, latest: float) -> None:
        """See :class:`ISpoolEngine`."""
        late = f"next > max(?1, release) AND next < {HELD}"
        if self._database.rows(f"SELECT 1 FROM recipient WHERE {late} LIMIT 1", (latest,)):
            self._database.commit([(f"UPDATE recipient SET next = max(?1, release) WHERE {late}", (latest,))])

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


@implementer(ISpoolTransaction)
class SQLiteTransaction:
    """Collects the statements for one commit."""

    def __init__(self, engine: SQLiteSpool) -> None:
        self._engine = engine
        self._statements: list[Statement] = []
        self._entries: list[Entry] = []
        self._written: list[str] = []
        self._perhaps_gone: dict[int, str] = {}

    def take(self, entry: Entry) -> None:
        """See :class:`ISpoolTransaction`."""
        self._entries.append(entry)

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
        self._add(
            "INSERT INTO queued VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            message.seq, message.id, message.received, message.reverse_path, message.octets, name, checksum,
            message.ret, message.envid, data, encode_handling(message.handling),
        )  # fmt: skip
        for first in range(0, len(recipients), _INSERTED):
            some = recipients[first : first + _INSERTED]
            values: list[Any] = []
            for each in some:
                values += (
                    message.seq, each.number, each.destination, each.address, each.recipient,
                    each.reverse_path, each.head, each.attempts, each.next, encode_history(each.history),
                    each.notify, each.orcpt, each.warned, message.handling.priority, message.handling.release,
                )  # fmt: skip
            places = ",".join(["(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"] * len(some))
            self._add(f"INSERT INTO recipient VALUES {places}", *values)
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
        gone = list(gone)
        for each in gone:
            self._forget_recipient(message.seq, each.number)
        if gone:
            in_row = isinstance(message.content, InMemoryContent)
            self._attempted(message.seq, "" if in_row else name_of(message.id, message.seq))

    def reschedule(self, seq: int, numbers: Collection[int], when: float) -> None:
        """See :class:`ISpoolTransaction`."""
        for number in numbers:
            self._add("UPDATE recipient SET next = ? WHERE seq = ? AND number = ?", when, seq, number)

    def _forget_recipient(self, seq: int, number: object) -> None:
        self._add("DELETE FROM recipient WHERE seq = ? AND number = ?", seq, number)

    def _attempted(self, seq: int, name: str) -> None:
        self._add(
            "DELETE FROM queued WHERE seq = ?1 AND NOT EXISTS (SELECT 1 FROM recipient WHERE seq = ?1)", seq
        )
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
                self._forget_recipient(part.seq, number)
                self._attempted(part.seq, name)
            case ("queued", name):
                self._add("DELETE FROM recipient WHERE seq = ?", part.seq)
                self._add("DELETE FROM queued WHERE seq = ?", part.seq)
                if name:
                    self._perhaps_gone[part.seq] = name

    def _add(self, statement: str, *values: Any) -> None:
        self._statements.append((statement, values))

    def commit(self) -> None:
        """See :class:`ISpoolTransaction`."""
        statements = self._statements
        if self._entries:
            # One statement for all messages of a group.
            values: list[Any] = []
            for entry in self._entries:
                values += (
                    entry.seq, entry.id, entry.received, entry.reverse_path,
                    entry.octets, encode(entry.copies), entry.content,
                )  # fmt: skip
            places = ",".join(["(?,?,?,?,?,?,?)"] * len(self._entries))
            statements = [*statements, (f"INSERT INTO entry VALUES {places}", values)]
        if statements:
            self._engine.commit(statements, self._written, self._perhaps_gone)


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
