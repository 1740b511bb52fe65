"""The command ``dns``: the configuration of a domain, and the lookups, on a reactor of their own."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.interfaces import IReactorTime

from mailserver.app.alone import run_alone
from mailserver.app.signing import read_key
from mailserver.app.tls import tls_sources
from mailserver.commands.zone.lookups import host_addresses, look_up
from mailserver.commands.zone.published import RecordReport, WantedRecord
from mailserver.commands.zone.setup import ClientService, DomainSetup
from mailserver.commands.zone.wanted import WebFile, sts_policy_file, wanted_records
from mailserver.config.keys.top_level import Config
from mailserver.config.schema.endpoints import tcp_port
from mailserver.control.channel import CommandFailed
from mailserver.dns.interfaces import IResolver
from mailserver.dns.public import is_public
from mailserver.dns.resolver import Resolver
from mailserver.interfaces import IReactor
from mailserver.net.local_addresses import source_addresses
from mailserver.net.pairs import names_of

_SERVICES = {
    ("submission", "implicit"): "_submissions._tcp",
    ("submission", "starttls"): "_submission._tcp",
    ("pop3", "implicit"): "_pop3s._tcp",
    ("pop3", "starttls"): "_pop3._tcp",
}
"""The names of SRV records (RFC 6186 section 3, RFC 8314 section 5.1). Mail programs need TLS."""


@attrs.frozen
class DomainZone:
    """The set-up of a domain and its records, with their ``reports`` once they are looked up."""

    setup: DomainSetup
    wanted: tuple[WantedRecord, ...]
    sts_policy: WebFile
    warnings: tuple[str, ...] = ()
    reports: tuple[RecordReport, ...] = ()


class ZoneCheck:
    """One run of the command for a domain."""

    def __init__(self, path: Path, config: Config, domain: str, addresses: Sequence[str]) -> None:
        """``path`` is the file of the configuration. ``addresses`` are those of the server; none: the public
        ones of this machine.

        Raises :class:`CommandFailed`.
        """
        self._config = config
        if "." not in config.hostname or config.hostname.startswith("["):
            raise CommandFailed(
                f'the hostname in {path} is "{config.hostname}"; allowed: a name that DNS can have, such as '
                f'"mail.{domain}"'
            )
        self._warnings = []
        if domain not in config.domains:
            self._warnings.append(f"{domain} is not in domains of {path}: the server rejects its mail.")
        self._setup = DomainSetup(
            domain=domain,
            hostname=config.hostname,
            addresses=tuple(dict.fromkeys(addresses)) or _own_addresses(config),
            keys=_keys(config, domain),
            chain=self._chain(),
            services=tuple(_services(config)),
            smarthost=bool(config.relay.smarthost),
        )

    def zone(self) -> DomainZone:
        """The records, without a lookup."""
        return self._zone(self._setup)

    def check(self) -> DomainZone:
        """The records and their state in DNS. The process must not have run its reactor yet."""
        return run_alone(lambda reactor: self.look_up(Resolver(self._config.dns, reactor), reactor))

    def check_host(self) -> DomainZone:
        """The records, with a warning if DNS has no address of the server. As :meth:`check`."""
        return run_alone(self._look_up_host)

    async def _look_up_host(self, reactor: IReactor) -> DomainZone:
        hostname = self._setup.hostname
        found = await host_addresses(Resolver(self._config.dns, reactor), reactor, hostname)
        if not found:
            self._warnings.append(f"{hostname} has no address in DNS yet, or DNS does not answer.")
        return self._zone(attrs.evolve(self._setup, found=found))

    async def look_up(self, resolver: IResolver, clock: IReactorTime) -> DomainZone:
        """The records and their state in DNS."""
        setup = self._setup
        if not setup.addresses:
            setup = attrs.evolve(setup, found=await host_addresses(resolver, clock, setup.hostname))
        zone = self._zone(setup)
        return attrs.evolve(zone, reports=await look_up(resolver, clock, zone.wanted))

    def _zone(self, setup: DomainSetup) -> DomainZone:
        return DomainZone(
            setup, wanted_records(setup, time.time()), sts_policy_file(setup), tuple(self._warnings)
        )

    def _chain(self) -> tuple[bytes, ...]:
        """The certificates that senders get. A generated one has another key each time."""
        sources = tls_sources(self._config)
        if sources is None or (self._config.tls is not None and self._config.tls.generate):
            return ()
        chains = []
        for pair in sources.pairs:
            try:
                chains.append(x509.load_pem_x509_certificates(pair.certificate.read_bytes()))
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it has no certificate in PEM"
                self._warnings.append(
                    f"cannot read {pair.certificate}: {reason}. There is no TLSA record without it."
                )
                return ()
        wanted = self._config.hostname
        names = {wanted, f"*.{wanted.partition('.')[2]}"}
        chain = next((one for one in chains if names & set(names_of(one[0]))), chains[0])
        return tuple(one.public_bytes(Encoding.DER) for one in chain)


def _own_addresses(config: Config) -> tuple[str, ...]:
    configured = tuple(map(str, config.relay.source_address))
    return tuple(one for one in configured or source_addresses() if is_public(one))


def _keys(config: Config, domain: str) -> tuple[tuple[str, str, Any], ...]:
    """The keys that sign mail of a domain: its own, or those of the next domain above it that has some."""
    labels = domain.split(".")
    for above in (".".join(labels[at:]) for at in range(len(labels))):
        sections = [one for one in config.dkim if one.domain == above]
        try:
            keys = tuple((one.selector, above, read_key(one)) for one in sections)
        except ValueError as error:
            raise CommandFailed(str(error)) from None
        if keys:
            return keys
    return ()


def _services(config: Config) -> list[ClientService]:
    found: dict[str, ClientService] = {}
    for listen in config.listen:
        name, port = _SERVICES.get((listen.protocol, listen.tls)), tcp_port(listen.endpoint)
        if name and port:
            found.setdefault(name, ClientService(name, port))
    return list(found.values())
