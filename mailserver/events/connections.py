"""Events of connections and their sessions: limits, logins, TLS, rejected commands."""

from mailserver.events.base import Event, event


@event
class CommandRejected(Event):
    """A sender, a recipient or another request of a client is rejected or deferred."""

    text = "rejected {what} from {client}: {reason}"
    client: str
    session: str
    account: str
    what: str
    reason: str
    rule: str


@event
class ClientRejected(Event):
    """A client, or one of its commands as a whole, is rejected."""

    text = "rejected {client}: {reason}"
    client: str
    session: str
    account: str
    reason: str
    rule: str


@event
class RejectionsRepeated(Event):
    """A session was rejected more often by the same rule; reported once a minute and at its end."""

    text = "rejected {client} again (count: {count}): {reason}"
    client: str
    session: str
    account: str
    count: int
    reason: str
    rule: str


@event
class EarlyTalkerNoticed(Event):
    """An SMTP client has sent a command before the greeting."""

    text = "noticed {client}: {reason}"
    client: str
    session: str
    reason: str
    rule: str


@event
class ProxyRejected(Event):
    """A proxy has not sent the PROXY header that its listener requires."""

    text = "rejected proxy {client}: {reason}"
    level = "warn"
    client: str
    reason: str
    rule: str


@event
class TLSFailed(Event):
    """A TLS handshake has failed."""

    text = "no TLS with {client}: {reason}"
    client: str
    session: str
    reason: object
    rule: str


@event
class LoginSucceeded(Event):
    """An SMTP client has logged in."""

    text = "{user}: logged in from {client}"
    user: str
    client: str
    session: str


@event
class MaildropOpened(Event):
    """A POP3 client has logged in and has its maildrop."""

    text = "{user}: logged in from {client} (messages: {count})"
    user: str
    client: str
    session: str
    count: int


@event
class LoginRejected(Event):
    """A login has failed."""

    text = "login rejected: {user!r} from {client} by {mechanism}: {reason}"
    level = "warn"
    user: str
    client: str
    session: str
    mechanism: str
    reason: str
    rule: str


@event
class MaildropUnavailable(Event):
    """A maildrop cannot be opened for a client that has logged in."""

    text = "maildrop of {user} cannot be opened: {error}"
    level = "error"
    user: str
    client: str
    session: str
    error: object
    rule: str


@event
class MessageUnreadable(Event):
    """A message of a maildrop cannot be read for a client."""

    text = "message cannot be read: {error}"
    level = "error"
    client: str
    session: str
    error: object


@event
class SessionFailed(Event):
    """A bug: a command has failed unexpectedly. The session continues."""

    text = "unexpected failure while serving {client}"
    level = "critical"
    client: str
    session: str


@event
class ConnectionCut(Event):
    """A bug: a session has failed so badly that its connection is closed."""

    text = "connection of {client} is cut"
    level = "critical"
    client: str
    session: str


@event
class AcceptingPaused(Event):
    """A listener accepts no connections for a while."""

    text = "{port}: paused accepting connections: file descriptors nearly exhausted (limit {limit})"
    level = "warn"
    port: object
    limit: int
