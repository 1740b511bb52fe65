"""Values that only the spool and its engines use."""

from collections.abc import Iterator
from typing import Any

import attrs
from zope.interface import implementer

from mailserver.interfaces import IContent, QueuedMessage, StoredCopy
from mailserver.mail.address import Address
from mailserver.mail.queued import FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import Destination


@attrs.frozen
class Entry:
    """A delivered message whose copies may not be synced yet.

    ``reverse_path`` is "" for the null reverse-path. ``octets`` is the size without trace fields.
    ``content`` is the message without trace fields, None if every copy has a ``source``.
    """

    seq: int
    id: str
    received: float
    reverse_path: str
    octets: int
    copies: tuple[StoredCopy, ...]
    content: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Queued:
    """A waiting message and its recipients. ``others`` of the same destination wait, too, but are not due."""

    message: QueuedMessage
    recipients: tuple[QueuedRecipient, ...]
    others: bool = False


@attrs.frozen
class RecordedAttempt:
    """The result of an attempt: recipients that are ``left`` keep waiting, those that are ``gone`` do not."""

    message: QueuedMessage
    left: tuple[QueuedRecipient, ...]
    gone: tuple[QueuedRecipient, ...]


@attrs.frozen
class DamagedPart:
    """A damaged part of the spool.

    ``name`` is the name for the file that it is set aside as. ``reason`` describes the damage and the
    remaining values, in several lines. ``key`` identifies the part to the engine.
    """

    seq: int
    name: str
    reason: str
    content: IContent | None
    key: Any


@attrs.frozen
class Listed:
    """A message in a listing. Values are not checked: a damaged value may have another type.

    ``synced`` is false if some copies may not be synced yet. ``recipients`` has the waiting recipients.
    """

    seq: object
    id: object
    received: object
    reverse_path: object
    octets: object
    synced: bool
    recipients: tuple["ListedRecipient", ...]


NOT_TRIED = "not tried yet"


@attrs.frozen
class ListedRecipient:
    """A waiting recipient in a listing; see :class:`Listed`.

    ``last`` is the last failed attempt, None before the first one; ``error`` is its text, or the damage of
    the row. The sender holds the message until ``release``, 0.0 if not.
    """

    number: int
    destination: str
    recipient: object
    address: object
    attempts: object
    next: object
    error: object
    last: FailedAttempt | None = None
    release: object = 0.0


@attrs.frozen
class DestinationSummary:
    """The recipients of one destination that wait.

    ``held`` of them are held. ``oldest`` is the time of arrival of the oldest message, ``next`` the time of
    the first attempt, None if all are held. ``last`` is the last failed attempt for the recipient that is
    tried first.
    """

    destination: str
    recipients: int
    held: int
    oldest: float
    next: float | None
    last: FailedAttempt | None


@attrs.frozen
class QueueCounts:
    """The numbers of waiting recipients by their state, and the time of arrival of the first message in the
    queue, None without one."""

    due: int
    waiting: int
    held: int
    oldest: float | None


@attrs.frozen
class Shown:
    """One message in detail. ``unsynced`` has the mailboxes whose copies may not be synced yet. ``damage``
    describes damage to these copies, "" if there is none."""

    listed: Listed
    unsynced: tuple[str, ...]
    damage: str
    content: IContent | None


@implementer(IContent)
@attrs.frozen
class InMemoryContent:
    """Content in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        """See :meth:`~mailserver.interfaces.IContent.chunks`."""
        yield self.data


def bounced_as(destination: Destination) -> str:
    """The address that a bounce names: the member of a list to its owner, the recipient to a sender."""
    return str(destination.mailbox if destination.bounces_to else destination.delivered_to)


def address_text(path: Address | None) -> str:
    """A reverse-path in the form of the spool."""
    return "" if path is None else str(path)
