"""Reads the rows of a spool from a database, by queries that SQLite and PostgreSQL understand."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from mailserver.durable.calls import numbered
from mailserver.errors import MessageDamaged
from mailserver.interfaces import IContent
from mailserver.mail.queued import HELD
from mailserver.queue.entries import DamagedPart, Entry, InMemoryContent, Queued
from mailserver.queue.sql.values import (
    NAME,
    ISeparateContent,
    ISeparateContents,
    read_entry,
    read_queued,
    read_recipient,
)

ENTRY = "SELECT seq, id, received, reverse_path, octets, copies, content FROM entry WHERE seq = ?"
QUEUED = (
    "SELECT seq, id, received, reverse_path, octets, content, checksum, ret, envid, data, handling"
    " FROM queued WHERE seq = ?"
)
RECIPIENTS = (
    "SELECT number, destination, address, recipient, reverse_path, head, attempts, next, history, notify,"
    " orcpt, warned FROM recipient WHERE seq = ? {} ORDER BY number"
)
# {0} is the table of recipients with another priority than 0. They are few, and have an index of their own.
# One look at the index for each destination, and one for each of its other priorities.
_DUE = (
    "WITH RECURSIVE found(name) AS (SELECT (SELECT min(destination) FROM recipient) UNION ALL"
    " SELECT (SELECT min(destination) FROM recipient WHERE destination > name) FROM found"
    " WHERE name IS NOT NULL),"
    " other(name, level) AS (SELECT (SELECT min(destination) FROM {0}), 99 UNION ALL"
    " SELECT CASE WHEN level IS NULL THEN (SELECT min(destination) FROM {0} AND destination > name)"
    " ELSE name END,"
    " CASE WHEN level IS NULL THEN 99 ELSE (SELECT max(priority) FROM {0} AND destination = name"
    " AND priority < level) END FROM other WHERE name IS NOT NULL),"
    " first(name, due) AS (SELECT name, (SELECT min(next) FROM recipient WHERE destination = name"
    " AND priority = 0) FROM found UNION ALL"
    " SELECT name, (SELECT min(next) FROM {0} AND destination = name AND priority = level) FROM other)"
    f" SELECT name, min(due) FROM first WHERE due < {HELD} GROUP BY name ORDER BY 2, 1 LIMIT ?"
)
# The other priorities of a destination, the highest one first.
_LEVELS = (
    "WITH RECURSIVE other(level) AS (SELECT max(priority) FROM {0} AND destination = ?1 UNION ALL"
    " SELECT (SELECT max(priority) FROM {0} AND destination = ?1 AND priority < level) FROM other"
    " WHERE level IS NOT NULL)"
)

Query = Callable[..., "Sequence[tuple[Any, ...]]"]
"""Runs a query with its parameters, in the style of SQLite. May block; raises ``OSError``."""


def _not_busy(busy: Collection[int], first: int) -> str:
    """The condition that a message is not busy; the first number has this place."""
    places = ",".join([f"?{number}" for number in range(first, first + len(busy))])
    return f" AND seq NOT IN ({places})" if busy else ""


class SpoolRows:
    """Reads the rows of a spool with ``query``.

    ``free`` is the condition, with AND before it, that no other server tries a recipient; "" if there is no
    other server.
    """

    ranked = "recipient WHERE priority <> 0"
    free = ""

    def __init__(self, query: Query, contents: ISeparateContents) -> None:
        self._query = query
        self._separate = contents

    def content_of(self, seq: int) -> InMemoryContent | None:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        for (content,) in self._query("SELECT content FROM entry WHERE seq = ?", (seq,)):
            return InMemoryContent(content) if isinstance(content, bytes) else None
        return None

    def entries(self) -> Iterator[Entry | DamagedPart]:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        for (seq,) in self._query("SELECT seq FROM entry ORDER BY seq"):
            for row in self._query(ENTRY, (seq,)):
                try:
                    yield read_entry(row)
                except ValueError as error:
                    yield self._unreadable_entry(row, str(error))

    def condemn_entry(self, seq: int, reason: str) -> DamagedPart:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        (row,) = self._query(ENTRY, (seq,))
        return self._unreadable_entry(row, reason)

    def _unreadable_entry(self, row: Sequence[Any], reason: str) -> DamagedPart:
        seq, id_, _, reverse_path, _, copies, content = row
        octets = content if isinstance(content, bytes) else str(content or "").encode(errors="replace")
        details = f"{reason}\nid {id_}\nreverse-path <{reverse_path}>\nmailboxes {copies}"
        return DamagedPart(seq, f"{id_}.eml", details, InMemoryContent(octets), ("entry",))

    def waiting(self) -> int:
        """The number of waiting messages."""
        ((count,),) = self._query("SELECT count(*) FROM queued")
        return int(count)

    def unsynced(self) -> int:
        """The number of entries."""
        ((count,),) = self._query("SELECT count(*) FROM entry")
        return int(count)

    def waiting_numbers(self) -> list[int]:
        """The numbers of all waiting messages."""
        return [seq for (seq,) in self._query("SELECT seq FROM queued ORDER BY seq")]

    def oldest(self, limit: int) -> list[int]:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        return [seq for (seq,) in self._query("SELECT seq FROM queued ORDER BY seq LIMIT ?", (limit,))]

    def is_waiting(self, seq: int) -> bool:
        """Whether the message waits now."""
        return bool(self._query("SELECT 1 FROM queued WHERE seq = ?", (seq,)))

    def orphans(self) -> list[int]:
        """The numbers of recipients whose message is missing."""
        query = "SELECT DISTINCT seq FROM recipient WHERE seq NOT IN (SELECT seq FROM queued)"
        return [seq for (seq,) in self._query(query)]

    def due(self, limit: int) -> list[tuple[str, float]]:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        return [(name, next_) for name, next_ in self._query(_DUE.format(self.ranked), (limit,))]

    @property
    def _levels(self) -> str:
        return _LEVELS.format(self.ranked)

    def next_due(self, destination: str, busy: Collection[int]) -> float | None:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        first = (
            f"(SELECT next FROM recipient WHERE destination = ?1 AND priority = {{}} AND next < {HELD}"
            f"{_not_busy(busy, 2)}{self.free} ORDER BY next LIMIT 1)"
        )
        query = (
            f"{self._levels} SELECT min(next) FROM (SELECT {first.format(0)} AS next UNION ALL"
            f" SELECT {first.format('level')} FROM other) AS each"
        )
        ((next_,),) = self._query(query, numbered(destination, *busy))
        return None if next_ is None else float(next_)

    def due_messages(self, destination: str, by: float, limit: int, busy: Collection[int]) -> list[int]:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        due = (
            "SELECT seq FROM recipient WHERE destination = ?1 AND priority = {} AND next <= ?2"
            f"{_not_busy(busy, 4)}{self.free} ORDER BY next, seq LIMIT ?3"
        )
        # Nearly always all of them have the priority 0, and one query is enough.
        usual_ones = f"SELECT 0, seq FROM ({due.format(0)}) AS each"
        query = f"{self._levels} SELECT level, NULL FROM other UNION ALL {usual_ones}"
        values = numbered(destination, by, limit, *busy)
        rows = self._query(query, values)
        usual = [seq for _, seq in rows if seq is not None]
        levels = [level for level, seq in rows if seq is None and level is not None]
        found: dict[int, None] = {}
        for level in sorted([*levels, 0], reverse=True):
            if len(found) < limit:
                other = self._query(due.format(level), values) if level else ()
                found.update(dict.fromkeys([seq for (seq,) in other] if level else usual))
        return list(found)[:limit]

    def load(self, seq: int, destination: str | None = None) -> Queued | None:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        try:
            for row in self._query(QUEUED, (seq,)):
                if destination is None:
                    rows = self._query(RECIPIENTS.format(""), (seq,))
                else:
                    condition = f"AND destination = ?{self.free}"
                    rows = self._query(RECIPIENTS.format(condition), (seq, destination))
                recipients = tuple(map(read_recipient, rows))
                return Queued(read_queued(row, self._separate), recipients)
        except ValueError as error:
            raise MessageDamaged(f"row {seq} of the spool is damaged: {error}") from error
        return None

    def examine(self, seq: int) -> list[DamagedPart]:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        for row in self._query(QUEUED, (seq,)):
            try:
                content = read_queued(row, self._separate).content
            except ValueError as error:
                return [self.condemn(seq, str(error))]
            if ISeparateContent.providedBy(content) and (problem := ISeparateContent(content).problem()):
                return [self.condemn(seq, problem)]
            found = []
            for recipient in self._query(RECIPIENTS.format(""), (seq,)):
                try:
                    read_recipient(recipient)
                except ValueError as error:
                    details = f"recipient of message {seq}: {error}: {recipient}"
                    name, key = f"{seq}.recipient.eml", ("recipient", recipient[0], row[5])
                    found.append(DamagedPart(seq, name, details, content, key))
            return found
        return []

    def condemn(self, seq: int, reason: str) -> DamagedPart:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        ((_, id_, _, reverse_path, octets, name, checksum, _, _, data, _),) = self._query(QUEUED, (seq,))
        waiting = [
            address for (address,) in self._query("SELECT address FROM recipient WHERE seq = ?", (seq,))
        ]
        content = self._content(name, octets, checksum, data)
        details = f"{reason}\nid {id_}\nreverse-path <{reverse_path}>\nwaiting {waiting}"
        return DamagedPart(seq, f"{id_}.eml", details, content, ("queued", name))

    def _content(self, name: object, octets: int, checksum: int, data: object) -> IContent | None:
        if isinstance(data, bytes):
            return InMemoryContent(data)
        return (
            self._separate.read(name, octets, checksum)
            if isinstance(name, str) and NAME.fullmatch(name)
            else None
        )
