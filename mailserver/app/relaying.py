"""The delivery to other servers, from the configuration."""

from collections.abc import Callable
from typing import Any

from mailserver.app.tls_policy import TLSPolicies
from mailserver.config.keys.top_level import Config
from mailserver.config.schema.endpoints import interface
from mailserver.delivery.smtp.engine import SMTPDelivery
from mailserver.dns.interfaces import IResolver
from mailserver.net.dialling import Dialler
from mailserver.net.local_addresses import is_local


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
            interfaces.add(interface(listen.endpoint))
    everywhere = not interfaces.isdisjoint(("", "0.0.0.0", "::"))
    return lambda address: address in interfaces or (everywhere and is_local(address))
