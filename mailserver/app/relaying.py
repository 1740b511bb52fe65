"""The delivery to other servers, from the configuration."""

import re
from typing import Any

from mailserver.app.tls_policy import TLSPolicies
from mailserver.config.keys.top_level import Config
from mailserver.delivery.smtp.engine import SMTPDelivery
from mailserver.dns.interfaces import IResolver
from mailserver.net.dialling import Dialler

# In a Twisted endpoint; a backslash stands before a colon of the address.
_INTERFACE = re.compile(r":interface=((?:\\.|[^:\\])+)")


def make_relaying(
    config: Config, reactor: Any, resolver: IResolver, tls_policies: TLSPolicies
) -> SMTPDelivery:
    """The delivery engine for recipients on other servers. ``reactor``: also an ``IReactorTCP``."""
    own = own_addresses(config)
    return SMTPDelivery(config, reactor, Dialler(reactor), resolver, tls_policies.policy, own_addresses=own)


def own_addresses(config: Config) -> set[str]:
    """The addresses at which other servers reach this one, as far as the endpoints name them."""
    return {
        found[1].replace("\\", "")
        for listen in config.listen
        if listen.protocol == "smtp" and (found := _INTERFACE.search(listen.endpoint))
    }
