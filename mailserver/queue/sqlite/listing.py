"""Reads the spool for listings, also while a server uses it."""

import errno
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from zope.interface import implementer

from mailserver.durable.database import read_only
from mailserver.durable.disk import Disk
from mailserver.interfaces import IContent
from mailserver.mail.queued import HELD, FailedAttempt
from mailserver.queue.entries import (
    NOT_TRIED,
    DestinationSummary,
    InMemoryContent,
    Listed,
    ListedRecipient,
    Shown,
)
from mailserver.queue.interfaces import ISpoolView
from mailserver.queue.selection import Selection
from mailserver.queue.sqlite.contents import CONTENTS, Contents
from mailserver.queue.sqlite.rows import ENTRY, QUEUED, RECIPIENTS, SpoolRows, decode, read_history
from mailserver.queue.sqlite.schema import VERSION

SUMMARY = (
    f"SELECT destination, count(*), sum(next >= {HELD}), min(iif(next < {HELD}, next, NULL)), min(seq)"
    " FROM recipient GROUP BY destination ORDER BY 2 DESC, 1"
)
LISTED = (
    "SELECT seq, id, received, reverse_path, octets FROM queued WHERE id = ?"
    " UNION SELECT seq, id, received, reverse_path, octets FROM entry WHERE id = ? ORDER BY 3, 1"
)


@implementer(ISpoolView)
class SpoolListing(SpoolRows):
    """The messages of a spool, for listings."""

    def page(self, selection: Selection, after: int, limit: int) -> list[Listed]:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        conditions, values = _conditions(selection)
        rows = {}
        for table in ("queued",) if selection.of_recipients else ("queued", "entry"):
            query = (
                f"SELECT seq, id, received, reverse_path, octets FROM {table} WHERE seq > ?{conditions}"
                " ORDER BY seq LIMIT ?"
            )
            rows.update({row[0]: row for row in self._query(query, (after, *values, limit))})
        return [self._listed(rows[seq]) for seq in sorted(rows)[:limit]]

    def summary(self) -> list[DestinationSummary]:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        return [
            DestinationSummary(name, count, held, self._received(oldest), next_, self._last(name))
            for name, count, held, next_, oldest in self._query(SUMMARY)
        ]

    def _received(self, seq: int) -> float:
        found = self._query("SELECT received FROM queued WHERE seq = ?", (seq,))
        return float(found[0][0]) if found and isinstance(found[0][0], float) else 0.0

    def _last(self, destination: str) -> FailedAttempt | None:
        query = "SELECT history FROM recipient WHERE destination = ? AND attempts > 0 ORDER BY next LIMIT 1"
        try:
            for (history,) in self._query(query, (destination,)):
                return read_history(history)[-1]
        except (ValueError, IndexError):
            pass  # damaged
        return None

    def find(self, id: str) -> list[Shown]:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        return [self._shown(row) for row in self._query(LISTED, (id, id))]

    def _shown(self, row: Sequence[Any]) -> Shown:
        unsynced: list[str] = []
        damage = ""
        content: IContent | None = None
        for entry in self._query(ENTRY, (row[0],)):
            try:
                unsynced += [box for copy in decode(entry[5]) for box in copy.mailboxes]
            except ValueError as error:
                damage = str(error)
            content = InMemoryContent(entry[6]) if isinstance(entry[6], bytes) else None
        for _, _, _, _, octets, name, checksum, _, _, data in self._query(QUEUED, (row[0],)):
            content = self._content(name, octets, checksum, data)
        return Shown(self._listed(row), tuple(unsynced), damage, content)

    def _listed(self, row: Sequence[Any]) -> Listed:
        seq, id_, received, reverse_path, octets = row
        recipients = []
        for each in self._query(RECIPIENTS.format(""), (seq,)):
            number, destination, address, recipient, _, _, attempts, next_, history, *_ = each
            last = None
            try:
                last = next(reversed(read_history(history)), None)
                error = last.text if last else NOT_TRIED
            except ValueError as damage:
                error = str(damage)
            recipients.append(
                ListedRecipient(number, str(destination), recipient, address, attempts, next_, error, last)
            )
        synced = not self._query("SELECT 1 FROM entry WHERE seq = ?", (seq,))
        return Listed(seq, id_, received, reverse_path, octets, synced, tuple(recipients))


def _conditions(selection: Selection) -> tuple[str, list[str]]:
    """The conditions that save reading many messages, as SQL, and their values."""
    conditions, values = "", [*selection.ids]
    if selection.ids:
        conditions += f" AND id IN ({','.join('?' * len(selection.ids))})"
    if selection.sender is not None and selection.sender.isascii():
        conditions += " AND reverse_path = ? COLLATE NOCASE"
        values.append(selection.sender)
    if selection.domain:
        conditions += (
            " AND EXISTS (SELECT 1 FROM recipient WHERE recipient.seq = queued.seq"
            " AND (destination = ? OR address LIKE '%@' || ?))"
        )
        values += (selection.destination, selection.domain)
    return conditions, values


def outdated(path: Path) -> bool:
    """Whether the database has the tables of an older version. The next start converts them."""
    return any(version < VERSION for (version,) in read_only(path, "PRAGMA user_version"))


def view(path: Path) -> SpoolListing:
    """The spool at this path, empty if there is none. A server may be using it.

    Raises ``OSError`` if it has the tables of an older version.
    """
    if outdated(path):
        raise OSError(errno.ENOTSUP, "has the format of an older version; start the server first", str(path))
    return SpoolListing(partial(read_only, path), Contents(path.parent / CONTENTS, Disk()))
