"""The TLS of one server of a fixture: the certificate of the authority, or one with a fault."""

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator

from mailserver.testing.authority import FixtureAuthority
from mailserver.testing.tls_faults import TLS_FAULTS, fault_options


class FixtureTLS:
    """Returns the TLS contexts of all listeners. ``fault`` is a name of ``TLS_FAULTS``, "" for none."""

    def __init__(self, authority: FixtureAuthority, hostname: str, fault: str = "") -> None:
        self.authority = authority
        self._hostname = hostname
        self._fault = fault
        self._faulty: dict[str, IOpenSSLServerConnectionCreator] = {}

    def context_factory_for(self, service: str) -> IOpenSSLServerConnectionCreator:
        """See :class:`~mailserver.app.listeners.TLSContexts`."""
        fault = self._fault
        if not (fault and TLS_FAULTS[fault].has_context):
            return self.authority.options(self._hostname)
        if fault not in self._faulty:
            self._faulty[fault] = fault_options(fault, self.authority, self._hostname)
        return self._faulty[fault]
