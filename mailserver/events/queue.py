"""Events of the queue and the spool."""

from mailserver.events.base import Event, event
from mailserver.mail.words import AddressNames


@event
class QueuedMessageEvent(Event):
    """The fields of every event of a message in the queue."""

    id: str
    sender: str
    mailboxes: AddressNames
    recipients: AddressNames


@event
class MessageWaiting(QueuedMessageEvent):
    """An accepted message waits in the queue, because some of its mailboxes are full."""

    text = "{id}: waiting: {sender} to {mailboxes}: {reason} (client {client}, {rule})"
    client: str
    reason: str
    rule: str


@event
class MessageDelivered(QueuedMessageEvent):
    """A delivery attempt has delivered a message from the queue to some of its mailboxes."""

    text = "{id}: delivered: {sender} to {mailboxes} (attempt {attempt})"
    attempt: int


@event
class MessageRelayed(QueuedMessageEvent):
    """A delivery attempt has passed a message from the queue on to another server."""

    text = "{id}: relayed: {sender} to {mailboxes}: {host} said {reply} (attempt {attempt})"
    attempt: int
    host: str
    reply: str


@event
class DeliveryDeferred(QueuedMessageEvent):
    """A delivery attempt has failed temporarily. The message stays in the queue."""

    text = "{id}: waiting: {sender} to {mailboxes}: {reason} (attempt {attempt})"
    attempt: int
    reason: str
    rule: str
    host: str
    reply: str


@event
class GivenUpEvent(QueuedMessageEvent):
    """The fields of every event of recipients that the queue gives up on."""

    reason: str
    rule: str
    host: str
    reply: str


@event
class DeliveryFailed(GivenUpEvent):
    """The queue gives up on recipients and sends a bounce to the reverse-path, or else to the postmaster."""

    text = "{id}: gave up: {sender} to {mailboxes}: {reason}; bounce {bounce} sent to {addressee} ({rule})"
    bounce: str
    addressee: str


@event
class DeliveryFailedSilently(GivenUpEvent):
    """The queue gives up on recipients of a message with the null reverse-path."""

    text = "{id}: gave up: {sender} to {mailboxes}: {reason}; null reverse-path, no bounce sent ({rule})"
    level = "error"


@event
class DeliveryFailedUnreported(GivenUpEvent):
    """The queue gives up on recipients. The sender has asked for no bounce (NOTIFY, RFC 3461 section 4.1)."""

    text = "{id}: gave up: {sender} to {mailboxes}: {reason}; the sender wants no bounce ({rule})"


@event
class BounceDeferred(GivenUpEvent):
    """The queue cannot deliver a bounce now. The recipients that have failed stay in the queue."""

    text = "{id}: waiting: {sender} to {mailboxes}: {reason}; bounce not deliverable now ({rule})"
    level = "error"


@event
class DelayReported(QueuedMessageEvent):
    """The queue tells the sender that recipients wait for another attempt."""

    text = "{id}: still waiting: {sender} to {mailboxes}; delay report {bounce} sent to {addressee}"
    bounce: str
    addressee: str


@event
class DeliveryReported(QueuedMessageEvent):
    """The server tells the sender of a delivery, as the sender has requested (RFC 3461)."""

    text = "{id}: delivery confirmed: {sender} to {mailboxes}; report {bounce} sent to {addressee}"
    bounce: str
    addressee: str


@event
class ReportNotSent(QueuedMessageEvent):
    """The server cannot send a report about a delay or a delivery. It tries that about a delay again."""

    text = "{id}: report about {mailboxes} to {sender} not sent: {error}"
    level = "error"
    error: object


@event
class RecipientsHeld(QueuedMessageEvent):
    """An administrator holds recipients: there are no attempts until they are released."""

    text = "{id}: held: {sender} to {mailboxes}"


@event
class RecipientsReleased(QueuedMessageEvent):
    """An administrator releases held recipients. An attempt follows at once."""

    text = "{id}: released: {sender} to {mailboxes}"


