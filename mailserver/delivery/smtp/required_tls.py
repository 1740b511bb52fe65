"""REQUIRETLS (RFC 8689 section 4.2.1): the hosts that may take a message that needs TLS on its whole way.

The way to a host must be secure: DNSSEC or MTA-STS, or the configuration, names it. The host must have a
valid certificate and offer REQUIRETLS. If no host does so, the message is returned at once.
"""

from mailserver.delivery.smtp.connections import RelayConnection
from mailserver.errors import HostUnusable
from mailserver.mail import outcome
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement
from mailserver.mail.verdict import Status

TLS_MISSING = Status(7, 10)
REQUIRETLS_MISSING = Status(7, 30)


class RequireTLSMissing(HostUnusable):
    """The host has TLS and does not offer REQUIRETLS."""


def raised(requirement: TLSRequirement, host: RelayHost, *, by_mx: bool) -> TLSRequirement:
    """The requirement for a message with REQUIRETLS. Raises :class:`~mailserver.errors.HostUnusable`."""
    if requirement.level is TLSLevel.VERIFIED:
        return requirement
    if by_mx and not host.secure:
        text = f"{host.name}: neither DNSSEC nor MTA-STS protects the way to it (REQUIRETLS)"
        raise HostUnusable(text, host.name, tls_failed=True)
    return TLSRequirement(TLSLevel.VERIFIED, "REQUIRETLS")


def check_offer(connection: RelayConnection) -> None:
    """Raises :class:`RequireTLSMissing`, and ends the session, if the server does not offer REQUIRETLS."""
    if not connection.extensions.require_tls:
        connection.quit()
        text = f"{connection.label} does not offer REQUIRETLS"
        raise RequireTLSMissing(text, connection.host.name, tls_failed=True)


def returned(error: HostUnusable) -> outcome.Failed:
    """The outcome where no host may take the message; ``error`` is that of the last one."""
    status = REQUIRETLS_MISSING if isinstance(error, RequireTLSMissing) else TLS_MISSING
    text = f"the message must be sent over verified TLS only, and no host takes it: {error}"
    return outcome.Failed(status, text, host=error.host, reply=error.reply)
