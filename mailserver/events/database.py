"""Events of the connections to a database in PostgreSQL."""

from mailserver.events.base import Event, event


@event
class DatabaseLost(Event):
    """The server cannot connect to the database. It defers mail and rejects logins, and tries again."""

    text = "database lost: {error}"
    level = "error"
    error: object


@event
class DatabaseBack(Event):
    """The server is connected to the database again."""

    text = "connected to the database again"


@event
class CommitConfirmed(Event):
    """The connection broke during a commit. The database has been asked, and the commit was complete."""

    text = "the connection broke during a commit, which was complete"
    level = "warn"


@event
class LeaseLost(Event):
    """Another server has taken over the database or a mailbox, because this one did not renew its lease in
    time."""

    text = "{name}: the lease was lost to another server"
    level = "error"
    name: str


@event
class LeaseNotReleased(Event):
    """The server cannot release a mailbox in the database. It tries again every few
    seconds, and the lease ends by itself."""

    text = "{name}: lease not released: {error}"
    level = "warn"
    name: str
    error: object
