"""Events of the server: start, reload, certificates, control commands."""

from collections.abc import Mapping

from mailserver.events.base import Event, event


class ListenerAddresses(list[Mapping[str, object]]):
    """The addresses of listeners as a field of an event: a list of dictionaries, and a short text."""

    def __str__(self) -> str:
        places = [one.get("path") or "{host} port {port}".format_map(one) for one in self]
        return ", ".join(
            f"{one['protocol']} on {place} (tls: {one['tls']})"
            for one, place in zip(self, places, strict=True)
        )


@event
class ServerReady(Event):
    """All listeners accept connections."""

    text = "ready: {listeners}"
    listeners: ListenerAddresses


@event
class StartFailed(Event):
    """The server cannot start. The process exits with status 1."""

    text = "cannot start: {reason}"
    level = "error"
    reason: str


@event
class SystemdNotNotified(Event):
    """A notification to systemd has failed. The server logs this once."""

    text = "cannot notify systemd: {error}"
    level = "warn"
    error: object


@event
class ConfigurationWarning(Event):
    """The configuration is valid but unsafe, or the disk has little free space."""

    text = "{reason}"
    level = "warn"
    reason: str


@event
class ConfigurationReloaded(Event):
    """A new configuration is in force."""

    text = "{reason}"
    reason: str


@event
class RestartNeeded(Event):
    """A new configuration is in force, but some of its keys need a restart."""

    text = "{reason}"
    level = "warn"
    reason: str


@event
class ConfigurationRejected(Event):
    """A new configuration has errors. The old one stays in force."""

    text = "{reason}"
    level = "error"
    reason: str


@event
class CertificateInForce(Event):
    """A certificate is in force, at the start or after a renewal."""

    text = "certificate in force: {names}, valid until {until}"
    names: str
    until: str


@event
class ClientAuthoritiesInForce(Event):
    """The authorities for client certificates have changed, and the new ones are in force."""

    text = "{key}: the changed file is in force"
    key: str


@event
class CertificateUnusable(Event):
    """A renewed certificate is unusable; reported daily, and hourly near the expiry of the old one."""

    text = "{reason}; the old certificate stays in force"
    level = "error"
    reason: object


@event
class CertificateWarning(Event):
    """A certificate has expired, expires soon, or is not valid yet.

    Soon is within 14 days, or within a third of a shorter lifetime than 42 days.
    """

    text = "{path}: {reason}"
    level = "warn"
    path: object
    reason: str


@event
class CertificateUnreadable(Event):
    """The user that the server runs as cannot read a certificate or a key."""

    text = (
        "{path}: the server's user cannot read it ({error}) and cannot load a renewed certificate; "
        "grant access by the group of the file or by setfacl, as in docs/installation.md"
    )
    level = "warn"
    path: object
    error: object


@event
class ControlCommandFailed(Event):
    """A bug: a control command has failed unexpectedly."""

    text = "control command {name} failed unexpectedly"
    level = "critical"
    name: str


@event
class ScrapeFailed(Event):
    """A bug: a request for metrics or health has failed unexpectedly."""

    text = "request for {path} failed unexpectedly"
    level = "critical"
    path: str


@event
class WebRequestFailed(Event):
    """A bug: a request of a web listener has failed unexpectedly."""

    text = "request for {path} from {client} failed unexpectedly"
    level = "critical"
    path: str
    client: str
    session: str


@event
class JournalNotWritten(Event):
    """The server cannot write the journal of messages. It logs this once until a write succeeds."""

    text = "journal of messages not written: {error}"
    level = "error"
    error: object
