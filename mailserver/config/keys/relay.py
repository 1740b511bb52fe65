"""The section [relay]: mail for other servers. It has no effect yet."""

from collections.abc import Mapping

import attrs

from mailserver.config.schema.kinds import ListOf, MapOf
from mailserver.config.schema.mail_kinds import DESTINATION, DESTINATION_OR_NONE, DOMAIN, NETWORK, Network
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class RelaySection:
    """``smarthost`` is empty for delivery by MX. The keys of ``routes`` are normalised domains."""

    networks: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Networks of clients that may relay without authentication. No effect yet: mail for other servers "
        "is rejected.",
        default=["127.0.0.0/8", "::1"],
    )
    smarthost: str = key(
        DESTINATION_OR_NONE,
        "Server that receives all mail for other servers. No effect yet.",
        default="",
        note="delivery by MX",
        example="smtp.example.net:587",
    )
    routes: Mapping[str, str] = key(
        MapOf(DOMAIN, DESTINATION, f"a table from domains to destinations: {DESTINATION.allowed}"),
        "Servers that receive the mail for single domains. No effect yet.",
        default={},
        example={"example.net": "lmtp:unix:/run/lmtp.sock"},
    )