@event
class RecipientsRemoved(QueuedMessageEvent):
    """An administrator has removed recipients from the queue. They do not get the message, and nobody gets a
    bounce."""

    text = "{id}: removed from the queue: {sender} to {mailboxes}"
    level = "warn"


@event
class AttemptFailed(Event):
    """A delivery attempt has failed before its recipients were tried. The queue repeats it."""

    text = "delivery attempt failed: {error}"
    level = "error"
    error: object


@event
class AttemptBroken(Event):
    """A bug: a delivery attempt has failed unexpectedly. The queue repeats it."""

    text = "delivery attempt failed unexpectedly"
    level = "critical"


@event
class QueueUnreadable(Event):
    """The queue cannot read the messages that are due. It tries again later."""

    text = "cannot read the queue: {error}"
    level = "error"
    error: object


@event
class SpoolRecovered(Event):
    """The server has opened the spool and completed the copies that a crash interrupted."""

    text = (
        "recovery: messages synced: {synced} (copies found: {found}, written again: {written}), "
        "waiting: {waiting}, damaged and set aside: {damaged}, not yet synced: {unsynced}"
    )
    synced: int
    found: int
    written: int
    waiting: int
    damaged: int
    unsynced: int


@event
class SpoolDamaged(Event):
    """The server cannot read the database of the spool. It sets the database aside and creates a new one."""

    text = "spool database damaged: {reason}; moved to {path} with the messages that waited in it"
    level = "critical"
    reason: str
    path: object


@event
class SpoolRowDamaged(Event):
    """The server cannot read a message in the spool. It sets the message aside."""

    text = "{name}: damaged in the spool (row {row}): {reason}; moved to {path}"
    level = "critical"
    row: int
    name: str
    reason: str
    path: object


@event
class ShardAbsorbed(Event):
    """The first worker has taken over the messages in the spool of a worker that does not exist any more."""

    text = "messages taken over from the spool of worker {worker}, which does not exist any more: {count}"
    worker: int
    count: int


@event
class ShardKept(Event):
    """Messages wait in the spool of a worker that does not exist any more. This version of the server writes
    none there, and leaves them."""

    text = (
        "{path}: not removed: {waiting} messages wait in the spool of a worker that does not exist any more"
    )
    level = "critical"
    path: object
    waiting: int


@event
class ShardNotRemoved(Event):
    """The server cannot remove the empty spool of a worker that does not exist any more. The next start tries
    again."""

    text = "{path}: empty spool not removed: {error}"
    level = "error"
    path: object
    error: object


@event
class SpoolSwept(Event):
    """The server has removed content files that a crash has left without a message."""

    text = "removed content files without a message: {count}"
    count: int


@event
class SpoolSweepFailed(Event):
    """The server cannot remove content files without a message. The next start tries again."""

    text = "cannot remove content files without a message"
    level = "critical"


@event
class ContentNotRemoved(Event):
    """The server cannot remove the content file of a message that has left the queue."""

    text = "{path}: content file not removed: {error}"
    level = "error"
    path: str
    error: object


@event
class CheckpointFailed(Event):
    """The sync of delivered copies has failed. The spool keeps them until a repeated sync succeeds."""

    text = "checkpoint failed, will be repeated: {error}"
    level = "error"
    error: object


@event
class CheckpointBroken(Event):
    """A bug: the sync of delivered copies has failed unexpectedly."""

    text = "checkpoint failed unexpectedly"
    level = "critical"


@event
class WriterBroken(Event):
    """A bug: the writer thread of the spool has failed unexpectedly. Its messages are deferred."""

    text = "spool writer failed unexpectedly"
    level = "critical"


@event
class CopyHidden(Event):
    """An accepted message is in the spool, but not yet visible in its mailbox. The server tries again."""

    text = "{name}: safe in the spool, not yet visible in {mailbox}: {error}"
    level = "error"
    name: str
    mailbox: str
    error: object


@event
class CopyUnsynced(Event):
    """The server cannot sync a copy to its mailbox. The spool keeps the copy."""

    text = "{name}: safe in the spool, not synced to its mailbox: {error}"
    level = "error"
    name: str
    error: object
