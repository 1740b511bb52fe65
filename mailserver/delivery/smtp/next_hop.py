"""The next hop of a destination: a route, the smarthost, or the MX hosts of the domain.

destination = [ "lmtp:" ] ( "unix:" path / host ":" port )
host        = domain / IPv4 / "[" IPv6 "]"
"""

from collections.abc import Mapping

import attrs

from mailserver.config.keys.relay import RelaySection
from mailserver.delivery.smtp.configured_tls import ConfiguredTLS
from mailserver.mail.relay_host import SMTP_PORT, SUBMISSIONS_PORT
from mailserver.mail.tls_requirement import TLSRequirement


@attrs.frozen(cache_hash=True)
class NextHop:
    """A place that takes mail. Equal ones share their connections.

    ``name`` is the domain whose MX hosts take the mail, or the host of a route, "" for a unix
    socket, which is ``path``. ``tls`` is the requirement of the configuration. ``implicit_tls``: TLS
    begins with the first octet. ``login``: the server logs in there. ``requires_tls``: it is for messages
    with REQUIRETLS, ``waives_tls``: for those with ``TLS-Required: No`` (RFC 8689).
    """

    name: str
    tls: TLSRequirement
    port: int = SMTP_PORT
    path: str = ""
    by_mx: bool = False
    lmtp: bool = False
    implicit_tls: bool = False
    login: bool = False
    requires_tls: bool = False
    waives_tls: bool = False


class Routes:
    """Finds the next hop of each domain."""

    def __init__(self, relay: RelaySection) -> None:
        self.tls = ConfiguredTLS(relay.tls, relay.tls_domains)
        self._routes: Mapping[str, NextHop] = {
            domain: _read(route, self.tls.requirement(domain)) for domain, route in relay.routes.items()
        }
        self._fetched = frozenset(relay.atrn).difference(relay.routes)
        self._smarthost: NextHop | None = None
        if relay.smarthost:
            smarthost = _read(relay.smarthost, self.tls.requirement(""))
            self._smarthost = attrs.evolve(smarthost, login=bool(relay.smarthost_user))

    def is_fetched(self, domain: str) -> bool:
        """Whether mail to ``domain`` waits until its server fetches it: there is no other way."""
        return domain in self._fetched

    def next_hop(self, domain: str) -> NextHop:
        """The next hop for mail to ``domain``, which is in lower case, or an address literal."""
        if (route := self._routes.get(domain)) is not None:
            return route
        tls = self.tls.requirement(domain)
        if self._smarthost is not None:
            return self._smarthost if tls == self._smarthost.tls else attrs.evolve(self._smarthost, tls=tls)
        return NextHop(domain, tls, by_mx=True)


def _read(text: str, tls: TLSRequirement) -> NextHop:
    """Read a destination of the configuration, which is valid."""
    lmtp = text.startswith("lmtp:")
    place = text.removeprefix("lmtp:")
    if place.startswith("unix:"):
        return NextHop("", tls, path=place.removeprefix("unix:"), lmtp=lmtp)
    host, _, port = place.removeprefix("smtps:").rpartition(":")
    implicit_tls = place.startswith("smtps:") or (int(port) == SUBMISSIONS_PORT and not lmtp)
    return NextHop(host.strip("[]").lower(), tls, int(port), lmtp=lmtp, implicit_tls=implicit_tls)
