"""Which servers are asked: /etc/resolv.conf and its changes."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from mailserver.config.keys.dns import DnsSection
from mailserver.config.schema.dns_kinds import DnsServer
from mailserver.dns.servers import REREAD_AFTER, DnsServers, parse_resolv_conf

FROM_THE_FILE = DnsSection(servers=(), trust_ad=None)


def texts(servers: tuple[DnsServer, ...]) -> str:
    return " ".join(map(str, servers))


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 192.0.2.53\n", "192.0.2.53"),
        ("# nameserver 192.0.2.1\n;nameserver 192.0.2.2\nnameserver\t192.0.2.3  # here\n", "192.0.2.3"),
        ("search example.org\noptions edns0 trust-ad\nnameserver 127.0.0.53", "127.0.0.53"),
        ("nameserver ::1\nnameserver fe80::1%eth0\nnameserver 192.0.2.1\n", "::1 fe80::1%eth0 192.0.2.1"),
        ("nameserver 1.1.1.1\n" * 3 + "nameserver 1.1.1.2\n", "1.1.1.1 1.1.1.2"),
        ("".join(f"nameserver 1.1.1.{number}\n" for number in range(9)), "1.1.1.0 1.1.1.1 1.1.1.2"),
        ("nameserver resolver.example\nnameserver 1.2.3\nnameserver\nnameservers 1.1.1.1\n", ""),
        ("\0\ufffd\x85nameserver 1.1.1.1", "1.1.1.1"),
        ("", ""),
    ],
)
def test_resolv_conf(text: str, servers: str) -> None:
    assert texts(parse_resolv_conf(text)) == servers


def test_the_file_is_read_again(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "resolv.conf"
    servers = DnsServers(FROM_THE_FILE, clock.seconds, file)
    assert (texts(servers.current()), servers.trust_ad()) == ("127.0.0.1", True)
    file.write_text("nameserver 192.0.2.1\nnameserver 192.0.2.2\n")
    assert texts(servers.current()) == "127.0.0.1", "not at each question"
    clock.advance(REREAD_AFTER)
    assert (texts(servers.current()), servers.trust_ad()) == ("192.0.2.1 192.0.2.2", False)
    servers.demote(servers.current()[0])
    clock.advance(REREAD_AFTER)
    assert texts(servers.current()) == "192.0.2.2 192.0.2.1", "the same file changes nothing"
    file.write_bytes(b"\xff" * 100_000)
    clock.advance(REREAD_AFTER)
    assert texts(servers.current()) == "127.0.0.1"
    servers.demote(DnsServer(ip_address("192.0.2.9")))
    assert texts(servers.current()) == "127.0.0.1"
    file.unlink()
    file.mkdir()
    clock.advance(REREAD_AFTER)
    assert texts(servers.current()) == "127.0.0.1"


def test_servers_of_the_configuration_need_no_file() -> None:
    listed = tuple(DnsServer(ip_address(one), port) for one, port in (("192.0.2.1", 53), ("::1", 5353)))
    servers = DnsServers(DnsSection(servers=listed, trust_ad=True), Clock().seconds, Path("/nonexistent"))
    assert (texts(servers.current()), servers.trust_ad()) == ("192.0.2.1 [::1]:5353", True)
