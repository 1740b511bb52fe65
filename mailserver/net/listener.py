"""A port as a service: bound before privileges are dropped, ended with grace."""

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.python.failure import Failure

from mailserver.errors import CannotStart
from mailserver.net.accepting import spare_descriptors
from mailserver.net.factory import ConnectionFactory


class Listener(Service):
    """Listens on one endpoint while it runs.

    ``protocol`` and ``tls`` are what the ready file tells about it, ``name`` what an error calls the
    endpoint; ``grace`` is how many seconds busy sessions may go on when it stops.
    """

    def __init__(
        self,
        protocol: str,
        tls: str,
        name: str,
        endpoint: IStreamServerEndpoint,
        factory: ConnectionFactory,
        grace: float,
    ) -> None:
        self.protocol = protocol
        self.tls = tls
        self.grace = grace
        self._name = name
        self._endpoint = endpoint
        self._factory = factory
        self._port: IListeningPort | None = None

    def privilegedStartService(self) -> None:
        """Bind. Raises :class:`~mailserver.errors.CannotStart`."""
        Service.privilegedStartService(self)
        self._listen()

    def startService(self) -> None:
        Service.startService(self)
        if self._port is None:
            self._listen()

    def _listen(self) -> None:
        failures: list[Failure] = []
        self._factory.stopping = False
        self._endpoint.listen(self._factory).addCallbacks(self._bound, failures.append)
        if failures:
            error = getattr(failures[0].value, "socketError", failures[0].value)
            reason = getattr(error, "strerror", None) or error
            raise CannotStart(f"{self._name}: {reason}")

    def _bound(self, port: IListeningPort) -> None:
        self._port = port
        spare_descriptors(port, self._factory.reactor)

    def where(self) -> dict[str, object]:
        """The entry of the ready file: host and port, or the path of a unix socket."""
        if self._port is None:
            raise CannotStart(f"{self._name}: it is not bound yet, and was to be at once")
        address: Any = self._port.getHost()
        entry: dict[str, object] = {"protocol": self.protocol, "tls": self.tls}
        if hasattr(address, "port"):
            return {**entry, "host": address.host, "port": address.port}
        return {**entry, "path": getattr(address, "name", b"").decode()}

    async def _stop(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            await maybeDeferred(port.stopListening)
        await self._factory.stop(self.grace)

    def stopService(self) -> Deferred[None]:
        """Stop listening, then let the sessions go; fires when the last is gone."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())
