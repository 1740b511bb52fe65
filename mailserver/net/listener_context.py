"""The context that all connections of one listener share: TLS, limits, proxies."""

import ipaddress
from collections.abc import Callable

import attrs
from OpenSSL import SSL

from mailserver.config.schema.mail_kinds import Network
from mailserver.net.limits import Limits
from mailserver.net.run_queue import RunQueue
from mailserver.net.tls import binding, description, peer_addresses
from mailserver.sasl.mechanisms import Channel


def _no_tls() -> object:
    raise RuntimeError("no TLS on this listener")


@attrs.frozen
class ListenerContext:
    """``limits`` and ``run_queue`` are those of all listeners. ``tls`` returns the context for ``startTLS``;
    call it for each connection, since certificates are renewed. ``implicit``: TLS begins with the first
    octet.
    """

    limits: Limits
    run_queue: RunQueue
    tls: Callable[[], object] = _no_tls
    implicit: bool = False
    proxies: tuple[Network, ...] = ()

    def is_proxy(self, ip: str) -> bool:
        """Whether the client at ``ip`` is a proxy that must send a PROXY header."""
        if not self.proxies or not ip:
            return False
        address = ipaddress.ip_address(ip.partition("%")[0])
        return any(address in network for network in self.proxies)


class TLSPeer:
    """The TLS of one connection, after its handshake."""

    __slots__ = ("_connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection

    @property
    def description(self) -> str:
        """Version and cipher."""
        return description(self._connection)

    def channel(self, hostname: str) -> Channel:
        """The description of the connection for SASL mechanisms."""
        return Channel(
            hostname,
            secure=True,
            binding=lambda kind: binding(self._connection, kind),
            certificate_names=lambda: peer_addresses(self._connection),
        )
