"""The DNS servers: whether each one answers, whom to trust, and whether blocklists answer through them."""

from collections.abc import Iterator, Sequence

from mailserver.app.doctor.findings import DoctorFinding, Examined
from mailserver.app.doctor.installation import Installation
from mailserver.config.keys.dns import DnsSection
from mailserver.config.schema.dns_kinds import DnsServer
from mailserver.dns.resolver import Resolver
from mailserver.dns.servers import DnsServers
from mailserver.errors import DNSFailure

PATIENCE = 6.0  # seconds for a server

# Resolvers that serve everybody: many blocklists refuse their queries.
PUBLIC_RESOLVERS = frozenset(
    [
        *("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"),
        *("1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"),
        *("9.9.9.9", "149.112.112.112", "2620:fe::fe", "208.67.222.222", "208.67.220.220"),
    ]
)
OWN_RESOLVER = 'install a resolver on this machine, such as unbound, and set dns.servers = ["127.0.0.1"]'


async def check_resolvers(it: Installation) -> Sequence[Examined]:
    """Those of [dns], or of /etc/resolv.conf."""
    servers = DnsServers(it.config.dns, it.reactor.seconds).current()
    results: list[Examined] = [*_trust(it, servers)]
    problems = {server: problem for server in servers if (problem := await _problem(it, server))}
    mend = "correct dns.servers" if it.config.dns.servers else "correct /etc/resolv.conf, or set dns.servers"
    if len(problems) == len(servers):
        text = f"no DNS server answers, so that no mail goes to other servers: {'; '.join(problems.values())}"
        return [*results, DoctorFinding("no-resolver", "dns.servers", text, mend)]
    for server, problem in problems.items():
        results.append(DoctorFinding("resolver-silent", f"DNS server {server}", problem, mend))
    return results


async def _problem(it: Installation, server: DnsServer) -> str | None:
    """Why a server is of no use; None if it answers."""
    resolver = Resolver(DnsSection(servers=(server,), trust_ad=False), it.reactor)

    def give_up(result: object, seconds: float) -> None:
        raise DNSFailure(f"no answer within {seconds:.3g} seconds")

    try:
        await resolver.lookup(it.config.hostname, "A").addTimeout(PATIENCE, it.reactor, give_up)
    except DNSFailure as error:
        return str(error)
    return None


def _trust(it: Installation, servers: Sequence[DnsServer]) -> Iterator[DoctorFinding]:
    far = [server for server in servers if not server.address.is_loopback]
    if it.config.dns.trust_ad and far:
        text = (
            f"the answers of {far[0]} count as validated, but anybody on the way to it can forge them: DANE "
            "is of no use then"
        )
        yield DoctorFinding("resolver-trusted", "dns.trust_ad", text, OWN_RESOLVER)
    public = [str(server.address) for server in servers if str(server.address) in PUBLIC_RESOLVERS]
    if public and it.config.dnsbl:
        text = f"blocklists refuse queries that come through {public[0]}"
        yield DoctorFinding("resolver-public", "dns.servers", text, OWN_RESOLVER)
