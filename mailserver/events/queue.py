"""Events of the queue: delivery attempts, bounces, the spool."""

from mailserver.events.base import Event, event
from mailserver.mail.words import AddressNames


@event
class MessageWaiting(Event):
    """An accepted message waits in the queue for some of its mailboxes."""

    text = "{id}: waiting: {sender} to {mailboxes}: {reason} (client {client}, {rule})"
    id: str
    client: str
    sender: str
    mailboxes: AddressNames
    recipients: AddressNames
    reason: str
    rule: str


@event
class MessageDelivered(Event):
    """A message that waited is delivered to some of its mailboxes."""

    text = "{id}: delivered: {sender} to {mailboxes} (attempt {attempt})"
    id: str
    sender: str
    mailboxes: AddressNames
    recipients: AddressNames
    attempt: int


@event
class DeliveryDeferred(Event):
    """A delivery attempt has failed for now, and the message waits on."""

    text = "{id}: waiting: {sender} to {mailboxes}: {reason} (attempt {attempt})"
    id: str
    sender: str
    mailboxes: AddressNames
    recipients: AddressNames
    attempt: int
    reason: str
    rule: str


@event
class DeliveryFailed(Event):
    """The queue gives up on recipients, and sends a bounce to the reverse-path."""

    text = "{id}: gave up: {sender} to {mailboxes}: {reason}; bounce {bounce} sent ({rule})"
    id: str
    sender: str
    mailboxes: AddressNames
    recipients: AddressNames
    reason: str
    rule: str
    bounce: str


@event
class DeliveryFailedSilently(Event):
    """The queue gives up on recipients of a message with the null reverse-path."""

    text = "{id}: gave up: {sender} to {mailboxes}: {reason}; null reverse-path, no bounce ({rule})"
    level = "error"
    id: str
    sender: str
    mailboxes: AddressNames
    recipients: AddressNames
    reason: str
    rule: str


@event
class BounceDeferred(Event):
    """The queue would give up on recipients, but the bounce cannot be delivered; they wait on."""

    text = "{id}: waiting: {sender} to {mailboxes}: {reason}; the bounce cannot be delivered ({rule})"
    level = "error"
    id: str
    sender: str
    mailboxes: AddressNames
    recipients: AddressNames
    reason: str
    rule: str


@event
class AttemptFailed(Event):
    """A delivery attempt has failed before its recipients were tried; it is repeated."""

    text = "an attempt failed: {error}"
    level = "error"
    error: object


@event
class AttemptBroken(Event):
    """A bug: a delivery attempt has failed unexpectedly; it is repeated."""

    text = "an attempt failed"
    level = "critical"


@event
class QueueUnreadable(Event):
    """The messages that are due cannot be read; the queue tries again."""

    text = "the queue cannot be read: {error}"
    level = "error"
    error: object


@event
class SpoolRecovered(Event):
    """The spool is open; copies that a crash has interrupted are complete."""

    text = (
        "recovery: messages synced: {synced} (copies found: {found}, written again: {written}), "
        "waiting: {waiting}, damaged and set aside: {damaged}, to be tried again: {unsynced}"
    )
    synced: int
    found: int
    written: int
    waiting: int
    damaged: int
    unsynced: int


@event
class SpoolDamaged(Event):
    """The database of the spool cannot be read; it is set aside, and a new one begins."""

    text = "the spool is damaged: {reason}; set aside in {path}, with the messages that waited in it"
    level = "critical"
    reason: str
    path: object


@event
class SpoolRowDamaged(Event):
    """A message in the spool cannot be read; it is set aside."""

    text = "row {row}: {name} is damaged in the spool: {reason}; now {path}"
    level = "critical"
    row: int
    name: str
    reason: str
    path: object


@event
class SpoolSwept(Event):
    """Contents that a crash has left without a message are removed."""

    text = "contents of no message removed: {count}"
    count: int


@event
class SpoolSweepFailed(Event):
    """Contents of no message could not be removed; the next start tries again."""

    text = "the sweep failed"
    level = "critical"


@event
class ContentNotRemoved(Event):
    """The content of a message that has left the queue cannot be removed."""

    text = "{path} stays: {error}"
    level = "error"
    path: str
    error: object


@event
class CheckpointFailed(Event):
    """The sync of delivered copies has failed; it is repeated, and the spool keeps them until then."""

    text = "the checkpoint has failed and is tried again: {error}"
    level = "error"
    error: object


@event
class CheckpointBroken(Event):
    """A bug: the sync of delivered copies has failed unexpectedly."""

    text = "the checkpoint failed"
    level = "critical"


@event
class WriterBroken(Event):
    """A bug: the thread that writes the spool has failed unexpectedly; the group of messages is deferred."""

    text = "the spool's writer failed"
    level = "critical"


@event
class CopyHidden(Event):
    """An accepted message is safe in the spool, but its mailbox does not show it yet; it will."""

    text = "{name} is safe but not yet in {mailbox}: {error}"
    level = "error"
    name: str
    mailbox: str
    error: object


@event
class CopyUnsynced(Event):
    """A copy cannot be synced to its mailbox; the spool keeps it."""

    text = "{name} is safe in the spool alone: {error}"
    level = "error"
    name: str
    error: object
