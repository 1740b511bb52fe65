"""Reads the spool for listings, by queries that SQLite and PostgreSQL understand."""

from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from mailserver.interfaces import IContent
from mailserver.mail.queued import HELD, FailedAttempt
from mailserver.queue.entries import (
    NOT_TRIED,
    DestinationSummary,
    InMemoryContent,
    Listed,
    ListedRecipient,
    QueueCounts,
    Shown,
)
from mailserver.queue.interfaces import ISpoolView
from mailserver.queue.selection import Selection
from mailserver.queue.sql.rows import ENTRY, QUEUED, SpoolRows
from mailserver.queue.sql.values import decode, read_history

SUMMARY = (
    "SELECT name, recipients, held, next, (SELECT received FROM queued WHERE seq = oldest),"
    " (SELECT history FROM recipient WHERE destination = name AND attempts > 0"
    " ORDER BY priority DESC, next LIMIT 1)"
    f" FROM (SELECT destination AS name, count(*) AS recipients,"
    f" count(*) FILTER (WHERE next >= {HELD}) AS held, min(next) FILTER (WHERE next < {HELD}) AS next,"
    " min(seq) AS oldest FROM recipient GROUP BY destination) AS each"
    " ORDER BY recipients DESC, name"
)
RECIPIENTS_OF = (
    "SELECT seq, number, destination, recipient, address, attempts, next, history, release FROM recipient"
    " WHERE seq IN ({}) ORDER BY seq, number"
)
# The index recipient_due has all that this reads.
COUNTS = (
    f"SELECT count(*), count(*) FILTER (WHERE next >= {HELD}), count(*) FILTER (WHERE next <= ?)"
    " FROM recipient"
)
OLDEST = "SELECT received FROM queued ORDER BY seq LIMIT 1"
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
        return self._listed([rows[seq] for seq in sorted(rows)[:limit]])

    def summary(self) -> list[DestinationSummary]:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        found = []
        for name, count, held, next_, oldest, history in self._query(SUMMARY):
            last = _last(history)[0] if history is not None else None
            oldest = oldest if isinstance(oldest, float) else 0.0
            found.append(DestinationSummary(str(name), count, held, oldest, next_, last))
        return found

    def find(self, id: str) -> list[Shown]:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        return [self._shown(row) for row in self._query(LISTED, (id, id))]

    def counts(self, now: float) -> QueueCounts:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        oldest = [float(received) for (received,) in self._query(OLDEST) if isinstance(received, float)]
        # No row, and not one of zeros, if there is no file yet.
        for count, held, due in self._query(COUNTS, (now,)):
            return QueueCounts(due, count - held - due, held, oldest[0] if oldest else None)
        return QueueCounts(0, 0, 0, None)

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
        for _, _, _, _, octets, name, checksum, _, _, data, _ in self._query(QUEUED, (row[0],)):
            content = self._content(name, octets, checksum, data)
        (listed,) = self._listed([row])
        return Shown(listed, tuple(unsynced), damage, content)

    def _listed(self, rows: Sequence[Sequence[Any]]) -> list[Listed]:
        if not rows:
            return []
        numbers = [row[0] for row in rows]
        places = ",".join("?" * len(numbers))
        recipients: dict[object, list[ListedRecipient]] = {}
        for row in self._query(RECIPIENTS_OF.format(places), numbers):
            seq, number, destination, recipient, address, attempts, next_, history, release = row
            last, error = _last(history)
            recipients.setdefault(seq, []).append(
                ListedRecipient(
                    number, destination, recipient, address, attempts, next_, error, last, release
                )
            )
        query = f"SELECT seq FROM entry WHERE seq IN ({places})"
        unsynced = {seq for (seq,) in self._query(query, numbers)}
        return [
            Listed(seq, id_, received, path, octets, seq not in unsynced, tuple(recipients.get(seq, ())))
            for seq, id_, received, path, octets in rows
        ]


def _last(history: object) -> tuple[FailedAttempt | None, str]:
    """The last failed attempt in a history, and its text or the damage."""
    try:
        tried = read_history(str(history))
    except ValueError as damage:
        return None, str(damage)
    return (tried[-1], tried[-1].text) if tried else (None, NOT_TRIED)


def _conditions(selection: Selection) -> tuple[str, list[str]]:
    """The conditions that save reading many messages, as SQL, and their values."""
    conditions, values = "", [*selection.ids]
    if selection.ids:
        conditions += f" AND id IN ({','.join('?' * len(selection.ids))})"
    if selection.sender is not None and selection.sender.isascii():
        conditions += " AND lower(reverse_path) = lower(?)"
        values.append(selection.sender)
    of_recipient = ""
    if selection.domain:
        of_recipient += " AND (destination = ? OR lower(address) LIKE '%@' || lower(?))"
        values += (selection.destination, selection.domain)
    if selection.recipient.isascii() and selection.recipient:
        of_recipient += " AND (lower(address) = lower(?) OR lower(recipient) = lower(?))"
        values += (selection.recipient, selection.recipient)
    if selection.states == ("held",):
        of_recipient += f" AND (next >= {HELD} OR release > 0)"
    if of_recipient:
        conditions += f" AND EXISTS (SELECT 1 FROM recipient WHERE seq = queued.seq{of_recipient})"
    return conditions, values
