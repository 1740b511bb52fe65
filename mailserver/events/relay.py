"""Events of connections to other servers."""

from mailserver.events.base import Event, event


@event
class RelayConnected(Event):
    """A connection to another server is ready to send mail."""

    text = "connected to {host} ({tls})"
    level = "debug"
    host: str
    tls: str


@event
class RelayHostUnusable(Event):
    """A host cannot take mail now. If the domain has another host, the server tries that one."""

    text = "{id}: host unusable: {reason}"
    id: str
    host: str
    reason: str


@event
class RelayTLSFailed(Event):
    """The TLS of a connection to another server has failed. Unless TLS is required, the mail goes in the
    clear."""

    text = "TLS with {host} failed: {reason} ({rule})"
    host: str
    reason: str
    rule: str
