"""The in-memory engine of the spool. Its messages are lost when the process ends."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from heapq import nsmallest
from pathlib import Path

import attrs
from zope.interface import implementer

from mailserver.errors import StorageRefused
from mailserver.interfaces import IContent, QueuedMessage
from mailserver.mail.queued import HELD, QueuedRecipient
from mailserver.queue.entries import (
    NOT_TRIED,
    DamagedPart,
    DestinationSummary,
    Entry,
    InMemoryContent,
    Listed,
    ListedRecipient,
    QueueCounts,
    Queued,
    Shown,
)
from mailserver.queue.interfaces import ISpoolEngine, ISpoolSnapshot, ISpoolTransaction
from mailserver.queue.selection import Selection


@attrs.define(eq=False)
class Waiting:
    """A waiting message."""

    message: QueuedMessage
    recipients: dict[int, QueuedRecipient]

    def due(self, destination: str) -> float:
        """The due time of the first recipient of a destination."""
        return min(
            (each.next for each in self.recipients.values() if each.destination == destination), default=HELD
        )


@implementer(ISpoolEngine)
class MemorySpool:
    """Stores messages in dictionaries under one lock. They are never damaged."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.taken: dict[int, Entry] = {}
        self.held: dict[int, Waiting] = {}

    def open(self) -> int:
        """See :class:`ISpoolEngine`."""
        return max([0, *self.taken, *self.held])

    def close(self) -> None:
        """See :class:`ISpoolEngine`."""

    def begin(self) -> "MemoryTransaction":
        """See :class:`ISpoolEngine`."""
        return MemoryTransaction(self)

    def entries(self) -> Iterator[Entry]:
        """See :class:`ISpoolEngine`."""
        with self.lock:
            return iter(sorted(self.taken.values(), key=lambda entry: entry.seq))

    def content_of(self, seq: int) -> IContent | None:
        """See :class:`ISpoolEngine`."""
        with self.lock:
            entry = self.taken.get(seq)
        return None if entry is None or entry.content is None else InMemoryContent(entry.content)

    def condemn_entry(self, seq: int, reason: str) -> DamagedPart:
        """See :class:`ISpoolEngine`."""
        entry = self.taken[seq]
        return DamagedPart(seq, f"{entry.id}.eml", reason, self.content_of(seq), None)

    def waiting(self) -> int:
        """See :class:`ISpoolEngine`."""
        return len(self.held)

    def oldest(self, limit: int) -> list[int]:
        """See :class:`ISpoolEngine`."""
        return nsmallest(limit, self.held)

    def bring_forward(self, latest: float) -> None:
        """See :class:`ISpoolEngine`."""
        with self.lock:
            for held in self.held.values():
                when = max(latest, held.message.handling.release)
                for number, each in held.recipients.items():
                    if when < each.next < HELD:
                        held.recipients[number] = attrs.evolve(each, next=when)

    def due(self, limit: int) -> list[tuple[str, float]]:
        """See :class:`ISpoolEngine`."""
        first: dict[str, float] = {}
        with self.lock:
            for held in self.held.values():
                for each in held.recipients.values():
                    if each.next < first.get(each.destination, HELD):
                        first[each.destination] = each.next
        return nsmallest(limit, first.items(), key=lambda one: (one[1], one[0]))

    def next_due(self, destination: str, busy: Collection[int]) -> float | None:
        """See :class:`ISpoolEngine`."""
        with self.lock:
            due = [held.due(destination) for seq, held in self.held.items() if seq not in busy]
        first = min(due, default=HELD)
        return first if first < HELD else None

    def due_messages(self, destination: str, by: float, limit: int, busy: Collection[int]) -> list[int]:
        """See :class:`ISpoolEngine`."""
        with self.lock:
            due = [
                (-held.message.handling.priority, when, seq)
                for seq, held in self.held.items()
                if seq not in busy and (when := held.due(destination)) <= by
            ]
        return [seq for _, _, seq in nsmallest(limit, due)]

    def load(self, seq: int, destination: str | None = None) -> Queued | None:
        """See :class:`ISpoolEngine`."""
        with self.lock:
            held = self.held.get(seq)
            if held is None:
                return None
            recipients = held.recipients.values()
            return Queued(
                held.message, tuple(each for each in recipients if destination in (None, each.destination))
            )

    def examine(self, seq: int) -> list[DamagedPart]:
        """See :class:`ISpoolEngine`."""
        return []

    def condemn(self, seq: int, reason: str) -> DamagedPart:
        """See :class:`ISpoolEngine`."""
        message = self.held[seq].message
        return DamagedPart(seq, f"{message.id}.eml", reason, message.content, None)

    def sweep(self, go_on: Callable[[], bool]) -> int:
        """See :class:`ISpoolEngine`."""
        return 0

    def snapshot(self, mail: Path, stage: Path, go_on: Callable[[], bool]) -> ISpoolSnapshot:
        """See :class:`ISpoolEngine`."""
        raise StorageRefused('storage.engine is "memory": there is no spool on the disk')

    # ------------------------------------------------------------ listings

    def page(self, selection: Selection, after: int, limit: int) -> list[Listed]:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        with self.lock:
            numbers = nsmallest(limit, (seq for seq in self.taken.keys() | self.held.keys() if seq > after))
            return [self._listed(seq) for seq in numbers]

    def summary(self) -> list[DestinationSummary]:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        found: dict[str, list[tuple[QueuedRecipient, QueuedMessage]]] = {}
        with self.lock:
            for held in self.held.values():
                for each in held.recipients.values():
                    found.setdefault(each.destination, []).append((each, held.message))
        summaries = []
        for name, recipients in found.items():
            tried = [(-one.handling.priority, each.next, each) for each, one in recipients if each.history]
            first = min(each.next for each, _ in recipients)
            summaries.append(
                DestinationSummary(
                    name,
                    len(recipients),
                    sum(each.next >= HELD for each, _ in recipients),
                    min(one.received for _, one in recipients),
                    first if first < HELD else None,
                    min(tried, key=lambda one: one[:2])[2].last if tried else None,
                )
            )
        return sorted(summaries, key=lambda one: (-one.recipients, one.destination))

    def counts(self, now: float) -> QueueCounts:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        with self.lock:
            times = [each.next for held in self.held.values() for each in held.recipients.values()]
            oldest = self.held[min(self.held)].message.received if self.held else None
        due, held = sum(time <= now for time in times), sum(time >= HELD for time in times)
        return QueueCounts(due, len(times) - due - held, held, oldest)

    def find(self, id: str) -> list[Shown]:
        """See :class:`~mailserver.queue.interfaces.ISpoolView`."""
        with self.lock:
            numbers = sorted(self.taken.keys() | self.held.keys())
            found = [one for seq in numbers if (one := self._listed(seq)).id == id]
        return [self._shown(one) for one in found]

    def _listed(self, seq: int) -> Listed:
        held = self.held.get(seq)
        if held is None:
            one = self.taken[seq]
            return Listed(seq, one.id, one.received, one.reverse_path, one.octets, False, ())
        message = held.message
        recipients = [
            ListedRecipient(
                each.number,
                each.destination,
                each.recipient,
                each.address,
                each.attempts,
                each.next,
                each.last.text if each.history else NOT_TRIED,
                each.last if each.history else None,
                message.handling.release,
            )
            for each in held.recipients.values()
        ]
        return Listed(
            seq, message.id, message.received, message.reverse_path, message.octets, seq not in self.taken,
            tuple(recipients),
        )  # fmt: skip

    def _shown(self, listed: Listed) -> Shown:
        assert isinstance(listed.seq, int)
        held, entry = self.held.get(listed.seq), self.taken.get(listed.seq)
        unsynced = () if entry is None else tuple(box for copy in entry.copies for box in copy.mailboxes)
        content = self.content_of(listed.seq) if held is None else held.message.content
        return Shown(listed, unsynced, "", content)


