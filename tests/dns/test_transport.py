"""Queries over real sockets of loopback: which replies count, and which do not."""

import socket
import sys
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from mailserver.config.keys.dns import DnsSection
from mailserver.config.schema.dns_kinds import DnsServer
from mailserver.dns import resolver as resolver_module
from mailserver.dns.resolver import MAX_QUERIES, Resolver
from mailserver.errors import DNSFailure
from tests.support.dns_zone import LOOPBACK, DnsZone, Fault
from tests.support.fakes import stand_in
from tests.support.real_reactor import RealReactor, real_reactor

NAME = "mx.example.org"
RIGHT = "192.0.2.1"


@pytest.fixture
def reactor() -> Iterator[RealReactor]:
    with real_reactor() as reactor:
        yield reactor


@pytest.fixture
def zone() -> Iterator[DnsZone]:
    with DnsZone(f"{NAME} A {RIGHT}", f"{NAME} AAAA 2001:db8::1") as zone:
        yield zone


def ask(reactor: RealReactor, address: str, port: int) -> Any:
    """The records, or the reason of the failure."""
    section = DnsSection(servers=(DnsServer(ip_address(address), port),), trust_ad=True)
    try:
        return reactor.wait(Resolver(section, stand_in(reactor)).lookup(NAME, "A")).records
    except DNSFailure as error:
        return str(error).removeprefix(f"DNS lookup of {NAME} (A) failed: {section.servers[0]} ")


