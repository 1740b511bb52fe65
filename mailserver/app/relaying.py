"""The delivery to other servers, from the configuration."""

import re
from collections.abc import Callable
from typing import Any

from mailserver.app.tls_policy import TLSPolicies
from mailserver.config.keys.top_level import Config
from mailserver.delivery.smtp.engine import SMTPDelivery
from mailserver.dns.interfaces import IResolver
from mailserver.net.dialling import Dialler
from mailserver.net.local_addresses import is_local

# In a Twisted endpoint; a backslash stands before a colon of the address.
_INTERFACE = re.compile(r":interface=((?:\\.|[^:\\])+)")


def make_relaying(
    config: Config, reactor: Any, resolver: IResolver, tls_policies: TLSPolicies
) -> SMTPDelivery:
    """The delivery engine for recipients on other servers. ``reactor``: also an ``IReactorTCP``."""
    own = own_addresses(config)
    return SMTPDelivery(config, reactor, Dialler(reactor), resolver, tls_policies.policy, is_own_address=own)


def own_addresses(config: Config) -> Callable[[str], bool]:
    """Whether other servers reach this one at an IP address, as far as the endpoints tell."""
    interfaces = set()
    for listen in config.listen:
        if listen.protocol == "smtp" and not listen.endpoint.startswith("unix:"):
            found = _INTERFACE.search(listen.endpoint)
            interfaces.add(found[1].replace("\\", "") if found else "")
    everywhere = not interfaces.isdisjoint(("", "0.0.0.0", "::"))
    return lambda address: address in interfaces or (everywhere and is_local(address))
