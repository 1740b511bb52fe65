"""The section [relay]."""

from collections.abc import Mapping

import attrs

from mailserver.config.schema.kinds import ListOf, MapOf
from mailserver.config.schema.mail_kinds import DESTINATION, DESTINATION_OR_NONE, DOMAIN, NETWORK, Network
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class RelaySection:
    """Mail that goes elsewhere. ``smarthost`` is empty for delivery by MX; ``routes`` has domains,
    normalised, as its keys."""

    networks: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Clients that may send anywhere without logging in.",
        default=["127.0.0.0/8", "::1"],
    )
    smarthost: str = key(
        DESTINATION_OR_NONE, 'Where all mail for elsewhere goes; "": to each domain by its MX.', default=""
    )
    routes: Mapping[str, str] = key(
        MapOf(DOMAIN, DESTINATION, f"a table from domains to destinations: {DESTINATION.allowed}"),
        'Domains with a way of their own, such as { "example.net" = "lmtp:unix:/run/lmtp.sock" }.',
        default={},
    )
