"""Events of incoming messages."""

from mailserver.events.base import Event, event
from mailserver.mail.words import AddressNames


@event
class IncomingMessageEvent(Event):
    """The fields of every event of an incoming message."""

    id: str
    session: str
    client: str
    account: str
    sender: str
    recipients: AddressNames


@event
class MessageAccepted(IncomingMessageEvent):
    """A message is safe on the disk; the client gets the reply 250."""

    text = "{id}: accepted: {sender} to {recipients} (client {client}, {size} octets)"
    size: int


@event
class MessageRejected(IncomingMessageEvent):
    """The server rejects a message permanently, after it has accepted the recipients."""

    text = "{id}: rejected: {sender} to {recipients}: {reason} (client {client}, {rule})"
    reason: str
    rule: str


@event
class MessageQuarantined(IncomingMessageEvent):
    """A message goes to the quarantine in place of its recipients."""

    text = "{id}: kept aside in the quarantine: {sender} to {recipients}: {reason} (client {client}, {rule})"
    reason: str
    rule: str


@event
class MessageDeferred(IncomingMessageEvent):
    """The server cannot store a message now; the client gets a temporary error."""

    text = "{id}: deferred: {sender} to {recipients}: {reason} (client {client}, {rule})"
    level = "error"
    reason: str
    rule: str


@event
class MessagePostponed(IncomingMessageEvent):
    """A check defers a message at its end, such as greylisting or a mail filter; the client tries again."""

    text = "{id}: deferred: {sender} to {recipients}: {reason} (client {client}, {rule})"
    reason: str
    rule: str


@event
class QuarantineReleased(Event):
    """An administrator has released a message from the quarantine: it is in the queue now."""

    text = "{id}: released from the quarantine: {sender} to {recipients} (was: {reason})"
    id: str
    sender: str
    recipients: AddressNames
    reason: str


@event
class QuarantineRemoved(Event):
    """An administrator removes a message from the quarantine."""

    text = "{id}: removed from the quarantine: {sender} to {recipients} (was: {reason})"
    id: str
    sender: str
    recipients: AddressNames
    reason: str


@event
class QuarantineExpired(Event):
    """A message has been in the quarantine for the time of quarantine.expire_after. The server removes it."""

    text = "{id}: expired in the quarantine: {sender} to {recipients} (was: {reason}) ({rule})"
    id: str
    sender: str
    recipients: AddressNames
    reason: str
    rule: str


@event
class MessageUnsigned(Event):
    """A message of an account goes out without a DKIM signature."""

    text = "{id}: not signed: {reason} ({rule})"
    level = "warn"
    id: str
    session: str
    account: str
    reason: str
    rule: str


@event
class MessageDiscarded(IncomingMessageEvent):
    """The server drops a message that a check wants to be dropped; the client gets the reply 250."""

    text = "{id}: discarded: {sender} to {recipients} (client {client}, {rule})"
    rule: str


@event
class MailboxUnusable(Event):
    """The server defers a recipient because it cannot read the usage of the mailbox."""

    text = "{mailbox}: mail deferred: {reason}"
    level = "error"
    mailbox: object
    reason: str
    rule: str
