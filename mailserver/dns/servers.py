"""The DNS servers to ask: those of the section [dns], or those of /etc/resolv.conf (resolv.conf(5)).

The file is read again from time to time, because DHCP and VPN clients rewrite it. Without the file, or
without a server in it, the server is 127.0.0.1, as in the C library.
"""

import ipaddress
from collections.abc import Callable
from pathlib import Path

from mailserver.config.keys.dns import DnsSection
from mailserver.config.schema.dns_kinds import DnsServer

RESOLV_CONF = Path("/etc/resolv.conf")
LOCALHOST = DnsServer(ipaddress.IPv4Address("127.0.0.1"))
MAX_SERVERS = 3  # of the file, as in the C library
MAX_OCTETS = 64 * 1024  # of the file
REREAD_AFTER = 5.0  # seconds


class DnsServers:
    """The servers in force, and whether to trust their AD bit."""

    def __init__(
        self, section: DnsSection, seconds: Callable[[], float], resolv_conf: Path = RESOLV_CONF
    ) -> None:
        """``seconds`` is a clock that does not go backwards."""
        self._section = section
        self._seconds = seconds
        self._resolv_conf = resolv_conf
        self._text: bytes | None = None
        self._read_at: float | None = None
        self._servers = section.servers

    def current(self) -> tuple[DnsServer, ...]:
        """The servers, in the order in which to ask them."""
        if not self._section.servers:
            now = self._seconds()
            if self._read_at is None or now >= self._read_at + REREAD_AFTER:
                self._read_at = now
                self._read()
        return self._servers

    def trust_ad(self) -> bool:
        """Whether the AD bit of answers counts (RFC 4035 section 3.2.3)."""
        trust = self._section.trust_ad
        return all(server.address.is_loopback for server in self.current()) if trust is None else trust

    def demote(self, server: DnsServer) -> None:
        """Ask this server last from now on: it has not answered."""
        if server in self._servers:
            others = tuple(one for one in self._servers if one != server)
            self._servers = (*others, server)

    def _read(self) -> None:
        try:
            with self._resolv_conf.open("rb") as file:
                text = file.read(MAX_OCTETS)
        except OSError:
            text = b""
        if text != self._text:
            self._text = text
            self._servers = parse_resolv_conf(text.decode("ascii", "replace")) or (LOCALHOST,)


def parse_resolv_conf(text: str) -> tuple[DnsServer, ...]:
    """The servers of a file in the format of resolv.conf(5). Invalid addresses are ignored."""
    servers: dict[DnsServer, None] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            servers[DnsServer(ipaddress.ip_address(words[1]))] = None
        except ValueError:
            continue
    return tuple(servers)[:MAX_SERVERS]
