"""Events of connections and their sessions: limits, logins, TLS, rejected commands."""

from mailserver.events.base import Event, event


@event
class CommandRejected(Event):
    """The server rejects or defers a sender, a recipient or another command of a client."""

    text = "rejected {what} from {client}: {reason}"
    client: str
    session: str
    account: str
    what: str
    reason: str
    rule: str


@event
class ClientRejected(Event):
    """The server rejects a client, or a command regardless of its argument."""

    text = "rejected {client}: {reason}"
    client: str
    session: str
    account: str
    reason: str
    rule: str


@event
class RejectionsRepeated(Event):
    """The same rule has rejected a session again; reported once a minute and at the end of the session."""

    text = "rejected {client} again (count: {count}): {reason}"
    client: str
    session: str
    account: str
    count: int
    reason: str
    rule: str


@event
class ClientNamedByProxy(Event):
    """A trusted proxy has named the client that it speaks for, by XCLIENT. ``name`` and ``helo`` are what it
    says of the client."""

    text = "proxy {proxy} speaks for {client}"
    client: str
    session: str
    proxy: str
    name: str
    helo: str
    account: str


@event
class OriginNamedByFilter(Event):
    """A trusted filter has named the client that its message came from, by XFORWARD. ``ident`` is the id of
    the message there."""

    text = "{id}: came from {origin} by way of {client} (name {name}, HELO {helo}, id there {ident})"
    id: str
    client: str
    session: str
    origin: str
    name: str
    helo: str
    ident: str


@event
class EarlyTalkerNoticed(Event):
    """An SMTP client has sent data before the greeting."""

    text = "early talker {client}: {reason}"
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

    text = "TLS handshake with {client} failed: {reason}"
    client: str
    session: str
    reason: object
    rule: str


@event
class LoginSucceeded(Event):
    """A client has logged in by SMTP, or by HTTP on a connection without a login of this account before."""

    text = "{user}: logged in from {client}"
    user: str
    client: str
    session: str
    mechanism: str


@event
class MailFetchStarted(Event):
    """An SMTP client has logged in and fetches the mail that waits for its domains (ATRN)."""

    text = "{user}: fetches the mail for {domains} from {client}"
    user: str
    domains: str
    client: str
    session: str


@event
class MailFetchFailed(Event):
    """A client that has sent ATRN does not receive mail. The mail stays in the queue."""

    text = "mail not fetched: {reason}"
    client: str
    session: str
    reason: str


@event
class MaildropOpened(Event):
    """A POP3 client has logged in, and its maildrop is open."""

    text = "{user}: logged in from {client} (messages: {count})"
    user: str
    client: str
    session: str
    mechanism: str
    count: int


@event
class LoginRejected(Event):
    """A login has failed."""

    text = "login rejected: {user!r} from {client} by {mechanism}: {reason}"
    level = "warn"
    user: str
    client: str
    session: str
    protocol: str
    mechanism: str
    reason: str
    rule: str


@event
class MaildropUnavailable(Event):
    """The server cannot open the maildrop of a client that has logged in."""

    text = "{user}: cannot open the maildrop: {error}"
    level = "error"
    user: str
    client: str
    session: str
    error: object
    rule: str


@event
class MessageUnreadable(Event):
    """The server cannot read a message that a client has requested."""

    text = "cannot read a message for {client}: {error}"
    level = "error"
    client: str
    session: str
    error: object


@event
class SessionFailed(Event):
    """A bug: a command has failed unexpectedly. The session continues."""

    text = "unexpected failure in the session of {client}"
    level = "critical"
    client: str
    session: str


@event
class ConnectionCut(Event):
    """A bug: a session has failed and cannot continue. The server closes its connection."""

    text = "connection of {client} closed after an unexpected failure"
    level = "critical"
    client: str
    session: str


@event
class AcceptingPaused(Event):
    """A listener accepts no connections until file descriptors are free."""

    text = "{port}: paused accepting connections: file descriptors nearly exhausted (limit {limit})"
    level = "warn"
    port: object
    limit: int
