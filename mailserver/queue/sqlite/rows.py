"""Converts values of the spool to rows and back.

Rows are checked when they are read, because SQLite allows a value of any type in any column, and names in a
row become paths.
"""

import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import attrs

from mailserver.durable.calls import numbered
from mailserver.errors import MessageDamaged
from mailserver.interfaces import IContent, QueuedMessage, StoredCopy
from mailserver.mail.address import Address
from mailserver.mail.handling import USUAL, DeliveryDeadline, Handling
from mailserver.mail.queued import HELD, FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import Status
from mailserver.queue.entries import (
    DamagedPart,
    Entry,
    InMemoryContent,
    Queued,
)
from mailserver.queue.sqlite.contents import NAME, Contents, FileContent

ENTRY = "SELECT seq, id, received, reverse_path, octets, copies, content FROM entry WHERE seq = ?"
QUEUED = (
    "SELECT seq, id, received, reverse_path, octets, content, checksum, ret, envid, data, handling"
    " FROM queued WHERE seq = ?"
)
RECIPIENTS = (
    "SELECT number, destination, address, recipient, reverse_path, head, attempts, next, history, notify,"
    " orcpt, warned FROM recipient WHERE seq = ? {} ORDER BY number"
)
# Few messages have another priority than 0, and an index of their own.
_RANKED = "recipient INDEXED BY recipient_ranked WHERE priority <> 0"
# One look at the index for each destination, and one for each of its other priorities.
DUE = (
    "WITH RECURSIVE found(name) AS (SELECT (SELECT min(destination) FROM recipient) UNION ALL"
    " SELECT (SELECT min(destination) FROM recipient WHERE destination > name) FROM found"
    " WHERE name IS NOT NULL),"
    f" other(name, level) AS (SELECT (SELECT min(destination) FROM {_RANKED}), 99 UNION ALL"
    f" SELECT iif(level IS NULL, (SELECT min(destination) FROM {_RANKED} AND destination > name), name),"
    f" iif(level IS NULL, 99, (SELECT max(priority) FROM {_RANKED} AND destination = name"
    " AND priority < level)) FROM other WHERE name IS NOT NULL),"
    " first(name, due) AS (SELECT name, (SELECT min(next) FROM recipient WHERE destination = name"
    " AND priority = 0) FROM found UNION ALL"
    f" SELECT name, (SELECT min(next) FROM {_RANKED} AND destination = name AND priority = level) FROM other)"
    f" SELECT name, min(due) FROM first WHERE due < {HELD} GROUP BY name ORDER BY 2, 1 LIMIT ?"
)
# The other priorities of a destination, the highest one first.
_LEVELS = (
    f"WITH RECURSIVE other(level) AS (SELECT max(priority) FROM {_RANKED} AND destination = ?1 UNION ALL"
    f" SELECT (SELECT max(priority) FROM {_RANKED} AND destination = ?1 AND priority < level) FROM other"
    " WHERE level IS NOT NULL)"
)
# A file, and a mailbox: the folder of a domain and a folder in it.
_FILE = re.compile(r"(?!\.)[!-.0-~]{1,255}")
_MAILBOX = re.compile(rf"{_FILE.pattern}/{_FILE.pattern}")
_STATUS = re.compile(r"[245]\.([0-9]{1,3})\.([0-9]{1,3})")

Query = Callable[..., "Sequence[tuple[Any, ...]]"]
"""Runs a query with its parameters. May block; raises ``OSError``."""


# ---------------------------------------------------------------- copies and attempts, as JSON


def encode(copies: Sequence[StoredCopy]) -> str:
    """Copies as JSON."""
    return json.dumps(
        [
            (copy.name, copy.uid, copy.mailboxes, copy.head.decode("utf-8", "surrogateescape"),
             copy.octets, copy.checksum, copy.source)
            for copy in copies
        ]
    )  # fmt: skip


def decode(copies: str) -> tuple[StoredCopy, ...]:
    """Copies from JSON. Raises ``ValueError`` for anything that ``encode`` does not write."""
    found = []
    try:
        for name, uid, mailboxes, head, octets, checksum, source in json.loads(copies):
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


