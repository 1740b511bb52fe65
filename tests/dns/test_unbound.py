"""A real resolver: unbound with a plain zone, a signed zone, and a signed zone that somebody has changed."""

import socket
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import dns.dnssec
import dns.rdatatype
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm

from mailserver.config.keys.dns import DnsSection
from mailserver.config.schema.dns_kinds import DnsServer
from mailserver.dns.mail_hosts import MailHost, MailHostFinder
from mailserver.dns.records import MX, TLSA, RecordKind
from mailserver.dns.resolver import Resolver
from mailserver.errors import DNSFailure
from tests.support.e2e.programs import need
from tests.support.fakes import stand_in
from tests.support.real_reactor import RealReactor, real_reactor

PATIENCE = 60.0  # seconds
DAY = 86400  # seconds
SIGNED, CHANGED, PLAIN = ZONES = ("signed.test.", "changed.test.", "plain.test.")
DANE = "3 1 1 " + "ab" * 32
ZONE = f"""
@ 300 IN SOA ns admin 1 3600 600 86400 60
@ 300 IN NS ns
ns IN A 1.0.0.53
@ IN MX 10 mx
@ IN MX 20 alias
mx IN A 1.0.0.1
mx IN AAAA 2600::1
alias IN CNAME mx
loop IN CNAME pool
pool IN CNAME loop
null IN MX 0 .
many IN TXT {" ".join('"' + str(number) + "x" * 200 + '"' for number in range(20))}
_25._tcp.mx IN TLSA {DANE}
"""
CONFIGURATION = """
server:
    interface: 127.0.0.1@{port}
    interface: ::1@{port}
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: "{folder}/pid"
    use-syslog: no
    do-not-query-localhost: no
    module-config: "validator iterator"
    ede: yes
    local-zone: "test." nodefault
    trust-anchor: "{anchors[0]}"
    trust-anchor: "{anchors[1]}"
remote-control:
    control-enable: no
"""
AUTH_ZONE = """
auth-zone:
    name: "{name}"
    zonefile: "{folder}/{name}zone"
    for-downstream: no
    for-upstream: yes
    fallback-enabled: no
"""


def signed(name: str, folder: Path) -> str:
    """Write the zone, signed with a key of its own. Returns the trust anchor."""
    zone = dns.zone.from_text(ZONE, origin=name, relativize=False)
    key = ec.generate_private_key(ec.SECP256R1())
    dnskey = dns.dnssec.make_dnskey(key.public_key(), Algorithm.ECDSAP256SHA256, flags=257)
    dns.dnssec.sign_zone(zone, keys=[(key, dnskey)], lifetime=DAY, dnskey_ttl=300)
    zone.to_file(str(folder / f"{name}zone"), relativize=False)
    return f"{name} DNSKEY {dnskey.to_text()}"


def change_address(path: Path) -> None:
    text = path.read_text()
    assert "1.0.0.1" in text
    path.write_text(text.replace("1.0.0.1", "1.0.0.2"))


@pytest.fixture(scope="module")
def unbound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the resolver."""
    program = need("unbound")
    folder = tmp_path_factory.mktemp("unbound")
    anchors = [signed(name, folder) for name in (SIGNED, CHANGED)]
    change_address(folder / f"{CHANGED}zone")
    (folder / f"{PLAIN}zone").write_text(f"$ORIGIN {PLAIN}\n{ZONE}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = CONFIGURATION.format(port=port, folder=folder, anchors=anchors)
    text += "".join(AUTH_ZONE.format(name=name, folder=folder) for name in ZONES)
    (folder / "unbound.conf").write_text(text)
    log = (folder / "log").open("w+")
    process = subprocess.Popen([program, "-d", "-p", "-c", folder / "unbound.conf"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _is_up(port):
            log.seek(0)
            assert process.poll() is None and time.monotonic() < deadline, log.read()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()
        log.close()


def _is_up(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.fixture
def reactor() -> Iterator[RealReactor]:
    with real_reactor() as reactor:
        yield reactor


@pytest.fixture(params=["127.0.0.1", "::1"])
def resolver(request: Any, reactor: RealReactor, unbound: int) -> Resolver:
    section = DnsSection(servers=(DnsServer(ip_address(request.param), unbound),), trust_ad=True)
    return Resolver(section, stand_in(reactor))


ANSWERS: list[tuple[str, RecordKind, set[Any]]] = [
    ("", "MX", {MX(10, "mx.{}"), MX(20, "alias.{}")}),
    ("mx.", "A", {"1.0.0.1"}),
    ("mx.", "AAAA", {"2600::1"}),
    ("alias.", "A", {"1.0.0.1"}),
    ("_25._tcp.mx.", "TLSA", {TLSA(3, 1, 1, b"\xab" * 32)}),
    ("null.", "MX", {MX(0, ".")}),
    ("mx.", "MX", set()),
    ("many.", "TXT", {b"".join(b"%d%s" % (number, b"x" * 200) for number in range(20))}),
]


@pytest.mark.parametrize("zone", ["plain.test", "signed.test"])
def test_answers(reactor: RealReactor, resolver: Resolver, zone: str) -> None:
    for name, kind, records in ANSWERS:
        answer = reactor.wait(resolver.lookup(f"{name}{zone}", kind))
        expected = {MX(one.preference, one.host.format(zone)) if kind == "MX" else one for one in records}
        assert (set(answer.records), answer.exists) == (expected, True), (name, kind)
        assert answer.secure is (zone == "signed.test"), (name, kind)
    missing = reactor.wait(resolver.lookup(f"missing.{zone}", "A"))
    assert (missing.exists, missing.secure) == (False, zone == "signed.test")
    assert 0 < missing.ttl <= 60


def test_failures(reactor: RealReactor, resolver: Resolver) -> None:
    with pytest.raises(DNSFailure, match=r"answered SERVFAIL \(dnssec bogus\)$"):
        reactor.wait(resolver.lookup("mx.changed.test", "A"))
    with pytest.raises(DNSFailure):
        reactor.wait(resolver.lookup("loop.plain.test", "A"))


def test_the_hosts_of_a_signed_domain_are_secure(reactor: RealReactor, resolver: Resolver) -> None:
    finder = MailHostFinder(
        resolver=resolver, hostname="us.example", random=Random(1), is_own_address=set().__contains__
    )
    for zone, secure in (("signed.test", True), ("plain.test", False)):
        addresses = ("2600::1", "1.0.0.1")
        hosts = (
            MailHost(f"mx.{zone}", addresses, f"mx.{zone}", secure),
            MailHost(f"alias.{zone}", addresses, f"mx.{zone}", secure),
        )
        assert reactor.wait(finder.find(zone)) == hosts
