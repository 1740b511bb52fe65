"""Events of the mailboxes on the disk."""

from mailserver.events.base import Event, event


@event
class FileIgnored(Event):
    """A file in a Maildir is not served."""

    text = "{path!r} is ignored: {reason}"
    level = "warn"
    path: str
    reason: str


@event
class SizesNotSaved(Event):
    """The sizes of foreign messages cannot be saved; the next start measures them again."""

    text = "{path}: sizes of messages not saved: {error}"
    level = "warn"
    path: str
    error: object


@event
class MessageNotRemoved(Event):
    """A message that a client has deleted cannot be removed."""

    text = "{name!r} not removed: {error}"
    level = "error"
    name: str
    error: object


@event
class TemporaryNotRemoved(Event):
    """A temporary file cannot be removed."""

    text = "temporary file not removed: {error}"
    level = "warn"
    path: str
    error: object


@event
class SyncFailed(Event):
    """The sync of a file system has failed; the affected messages are written again."""

    text = "sync failed; rewriting the affected messages: {error}"
    level = "error"
    error: object


@event
class CopySyncFailed(Event):
    """The sync of one message has failed; it is written again."""

    text = "{name}: sync failed: {error}"
    level = "error"
    name: str
    error: object


@event
class ProblemFound(Event):
    """The check of the data at the start has found a problem."""

    text = "{path} {reason}; would {repair}"
    level = "warn"
    path: object
    reason: str
    repair: str


@event
class MoreProblemsFound(Event):
    """The check of the data at the start has found more problems than it reports."""

    text = "{path}: more problems; run: mailserver verify"
    level = "warn"
    path: object


@event
class CheckAborted(Event):
    """The check of the data at the start could not continue."""

    text = "data: {error}"
    level = "warn"
    error: object