def encode_history(history: Sequence[FailedAttempt]) -> str:
    """Attempts as JSON."""
    if not history:
        return "[]"
    return json.dumps(
        [
            (each.when, f"4.{each.status.subject}.{each.status.detail}", each.text, each.host, each.reply)
            for each in history
        ]
    )


def read_history(text: str) -> tuple[FailedAttempt, ...]:
    """Attempts from JSON. Raises ``ValueError`` for anything that ``encode_history`` does not write."""
    found = []
    try:
        for when, status, *texts in json.loads(text):
            code = _STATUS.fullmatch(status)
            if code is None or len(texts) not in (1, 3) or not all(isinstance(each, str) for each in texts):
                raise ValueError(f"{status!r:.60} is not a status")
            found.append(FailedAttempt(float(when), Status(int(code[1]), int(code[2])), *texts))
    except (TypeError, ValueError) as error:
        raise ValueError(f"history is invalid: {error}") from error
    return tuple(found)


def encode_handling(handling: Handling) -> str:
    """A handling as JSON, "" for the usual one."""
    if handling == USUAL:
        return ""
    deadline = handling.deadline and attrs.astuple(handling.deadline)
    flags = handling.require_tls, handling.utf8, handling.binary
    return json.dumps((handling.priority, handling.release, deadline, *flags))


def read_handling(text: str) -> Handling:
    """A handling from JSON. Raises ``ValueError`` for anything that ``encode_handling`` does not write."""
    if not text:
        return USUAL
    try:
        priority, release, deadline, require_tls, *flags = json.loads(text)
        utf8, binary = (*map(bool, flags), *[False] * (2 - len(flags)))  # an older server has fewer flags
        if deadline is not None:
            when, mode, trace = deadline
            if mode not in ("N", "R"):
                raise ValueError(f"{mode!r:.60} is not a mode")
            deadline = DeliveryDeadline(float(when), mode, bool(trace))
        return Handling(int(priority), float(release), deadline, bool(require_tls), utf8, binary)
    except (TypeError, ValueError) as error:
        raise ValueError(f"handling is invalid: {error}") from error


# ---------------------------------------------------------------- rows


def _check(what: str, value: object, kind: type) -> None:
    good = type(value) is kind and not (isinstance(value, int) and value < 0)
    if not good or (isinstance(value, float) and not 0 <= value <= HELD):
        raise ValueError(f"{what} is {value!r:.60}")


def read_entry(row: Sequence[Any]) -> Entry:
    """The entry in a row that :data:`ENTRY` gives. Raises ``ValueError`` for a damaged one."""
    seq, id_, received, reverse_path, octets, copies, content = row
    _check("id", id_, str)
    _check("time", received, float)
    _check("reverse-path", reverse_path, str)
    _check("size", octets, int)
    if content is not None and not isinstance(content, bytes):
        raise ValueError("content is not octets")
    try:
        stored = decode(copies)
    except ValueError as error:
        raise ValueError(f"copies are invalid: {error}") from error
    return Entry(seq, id_, received, reverse_path, octets, stored, content)


def read_queued(row: Sequence[Any], contents: Contents) -> QueuedMessage:
    """The message in a row that :data:`QUEUED` gives. Raises ``ValueError`` for a damaged one."""
    seq, id_, received, reverse_path, octets, content, checksum, ret, envid, data, handling = row
    _check("id", id_, str)
    _check("time", received, float)
    for what, text in (
        ("reverse-path", reverse_path), ("RET", ret), ("ENVID", envid), ("handling", handling),
    ):  # fmt: skip
        _check(what, text, str)
    asked = read_handling(handling)
    _check("size", octets, int)
    _check("checksum", checksum, int)
    if data is not None:
        if not isinstance(data, bytes) or (len(data), zlib.crc32(data)) != (octets, checksum):
            raise ValueError("content is not what was accepted")
        return QueuedMessage(
            seq, id_, received, reverse_path, octets, InMemoryContent(data), ret, envid, asked
        )
    if content == "":
        raise ValueError("content is missing")
    if not isinstance(content, str) or not NAME.fullmatch(content):
        raise ValueError(f"content is {content!r:.60}")
    file = contents.read(content, octets, checksum)
    return QueuedMessage(seq, id_, received, reverse_path, octets, file, ret, envid, asked)


