"""Connects to other servers: fast fallback over addresses, fallback from TLS, the session until it is ready.

A server whose TLS handshake fails gets the mail in the clear if TLS is only opportunistic (RFC 7435), and its
next connections do not try TLS for :data:`BROKEN_TLS_LIFETIME` seconds.
"""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, Final, Literal

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from mailserver.config.schema.mail_kinds import IPAddress
from mailserver.errors import HostUnusable, StorageError
from mailserver.events.base import report
from mailserver.events.relay import RelayConnected, RelayTLSFailed
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement
from mailserver.net.client_tls import ClientTLS
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.fast_fallback import connect_first
from mailserver.net.sending import SendingConnection
from mailserver.smtp.sender.settings import SenderSettings

CONNECT_TIMEOUT = 30.0  # seconds
BROKEN_TLS_LIFETIME = 3600.0  # seconds
DOWN_LIFETIME = 900.0  # seconds that a host is known to be down
MOST_HOSTS = 10_000  # of each kind that are remembered
MOST_ADDRESSES = 8  # of one host
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

HostKey = tuple[str, int]

_START_TLS: Final[Mapping[TLSLevel, Literal["never", "offered", "required"]]] = {
    TLSLevel.NONE: "never",
    TLSLevel.OPPORTUNISTIC: "offered",
    TLSLevel.REQUIRED: "required",
    TLSLevel.VERIFIED: "required",
}


class Dialler:
    """Makes connections that are ready to send mail. For the reactor's thread."""

    def __init__(self, reactor: Any, tls: ClientTLS | None = None) -> None:
        """``reactor``: also an ``IReactorTCP`` and an ``IReactorUNIX``."""
        self._reactor = reactor
        self._tls = tls or ClientTLS()
        seconds = reactor.seconds
        self._broken_tls: ExpiringTable[HostKey, None] = ExpiringTable(
            MOST_HOSTS, BROKEN_TLS_LIFETIME, seconds
        )
        self._down: ExpiringTable[HostKey, None] = ExpiringTable(MOST_HOSTS, DOWN_LIFETIME, seconds)

    def is_down(self, host: RelayHost) -> bool:
        """Whether ``host`` was marked as down, or could not be connected to, in the last time."""
        return self._down.has(_key(host))

    def mark_down(self, host: RelayHost) -> None:
        """Remember for :data:`DOWN_LIFETIME` seconds that sessions with ``host`` end too early."""
        self._down.put(_key(host), None)

    def dial(
        self,
        host: RelayHost,
        settings: SenderSettings,
        requirement: TLSRequirement,
        source: Sequence[IPAddress] = (),
    ) -> Deferred[SendingConnection]:
        """Connect to ``host`` and get its session ready. ``source`` are local addresses, one of a family.

        ``requirement`` decides about ``settings.start_tls``. Fails with
        :class:`~mailserver.errors.HostUnusable`, and with :class:`~mailserver.errors.StorageError` if this
        server cannot connect to anybody. May be cancelled.
        """
        dialling = Deferred.fromCoroutine(self._dial(host, settings, requirement, source))
        return dialling.addErrback(self._failed, host)

    def _failed(self, reason: Failure, host: RelayHost) -> Failure:
        if reason.check(HostUnusable):
            self.mark_down(host)
        return reason

    async def _dial(
        self,
        host: RelayHost,
        settings: SenderSettings,
        requirement: TLSRequirement,
        source: Sequence[IPAddress],
    ) -> SendingConnection:
        key, rule = _key(host), requirement.rule
        in_the_clear = TLSRequirement(TLSLevel.NONE, rule)
        if host.path:
            requirement = in_the_clear
        may_fall_back = requirement.level is TLSLevel.OPPORTUNISTIC and not host.implicit_tls
        if may_fall_back and self._broken_tls.has(key):
            requirement = in_the_clear
        try:
            return await self._connect(host, settings, requirement, source)
        except HostUnusable as error:
            if not error.tls_failed:
                raise
            report(RelayTLSFailed(host=error.host, reason=str(error), rule=rule))
            if not may_fall_back:
                raise
            problem = error.tls_problem
        self._broken_tls.put(key, None)
        connection = await self._connect(host, settings, in_the_clear, source)
        connection.tls_problem = problem
        return connection

    async def _connect(
        self,
        host: RelayHost,
        settings: SenderSettings,
        requirement: TLSRequirement,
        source: Sequence[IPAddress],
    ) -> SendingConnection:
        settings = attrs.evolve(settings, start_tls=_START_TLS[requirement.level])
        factory = _SendingFactory(
            lambda address: SendingConnection(self._reactor, host, address, settings, requirement, self._tls)
        )
        endpoints = self._endpoints(host, source)
        try:
            protocol: Any = await connect_first(self._reactor, endpoints, factory)
        except ConnectError as error:
            if error.osError in _OURS:
                raise StorageError(f"cannot connect: {_why(error)}") from error
            label = host.label(host.addresses[0] if len(endpoints) == 1 and host.addresses else "")
            raise HostUnusable(f"{label}: {_why(error)}", label) from error
        connection: SendingConnection = await protocol.ready
        report(RelayConnected(host=connection.label, tls=connection.tls or "no TLS"))
        return connection

    def _endpoints(self, host: RelayHost, source: Sequence[IPAddress]) -> list[IStreamClientEndpoint]:
        if host.path:
            return [UNIXClientEndpoint(self._reactor, host.path, CONNECT_TIMEOUT)]
        return [
            self._endpoint(address, host.port, source)
            for address in _alternating(host.addresses[:MOST_ADDRESSES])
        ]

    def _endpoint(self, address: str, port: int, source: Sequence[IPAddress]) -> IStreamClientEndpoint:
        version = 6 if ":" in address else 4
        local = next(((str(one), 0) for one in source if one.version == version), None)
        kind = TCP6ClientEndpoint if version == 6 else TCP4ClientEndpoint
        return kind(self._reactor, address, port, CONNECT_TIMEOUT, local)


def _key(host: RelayHost) -> HostKey:
    return host.path or host.name, host.port


class _SendingFactory(Factory):
    """Makes the connection with the address that has answered."""

    noisy = False

    def __init__(self, make: Callable[[IAddress | None], SendingConnection]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> SendingConnection:
        return self._make(addr)


def _alternating(addresses: Sequence[str]) -> list[str]:
    """The addresses with the families in turn, the family of the first one first (RFC 8305 section 4)."""
    same = [one for one in addresses if (":" in one) == (":" in addresses[0])]
    others = [one for one in addresses if one not in same]
    return [one for one in chain.from_iterable(zip_longest(same, others)) if one is not None]


def _why(error: ConnectError) -> str:
    if isinstance(error, ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT:.0f} seconds"
    return os.strerror(error.osError).lower() if isinstance(error.osError, int) else str(error)
