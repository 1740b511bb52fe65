"""The TLS that the configuration requires of other servers: relay.tls and relay.tls_domains."""

from collections.abc import Mapping

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailserver.delivery.interfaces import ITLSPolicy
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement


@implementer(ITLSPolicy)
class ConfiguredTLS:
    """The requirement for the domain of a message. The hosts of the domain make no difference."""

    def __init__(self, level: str, domains: Mapping[str, str]) -> None:
        """``domains`` has the levels of single domains."""
        self._default = TLSRequirement(TLSLevel(level), "relay.tls")
        self._domains = {
            domain: TLSRequirement(TLSLevel(value), "relay.tls_domains") for domain, value in domains.items()
        }

    def requirement(self, domain: str) -> TLSRequirement:
        """As :meth:`policy_for`, at once."""
        return self._domains.get(domain, self._default)

    def decides(self, domain: str) -> bool:
        """Whether relay.tls_domains has this domain."""
        return domain in self._domains

    def policy_for(self, domain: str, host: str, secure: bool) -> Deferred[TLSRequirement]:
        """See :class:`~mailserver.delivery.interfaces.ITLSPolicy`."""
        return succeed(self.requirement(domain))

    def connected(self, domain: str, host: str, requirement: TLSRequirement, problem: str) -> None:
        """See :class:`~mailserver.delivery.interfaces.ITLSPolicy`. Nothing is remembered."""
