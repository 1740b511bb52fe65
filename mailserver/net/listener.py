"""A listener as a service: it binds before privileges are dropped, and shuts down gracefully."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.python.failure import Failure

from mailserver.errors import CannotStart
from mailserver.interfaces import IReactor
from mailserver.net.accepting import spare_descriptors
from mailserver.net.unix_sockets import SocketFile, remove_stale


class ListeningFactory(Protocol):
    """The factory of a listener, which closes its connections when the server stops."""

    reactor: IReactor
    stopping: bool

    def stop(self, grace: float) -> "Deferred[None]":
        """Close all connections, busy ones after at most ``grace`` seconds. Fires when all are closed."""


class Listener(Service):
    """Listens on one endpoint while it runs.

    ``protocol`` and ``tls`` are for the ready file; ``name`` is the endpoint in error messages. ``grace`` is
    the time in seconds that busy sessions have at the stop. ``remove`` removes a file, or raises
    ``OSError``.
    """

    def __init__(
        self,
        protocol: str,
        tls: str,
        name: str,
        endpoint: IStreamServerEndpoint,
        factory: ListeningFactory,
        grace: float,
        remove: Callable[[Path], object],
    ) -> None:
        self.protocol = protocol
        self.tls = tls
        self.grace = grace
        self._name = name
        self._endpoint = endpoint
        self._factory: Any = factory  # also an IProtocolFactory
        self._remove = remove
        self._port: IListeningPort | None = None
        self._file: SocketFile | None = None

    def privilegedStartService(self) -> None:
        """Bind. Raises :class:`~mailserver.errors.CannotStart`."""
        Service.privilegedStartService(self)
        self._listen()

    def startService(self) -> None:
        Service.startService(self)
        if self._port is None:
            self._listen()

    def _listen(self) -> None:
        self._factory.stopping = False
        error = self._error_of_listening()
        if isinstance(self._endpoint, UNIXServerEndpoint) and isinstance(error, CannotListenError):
            path = Path(os.fsdecode(error.port))
            try:
                if remove_stale(path, self._remove):
                    error = self._error_of_listening()
            except OSError as failed:
                error = failed
        if error is not None:
            error = getattr(error, "socketError", error)
            raise CannotStart(f"{self._name}: {getattr(error, 'strerror', None) or error}")

    def _error_of_listening(self) -> BaseException | None:
        failures: list[Failure] = []
        self._endpoint.listen(self._factory).addCallbacks(self._bound, failures.append)
        return failures[0].value if failures else None

    def _bound(self, port: Any) -> None:
        self._port = port
        if isinstance(self._endpoint, UNIXServerEndpoint):
            self._file = SocketFile(port, Path(os.fsdecode(port.getHost().name)), self._remove)
        spare_descriptors(port, self._factory.reactor)

    @property
    def port(self) -> IListeningPort | None:
        """The port while it is bound."""
        return self._port

    def where(self) -> dict[str, object]:
        """The entry of the ready file: host and port, or the path of a unix socket."""
        if self._port is None:
            raise CannotStart(f"{self._name}: the endpoint does not listen at once")
        address: Any = self._port.getHost()
        entry: dict[str, object] = {"protocol": self.protocol, "tls": self.tls}
        if hasattr(address, "port"):
            return {**entry, "host": address.host, "port": address.port}
        return {**entry, "path": os.fsdecode(getattr(address, "name", b""))}

    async def _stop(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            if self._file is not None:
                self._file.remove()
                self._file = None
            await maybeDeferred(port.stopListening)
        await self._factory.stop(self.grace)

    def stopService(self) -> Deferred[None]:
        """Stop listening, then close the connections. Fires when the last one is closed."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())
