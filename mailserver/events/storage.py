"""Events of mailboxes and the data check."""

from mailserver.events.base import Event, event


@event
class FileIgnored(Event):
    """The server does not serve a file in a Maildir."""

    text = "{path!r} ignored: {reason}"
    level = "warn"
    path: str
    reason: str


@event
class SizesNotSaved(Event):
    """The server cannot save the sizes of foreign messages. It measures them again after a restart."""

    text = "{path}: sizes of messages not saved: {error}"
    level = "warn"
    path: str
    error: object


@event
class MessageNotRemoved(Event):
    """The server cannot remove a message that a client has deleted."""

    text = "{name!r} not removed: {error}"
    level = "error"
    name: str
    error: object


@event
class MessagesExpired(Event):
    """The server has removed messages from a mailbox, because their retention time is over."""

    text = "{mailbox}: removed expired messages (count: {count})"
    mailbox: str
    count: int
    rule: str


@event
class ExpiryFailed(Event):
    """The server cannot look for expired messages in a mailbox. It tries again later."""

    text = "{mailbox}: cannot remove expired messages: {error}"
    level = "error"
    mailbox: str
    error: object


@event
class TemporaryNotRemoved(Event):
    """The server cannot remove a temporary file."""

    text = "temporary file not removed: {error}"
    level = "warn"
    path: str
    error: object


@event
class SyncFailed(Event):
    """The sync of a file system has failed. The server writes the affected messages again."""

    text = "sync failed; rewriting the affected messages: {error}"
    level = "error"
    error: object


@event
class CopySyncFailed(Event):
    """The sync of one message has failed. The server writes the message again."""

    text = "{name}: sync failed; rewriting the message: {error}"
    level = "error"
    name: str
    error: object


@event
class ProblemFound(Event):
    """The data check at the start has found a problem."""

    text = "{path} {reason}; would {repair}"
    level = "warn"
    path: object
    reason: str
    repair: str


@event
class MoreProblemsFound(Event):
    """The data check at the start has found more problems than it reports."""

    text = "{path}: more problems found; run: mailserver verify"
    level = "warn"
    path: object


@event
class CheckAborted(Event):
    """The data check at the start has failed."""

    text = "data check aborted: {error}"
    level = "warn"
    error: object
