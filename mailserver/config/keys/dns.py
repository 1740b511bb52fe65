"""The section [dns]: the resolvers that the server asks."""

import attrs

from mailserver.config.schema.dns_kinds import DNS_SERVER, DnsServer
from mailserver.config.schema.kinds import ListOf
from mailserver.config.schema.scalars import Boolean
from mailserver.config.schema.tables import key


@attrs.frozen(kw_only=True)
class DnsSection:
    """The resolvers. ``trust_ad`` is None if it depends on the servers of /etc/resolv.conf."""

    servers: tuple[DnsServer, ...] = key(
        ListOf(DNS_SERVER, may_be_empty=True),
        "Addresses of the resolvers, which are asked in this order. The port is 53 unless given.",
        default=[],
        note="those of /etc/resolv.conf",
        example=["192.0.2.53", "[2001:db8::53]:5353"],
    )
    trust_ad: bool | None = key(
        Boolean(),
        "Trust in the AD bit of answers, by which a resolver reports that it has validated them with DNSSEC "
        "(RFC 4035 section 3.2.3). The path to the resolvers must be safe. DANE needs it.",
        note="true if all servers are loopback addresses",
        example=False,
        compute=lambda dns: all(one.address.is_loopback for one in dns.servers) if dns.servers else None,
    )
