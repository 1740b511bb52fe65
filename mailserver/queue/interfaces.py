"""The contract between the spool and the engine that keeps what it has promised.

An engine keeps two things apart. *Entries* are messages whose copies are in the mailboxes but perhaps
not synced there; they live for about a second, and a start reads them all. *Queued* messages wait for
another attempt; there may be millions, and nobody ever reads them all at once.

All methods may block, and raise ``OSError``. A transaction is for one thread; the rest is for any.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from zope.interface import Interface

from mailserver.interfaces import IContent, QueuedMessage
from mailserver.mail.queued import QueuedRecipient
from mailserver.queue.entries import DamagedPart, Entry, Listed, Queued, Shown


class ISpoolTransaction(Interface):
    """Changes that are made together or not at all. Nothing is changed before ``commit``."""

    def take(entry: Entry) -> None:
        """Add a message whose copies are staged."""

    def enqueue(message: QueuedMessage, recipients: Sequence[QueuedRecipient]) -> None:
        """Add a message that waits. Its content is copied here and now; where that raises, nothing is
        added, and the transaction can go on."""

    def record_attempt(
        message: QueuedMessage, left: Iterable[QueuedRecipient], gone: Iterable[QueuedRecipient]
    ) -> None:
        """Record who still waits after an attempt, and who does not. A recipient that is not in the
        queue is passed over. A message without recipients leaves the queue, and its content goes."""

    def retire(numbers: Collection[int]) -> None:
        """Forget the entries with these numbers: their copies are synced."""

    def remove(numbers: Collection[int]) -> None:
        """Forget entries and queued messages, as if they had never been added."""

    def drop(part: DamagedPart) -> None:
        """Forget a part that makes no sense, and no more than that."""

    def commit() -> None:
        """Make the changes, durable when this returns.

        Where it raises, it is not known whether the changes will be there after a crash, until the next
        transaction is committed. The contents that were copied go then, and not before.
        """


class ISpoolView(Interface):
    """What is in a spool, for people."""

    def listing() -> Iterator[Listed]:
        """All messages, oldest first."""

    def find(id: str) -> "list[Shown]":
        """The messages with an id."""


class ISpoolEngine(ISpoolView):
    """Keeps entries, and messages that wait with their contents."""

    def open() -> int:
        """Open, bring old data into the form of this version, and say what the last number used is.

        Raises :class:`~mailserver.durable.database.Damaged` if there is no reading it at all.
        """

    def close() -> None:
        """Let go of everything. May be called more than once."""

    def begin() -> ISpoolTransaction:
        """A transaction; one at a time."""

    def entries() -> "Iterator[Entry | DamagedPart]":
        """All entries, in the order of their numbers."""

    def content_of(seq: int) -> "IContent | None":
        """The content of an entry, if it is kept here."""

    def condemn_entry(seq: int, reason: str) -> "DamagedPart":
        """An entry as a whole, which makes no sense for a reason that was found elsewhere."""

    def waiting() -> int:
        """How many messages wait."""

    def bring_forward(latest: float) -> None:
        """Let no message wait longer than that (seconds since the epoch), whatever the clock has said."""

    def due(limit: int) -> "list[tuple[int, float]]":
        """The messages that are due first: numbers, and when they are due (seconds since the epoch)."""

    def load(seq: int) -> "Queued | None":
        """A message that waits.

        Raises :class:`~mailserver.errors.MessageDamaged` if it makes no sense.
        """

    def examine(seq: int) -> "list[DamagedPart]":
        """What of a message that waits makes no sense: the whole, or some of its recipients.

        Its content is only looked for, not read."""

    def condemn(seq: int, reason: str) -> "DamagedPart":
        """The same of a message that waits."""

    def sweep(go_on: "Callable[[], bool]") -> int:
        """Remove contents that no message refers to, as a crash leaves them; say how many there were.

        Takes long, disturbs nobody, and ends early where ``go_on`` says no.
        """
