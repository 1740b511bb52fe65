"""The contract between the spool and its engine.

An engine stores two kinds of messages. *Entries* are messages whose copies are in their mailboxes but may
not be synced there; they exist for about a second, and a start reads all of them. *Queued* messages wait
for another attempt; there may be millions, which are never read all at once.

All methods may block, and raise ``OSError``. Only one thread may use a transaction; any thread may call the
other methods.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from zope.interface import Interface

from mailserver.interfaces import IContent, QueuedMessage
from mailserver.mail.queued import QueuedRecipient
from mailserver.queue.entries import (
    DamagedPart,
    DestinationSummary,
    Entry,
    Listed,
    QueueCounts,
    Queued,
    Shown,
)
from mailserver.queue.selection import Selection


class ISpoolTransaction(Interface):
    """An atomic group of changes. Nothing changes before ``commit``."""

    def take(entry: Entry) -> None:
        """Add a message whose copies are staged."""

    def enqueue(message: QueuedMessage, recipients: Sequence[QueuedRecipient]) -> QueuedMessage:
        """Add a waiting message. Its content is copied at once. If that raises, nothing is added, and the
        transaction can still be used. Returns the message with the copied content."""

    def record_attempt(
        message: QueuedMessage, left: Iterable[QueuedRecipient], gone: Iterable[QueuedRecipient]
    ) -> None:
        """Record an attempt: recipients that are ``left`` keep waiting, those that are ``gone`` do not.
        Recipients that are not in the queue are ignored. A message without recipients is removed from the
        queue, with its content."""

    def reschedule(seq: int, numbers: Collection[int], when: float) -> None:
        """Set the due time of recipients of a message, :data:`~mailserver.mail.queued.HELD` to hold them.
        An attempt in progress does not release a held recipient."""

    def retire(numbers: Collection[int]) -> None:
        """Delete the entries with these numbers; their copies are synced."""

    def remove(numbers: Collection[int]) -> None:
        """Delete the entries and queued messages with these numbers."""

    def drop(part: DamagedPart) -> None:
        """Delete a damaged part and nothing else."""

    def commit() -> None:
        """Make the changes. They are durable when this returns.

        If it raises, the changes may or may not survive a crash, until the next transaction is committed,
        which also removes the copied contents.
        """


class ISpoolView(Interface):
    """The messages of a spool, for listings."""

    def page(selection: Selection, after: int, limit: int) -> "list[Listed]":
        """Messages with numbers above ``after`` in order, at most ``limit``; none at the end. All messages
        that meet the conditions are there, but others may be, too."""

    def summary() -> "list[DestinationSummary]":
        """All destinations, the one with the most recipients first."""

    def find(id: str) -> "list[Shown]":
        """The messages with an id."""

    def counts(now: float) -> QueueCounts:
        """The numbers of waiting recipients. It takes 0.1 seconds for a million; no commit waits."""


class ISpoolSnapshot(Interface):
    """A copy of the spool as it is at one moment, in a folder. All methods block, and raise ``OSError``."""

    def take() -> None:
        """Take the state of the spool. Call it while no transaction is committed. Takes milliseconds."""

    def write() -> None:
        """Write the copy, then :meth:`close`. For any thread."""

    def close() -> None:
        """Give up what :meth:`take` has taken. May be called more than once."""


class ISpoolEngine(ISpoolView):
    """Stores entries, and waiting messages with their contents."""

    def open() -> int:
        """Open the spool and convert data of older versions. Returns the highest number in use.

        Raises :class:`~mailserver.durable.database.Damaged` if the spool is unreadable.
        """

    def close() -> None:
        """Release all resources. May be called more than once."""

    def begin() -> ISpoolTransaction:
        """Begin a transaction. Only one may be open."""

    def entries() -> "Iterator[Entry | DamagedPart]":
        """All entries, in the order of their numbers."""

    def content_of(seq: int) -> "IContent | None":
        """The content of an entry, None if the engine does not store it."""

    def condemn_entry(seq: int, reason: str) -> "DamagedPart":
        """Describe an entry as damaged, for a reason that the caller has found."""

    def waiting() -> int:
        """The number of waiting messages."""

    def oldest(limit: int) -> "list[int]":
        """The numbers of the oldest waiting messages."""

    def bring_forward(latest: float) -> None:
        """Make all recipients due by ``latest`` (seconds since the epoch), or when their message is released,
        in case the clock was wrong. Held recipients stay held."""

    def due(limit: int) -> "list[tuple[str, float]]":
        """The destinations that are due first, each with the due time of its first recipient (seconds since
        the epoch)."""

    def next_due(destination: str, busy: Collection[int]) -> "float | None":
        """The due time of the first recipient of a destination, without the messages in ``busy``. None if
        there is none."""

    def due_messages(destination: str, by: float, limit: int, busy: Collection[int]) -> "list[int]":
        """The numbers of messages with recipients of a destination that are due at ``by``, in the order of
        their priorities and then of time. At most ``limit``, and none of those in ``busy``. At least one if
        there is one."""

    def load(seq: int, destination: "str | None" = None) -> "Queued | None":
        """Read a waiting message with its recipients, or only those of one destination.

        Raises :class:`~mailserver.errors.MessageDamaged` if its rows are damaged.
        """

    def examine(seq: int) -> "list[DamagedPart]":
        """The damaged parts of a waiting message: the whole message, or some of its recipients.

        Checks that the content exists, but does not read it."""

    def condemn(seq: int, reason: str) -> "DamagedPart":
        """Describe a waiting message as damaged, for a reason that the caller has found."""

    def sweep(go_on: "Callable[[], bool]") -> int:
        """Remove contents without a message, which a crash may leave. Returns their number.

        This may take minutes. It does not block other work, and stops when ``go_on`` returns false.
        """

    def snapshot(mail: Path, stage: Path, go_on: "Callable[[], bool]") -> ISpoolSnapshot:
        """A copy of the spool to the new folder ``stage``, with the files of the mailboxes below ``mail``
        that it needs. It raises ``InterruptedError`` once ``go_on`` returns false. Only one at a time.

        Raises :class:`~mailserver.errors.StorageRefused` for a spool in memory."""