@implementer(ISpoolTransaction)
class MemoryTransaction:
    """Changes that ``commit`` applies in order."""

    def __init__(self, engine: MemorySpool) -> None:
        self._engine = engine
        self._changes: list[Callable[[], object]] = []

    def take(self, entry: Entry) -> None:
        """See :class:`ISpoolTransaction`."""
        self._changes.append(partial(self._engine.taken.__setitem__, entry.seq, entry))

    def enqueue(self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]) -> QueuedMessage:
        """See :class:`ISpoolTransaction`."""
        copied = attrs.evolve(message, content=InMemoryContent(b"".join(message.content.chunks())))
        held = Waiting(copied, {each.number: each for each in recipients})
        self._changes.append(partial(self._engine.held.__setitem__, message.seq, held))
        return copied

    def record_attempt(
        self, message: QueuedMessage, left: Iterable[QueuedRecipient], gone: Iterable[QueuedRecipient]
    ) -> None:
        """See :class:`ISpoolTransaction`."""
        self._changes.append(partial(self._attempted, message.seq, list(left), list(gone)))

    def _attempted(self, seq: int, left: list[QueuedRecipient], gone: list[QueuedRecipient]) -> None:
        held = self._engine.held.get(seq)
        if held is not None:
            for each in left:
                if (before := held.recipients.get(each.number)) is not None:
                    keep = before.next if before.next >= HELD else each.next
                    held.recipients[each.number] = attrs.evolve(each, next=keep)
            for each in gone:
                held.recipients.pop(each.number, None)
            if not held.recipients:
                del self._engine.held[seq]

    def reschedule(self, seq: int, numbers: Collection[int], when: float) -> None:
        """See :class:`ISpoolTransaction`."""
        self._changes.append(partial(self._reschedule, seq, numbers, when))

    def _reschedule(self, seq: int, numbers: Collection[int], when: float) -> None:
        held = self._engine.held.get(seq)
        for number in numbers:
            if held is not None and number in held.recipients:
                held.recipients[number] = attrs.evolve(held.recipients[number], next=when)

    def retire(self, numbers: Collection[int]) -> None:
        """See :class:`ISpoolTransaction`."""
        self._changes += [partial(self._engine.taken.pop, seq, None) for seq in numbers]

    def remove(self, numbers: Collection[int]) -> None:
        """See :class:`ISpoolTransaction`."""
        self.retire(numbers)
        self._changes += [partial(self._engine.held.pop, seq, None) for seq in numbers]

    def drop(self, part: DamagedPart) -> None:
        """See :class:`ISpoolTransaction`."""
        self._changes.append(partial(self._engine.held.pop, part.seq, None))

    def commit(self) -> None:
        """See :class:`ISpoolTransaction`."""
        with self._engine.lock:
            for change in self._changes:
                change()
