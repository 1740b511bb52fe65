"""Events of messages that a client brings."""

from mailserver.events.base import Event, event
from mailserver.mail.words import AddressNames


@event
class MessageAccepted(Event):
    """A message is safe on the disk, and its sender is told so."""

    text = "{id}: accepted: {sender} to {recipients} (client {client}, {size} octets)"
    id: str
    session: str
    client: str
    account: str
    sender: str
    recipients: AddressNames
    size: int


@event
class MessageRejected(Event):
    """A message is rejected for good after its recipients were accepted."""

    text = "{id}: rejected: {sender} to {recipients}: {reason} (client {client}, {rule})"
    id: str
    session: str
    client: str
    account: str
    sender: str
    recipients: AddressNames
    reason: str
    rule: str


@event
class MessageDeferred(Event):
    """A message cannot be stored now; its client is told to try again later."""

    text = "{id}: deferred: {sender} to {recipients}: {reason} (client {client}, {rule})"
    level = "error"
    id: str
    session: str
    client: str
    account: str
    sender: str
    recipients: AddressNames
    reason: str
    rule: str


@event
class MailboxUnusable(Event):
    """A recipient is deferred, since the usage of its mailbox cannot be read."""

    text = "{mailbox}: mail is deferred: {reason}"
    level = "error"
    mailbox: object
    reason: str
    rule: str