@pytest.mark.parametrize(
    ("fault", "expected", "ways"),
    [
        (None, (RIGHT,), ["udp"]),
        ("nxdomain", (), ["udp"]),
        ("servfail", "answered SERVFAIL", ["udp"]),
        ("truncated", (RIGHT,), ["udp", "tcp"]),
        ("truncated everywhere", "sent an invalid reply: it is truncated", ["udp", "tcp"]),
        ("truncated, then closed", "closed the connection", ["udp", "tcp"]),
        ("truncated, then silence", "did not reply within 0.2 seconds", ["udp", "tcp"]),
        ("truncated, then wrong id", "sent an invalid reply: it has another id", ["udp", "tcp"]),
        ("silence", "did not reply within 0.2 seconds", ["udp"]),
        ("wrong id", "did not reply within 0.2 seconds", ["udp"]),
        ("wrong source", "did not reply within 0.2 seconds", ["udp"]),
        ("forged", (RIGHT,), ["udp"]),
        ("many wrong ids", (RIGHT,), ["udp", "tcp"]),
        ("wrong question", (RIGHT,), ["udp", "tcp"]),
        ("wrong question everywhere", "sent an invalid reply: it answers another question", ["udp", "tcp"]),
        ("garbage", (RIGHT,), ["udp", "tcp"]),
        ("garbage everywhere", "sent an invalid reply: it is no reply to a query", ["udp", "tcp"]),
    ],
)
def test_which_replies_count(
    reactor: RealReactor, zone: DnsZone, fault: Fault | None, expected: Any, ways: list[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(resolver_module, "ROUNDS", (0.2,) if "within" in expected else (10.0,))
    if fault is not None:
        zone.faults[NAME] = fault
    assert ask(reactor, LOOPBACK, zone.port) == expected
    assert [way for _, _, way in zone.asked] == ways


def test_a_large_answer_comes_by_tcp(reactor: RealReactor, zone: DnsZone) -> None:
    addresses = {f"10.0.0.{number}" for number in range(150)}
    zone.remove(NAME, "A")
    zone.add(*(f"{NAME} A {address}" for address in addresses))
    assert set(ask(reactor, LOOPBACK, zone.port)) == addresses
    assert [way for _, _, way in zone.asked] == ["udp", "tcp"]


@pytest.mark.parametrize("address", [LOOPBACK, "::1"])
def test_a_server_that_is_not_there(reactor: RealReactor, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as taken:
        taken.bind((address, 0))
        port = taken.getsockname()[1]
    assert ask(reactor, address, port) == "refused the query"


def test_a_server_with_ipv6(reactor: RealReactor, zone: DnsZone) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::1", 0))

        def answer() -> None:
            wire, client = server.recvfrom(4096)
            server.sendto(zone.exchange(wire) or b"", client)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            assert ask(reactor, "::1", server.getsockname()[1]) == (RIGHT,)
        finally:
            thread.join()


def test_a_query_leaves_nothing(reactor: RealReactor, zone: DnsZone, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line in the log, and no socket, which ``real_reactor`` checks, whatever comes of it."""
    monkeypatch.setattr(resolver_module, "ROUNDS", (0.2,))
    logged: list[LogEvent] = []
    observer = stand_in(logged.append)
    globalLogPublisher.addObserver(observer)
    try:
        ask(reactor, LOOPBACK, zone.port)
        for fault in ("silence", "servfail"):
            zone.faults[NAME] = fault
            ask(reactor, LOOPBACK, zone.port)
        zone.faults[NAME] = "truncated"  # by TCP, too
        ask(reactor, LOOPBACK, zone.port)
    finally:
        globalLogPublisher.removeObserver(observer)
    assert [event.get("log_text") or event.get("log_format") for event in logged] == []


def test_an_address_that_the_system_refuses(reactor: RealReactor) -> None:
    assert ask(reactor, "255.255.255.255", 53) == "cannot be reached (Permission denied)"


def test_a_system_without_sockets(reactor: RealReactor, zone: DnsZone, monkeypatch: Any) -> None:
    def no_socket(*args: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(resolver_module, "ROUNDS", (0.2,))
    server = DnsServer(ip_address(LOOPBACK), zone.port)
    resolver = Resolver(DnsSection(servers=(server,), trust_ad=True), stand_in(reactor))
    zone.faults |= {f"n{number}.example": "silence" for number in range(MAX_QUERIES)}
    lookups = [resolver.lookup(f"n{number}.example", "A") for number in range(1500)]
    monkeypatch.setattr("mailserver.dns.transport.socket", no_socket)
    for number, lookup in enumerate(lookups):
        with pytest.raises(DNSFailure, match="did not reply" if number < MAX_QUERIES else "Too many open"):
            reactor.wait(lookup)
    assert ask(reactor, LOOPBACK, zone.port) == "cannot be reached (Too many open files)"


def test_queries_cannot_be_predicted(reactor: RealReactor, zone: DnsZone) -> None:
    """Ids and ports are not constant, and not in a row."""
    for _ in range(20):
        ask(reactor, LOOPBACK, zone.port)
    for values in ([query.id for query in zone.queries], zone.ports):
        steps = {later - earlier for earlier, later in pairwise(values)}
        assert len(set(values)) > 15 and len(steps) > 15


def test_the_flags_of_a_query(reactor: RealReactor, zone: DnsZone) -> None:
    for trust_ad in (True, False):
        section = DnsSection(servers=(DnsServer(ip_address(LOOPBACK), zone.port),), trust_ad=trust_ad)
        reactor.wait(Resolver(section, stand_in(reactor)).lookup(NAME, "A"))
    flags = [(query.edns, query.payload, query.flags, query.ednsflags) for query in zone.queries]
    assert flags == [(0, 1232, 0x0120, 0x8000), (0, 1232, 0x0100, 0)], "RD, AD; DO"


def test_many_lookups_at_once(reactor: RealReactor, zone: DnsZone) -> None:
    zone.add(*(f"n{number}.example A {RIGHT}" for number in range(500)))
    section = DnsSection(servers=(DnsServer(ip_address(LOOPBACK), zone.port),), trust_ad=True)
    resolver = Resolver(section, stand_in(reactor))
    lookups = [resolver.lookup(f"n{number}.example", "A") for number in range(500)]
    assert all(reactor.wait(lookup).records == (RIGHT,) for lookup in lookups)


def test_the_first_lookups_import_the_codec_in_a_thread(
    reactor: RealReactor, zone: DnsZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = sys.modules["mailserver.dns.codec"]
    monkeypatch.delitem(sys.modules, codec.__name__)
    imports: list[threading.Thread] = []

    def import_codec() -> Any:
        imports.append(threading.current_thread())
        sys.modules[codec.__name__] = codec
        return codec.DNSQuery

    monkeypatch.setattr(resolver_module, "_import_codec", import_codec)
    server = DnsServer(ip_address(LOOPBACK), zone.port)
    resolver = Resolver(DnsSection(servers=(server,), trust_ad=True), stand_in(reactor))
    pool = reactor.getThreadPool()
    pool.start()
    try:
        lookups = [resolver.lookup(NAME, kind) for kind in ("A", "AAAA")]
        assert [reactor.wait(lookup).records for lookup in lookups] == [(RIGHT,), ("2001:db8::1",)]
        assert reactor.wait(resolver.lookup(NAME, "MX")).records == ()
    finally:
        pool.stop()
    assert len(imports) == 1 and imports[0] is not threading.main_thread()
