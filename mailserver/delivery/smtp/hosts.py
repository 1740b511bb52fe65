"""The hosts of a next hop, in the order to try them."""

import ipaddress
from collections.abc import Sequence

from mailserver.delivery.smtp.next_hop import NextHop
from mailserver.dns.interfaces import IResolver
from mailserver.dns.mail_hosts import DIRECTORY_FAILURE, NO_ROUTE, MailHost, MailHostFinder
from mailserver.errors import DNSFailure
from mailserver.mail import outcome
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement

LOOPBACK = ("127.0.0.1", "::1")


class NoHost(Exception):
    """No host of the next hop takes mail; ``outcome`` is that of all recipients."""

    def __init__(self, outcome: outcome.Deferred | outcome.Failed) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


async def find_hosts(hop: NextHop, finder: MailHostFinder) -> Sequence[RelayHost]:
    """The hosts of ``hop``, at least one. Raises :class:`NoHost`."""
    if hop.by_mx:
        found = await finder.find(hop.name)
        if not isinstance(found, tuple):
            raise NoHost(found)
        return [RelayHost(_name(one), one.addresses, hop.port, secure=one.secure) for one in found]
    return [await configured_host(hop, finder.resolver)]


async def configured_host(hop: NextHop, resolver: IResolver) -> RelayHost:
    """The host of a ``hop`` that the configuration names. Raises :class:`NoHost`."""
    if hop.path:
        return RelayHost("localhost", path=hop.path)
    addresses = await _addresses(hop.name, resolver)
    return RelayHost(hop.name, addresses, hop.port, implicit_tls=hop.implicit_tls)


def configured_tls(hop: NextHop, host: RelayHost) -> TLSRequirement:
    """The TLS for a ``host`` that the configuration names. A password goes only to the right host."""
    if hop.login and not host.is_local:
        return TLSRequirement(TLSLevel.VERIFIED, "relay.smarthost_user")
    return hop.tls


def _name(host: MailHost) -> str:
    return host.addresses[0] if host.name.startswith("[") else host.name


async def _addresses(name: str, resolver: IResolver) -> tuple[str, ...]:
    """The addresses of the host of a route. They may be private: an administrator has named the host."""
    try:
        return (str(ipaddress.ip_address(name)),)
    except ValueError:
        if name == "localhost":  # RFC 6761 section 6.3: not a name of DNS
            return LOOPBACK
    found: list[str] = []
    failure: DNSFailure | None = None
    for lookup in [resolver.lookup(name, kind) for kind in ("AAAA", "A")]:
        try:
            found += (await lookup).records
        except DNSFailure as error:
            failure = error
    if found:
        return tuple(found)
    if failure is not None:
        raise NoHost(outcome.Deferred(DIRECTORY_FAILURE, str(failure), unreachable=True))
    text = f"the host {name}, which the configuration names, has no address"
    raise NoHost(outcome.Deferred(NO_ROUTE, text, rule="relay", unreachable=True))
