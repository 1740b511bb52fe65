"""Values of the spool that the rest of the server does not know."""

from collections.abc import Iterator
from typing import Any

import attrs
from zope.interface import implementer

from mailserver.interfaces import IContent, QueuedMessage, StoredCopy
from mailserver.mail.address import Address
from mailserver.mail.queued import QueuedRecipient


@attrs.frozen
class Entry:
    """A message whose copies may not be synced yet, in the mailboxes that they were written to.

    ``reverse_path`` is "" for the null one; ``octets`` are those of the message without trace fields.
    ``content`` is the message without them, None if every copy has a ``source`` of its own.
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
    """A message that waits, and its recipients."""

    message: QueuedMessage
    recipients: tuple[QueuedRecipient, ...]


@attrs.frozen
class DamagedPart:
    """A part of the spool that makes no sense, and all that is known of it.

    ``name`` is for the file that it is set aside as. ``reason`` says in several lines what is wrong, and
    what there is. ``key`` is the engine's own word for the part.
    """

    seq: int
    name: str
    reason: str
    content: IContent | None
    key: Any


@attrs.frozen
class Listed:
    """A message as it is shown to people. Nothing is checked: a damaged value has another type.

    ``synced`` is false if there are copies that may not be synced yet. ``recipients`` are those that wait.
    """

    seq: object
    id: object
    received: object
    reverse_path: object
    octets: object
    synced: bool
    recipients: tuple["ListedRecipient", ...]


@attrs.frozen
class ListedRecipient:
    """A recipient that waits, as it is shown to people; see :class:`Listed`."""

    recipient: object
    address: object
    attempts: object
    next: object
    error: object


@attrs.frozen
class Shown:
    """All that is shown of one message. ``unsynced`` are the mailboxes whose copies may not be synced yet;
    ``damage`` says what is wrong with them, if anything is."""

    listed: Listed
    unsynced: tuple[str, ...]
    damage: str
    content: IContent | None


@implementer(IContent)
@attrs.frozen
class InMemoryContent:
    """Content that is in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        """See :meth:`~mailserver.interfaces.IContent.chunks`."""
        yield self.data


def beginning(content: IContent, octets: int) -> bytes:
    """The first octets of a content; a little more or fewer, as its pieces are. May block."""
    found = b""
    for chunk in content.chunks():
        found += chunk
        if len(found) >= octets:
            break
    return found


def address_text(path: Address | None) -> str:
    """A reverse-path as the spool keeps it."""
    return "" if path is None else str(path)
