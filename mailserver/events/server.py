"""Events of the server as a whole: start, reload, certificates, control commands."""

from mailserver.events.base import Event, event


@event
class ServerReady(Event):
    """The server is ready: all listeners accept connections."""

    text = "ready: {listeners}"
    listeners: object


@event
class StartFailed(Event):
    """The server cannot start; the process ends with status 1."""

    text = "cannot start: {reason}"
    level = "error"
    reason: str


@event
class ConfigurationWarning(Event):
    """The configuration works, but it is unsafe or there is little disk space."""

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
    """A new configuration is in force, except for the keys that need a restart."""

    text = "{reason}"
    level = "warn"
    reason: str


@event
class ConfigurationRejected(Event):
    """A new configuration has errors; the previous one stays in force."""

    text = "{reason}"
    level = "error"
    reason: str


@event
class CertificateInForce(Event):
    """A certificate is in force, at the start or after a renewal."""

    text = "certificate in force: {names}, until {until}"
    names: str
    until: str


@event
class ClientAuthoritiesInForce(Event):
    """The certificates that sign those of clients have changed and are in force."""

    text = "{key} has changed, and is in force"
    key: str


@event
class CertificateUnusable(Event):
    """Renewed certificates cannot be used; reported daily, and hourly near the end of the old one."""

    text = "{reason}; the files read before stay in force"
    level = "error"
    reason: object


@event
class CertificateWarning(Event):
    """A certificate has expired, expires within 14 days, or is not valid yet."""

    text = "{path}: {reason}"
    level = "warn"
    path: object
    reason: str


@event
class CertificateUnreadable(Event):
    """The user that the server runs as cannot read a certificate or a key."""

    text = (
        "{path}: the server's user cannot read it ({error}), so that a renewed certificate will not come "
        "into force; allow it by the group of the file or by setfacl, as in README.md"
    )
    level = "warn"
    path: object
    error: object


@event
class ControlCommandFailed(Event):
    """A bug: a control command has failed unexpectedly."""

    text = "the command {name} failed"
    level = "critical"
    name: str