def read_recipient(row: Sequence[Any]) -> QueuedRecipient:
    """The recipient in a row that :data:`RECIPIENTS` gives. Raises ``ValueError`` for a damaged one."""
    (
        number, destination, address, recipient, reverse_path, head, attempts, next_, history, notify, orcpt,
        warned,
    ) = row  # fmt: skip
    _check("number", number, int)
    _check("head", head, bytes)
    _check("number of attempts", attempts, int)
    _check("mark of a notification", warned, int)
    _check("time of the next attempt", next_, float)
    for what, text in (
        ("destination", destination), ("address", address), ("recipient", recipient),
        ("reverse-path", reverse_path), ("history", history), ("NOTIFY", notify), ("ORCPT", orcpt),
    ):  # fmt: skip
        _check(what, text, str)
    Address.parse(address)
    if reverse_path:
        Address.parse(reverse_path)
    tried = read_history(history)
    if attempts and not tried:
        raise ValueError("history is empty")
    return QueuedRecipient(
        number, destination, address, recipient, reverse_path, head, attempts, next_, tried, notify, orcpt,
        bool(warned),
    )  # fmt: skip


def _places(busy: Collection[int], first: int) -> str:
    """Places for these values, the first one with this number."""
    return ",".join([f"?{number}" for number in range(first, first + len(busy))])


class SpoolRows:
    """Reads the rows of a spool with ``query``."""

    def __init__(self, query: Query, contents: Contents) -> None:
        self._query = query
        self._contents = contents

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
        return [(name, next_) for name, next_ in self._query(DUE, (limit,))]

    def next_due(self, destination: str, busy: Collection[int]) -> float | None:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        first = (
            f"(SELECT next FROM recipient WHERE destination = ?1 AND priority = {{}} AND next < {HELD}"
            f" AND seq NOT IN ({_places(busy, 2)}) ORDER BY next LIMIT 1)"
        )
        query = (
            f"{_LEVELS} SELECT min(next) FROM (SELECT {first.format(0)} AS next UNION ALL"
            f" SELECT {first.format('level')} FROM other)"
        )
        ((next_,),) = self._query(query, numbered(destination, *busy))
        return None if next_ is None else float(next_)

    def due_messages(self, destination: str, by: float, limit: int, busy: Collection[int]) -> list[int]:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        due = (
            "SELECT seq FROM recipient WHERE destination = ?1 AND priority = {} AND next <= ?2"
            f" AND seq NOT IN ({_places(busy, 4)}) ORDER BY next, seq LIMIT ?3"
        )
        # Nearly always all of them have the priority 0, and one query is enough.
        query = f"{_LEVELS} SELECT level, NULL FROM other UNION ALL SELECT 0, seq FROM ({due.format(0)})"
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
                    rows = self._query(RECIPIENTS.format("AND destination = ?"), (seq, destination))
                recipients = tuple(map(read_recipient, rows))
                return Queued(read_queued(row, self._contents), recipients)
        except ValueError as error:
            raise MessageDamaged(f"row {seq} of the spool is damaged: {error}") from error
        return None

    def examine(self, seq: int) -> list[DamagedPart]:
        """See :class:`~mailserver.queue.interfaces.ISpoolEngine`."""
        for row in self._query(QUEUED, (seq,)):
            try:
                content = read_queued(row, self._contents).content
            except ValueError as error:
                return [self.condemn(seq, str(error))]
            if isinstance(content, FileContent) and (problem := content.problem()):
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
            self._contents.read(name, octets, checksum)
            if isinstance(name, str) and NAME.fullmatch(name)
            else None
        )
