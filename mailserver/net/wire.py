"""The stream transport under a connection: what is used of it, and a shorter way to write to it.

A transport of Twisted keeps what is written, asks the reactor to tell when the socket has room, and
sends in the next round: two system calls and a round of the reactor for each reply. Nearly always
there is room already.
"""

from typing import Any, Protocol

from twisted.internet.tcp import Connection


class IStreamTransport(Protocol):
    """The part of a stream transport that is used here."""

    bufferSize: int  # octets of one read

    def write(self, data: bytes) -> None: ...
    def setTcpNoDelay(self, enabled: bool) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def startTLS(self, options: object) -> object: ...
    def getHandle(self) -> Any: ...


class TransportWriter:
    """Sends at once as long as the socket takes all of it; from then on through the transport.

    Nobody else may write to the transport.
    """

    __slots__ = ("_direct", "_wire")

    def __init__(self, wire: IStreamTransport) -> None:
        self._wire = wire
        self._direct = wire if isinstance(wire, Connection) else None

    def write(self, data: bytes) -> None:
        """Send octets, now or later; if the connection is lost, the transport will tell."""
        direct = self._direct
        if direct is not None and direct.connected and not direct.TLS:
            sent = direct.writeSomeData(data)
            if sent == len(data):
                return
            # What the transport keeps must go before all that follows.
            self._direct = None
            if isinstance(sent, int):
                data = data[sent:]
        self._wire.write(data)
