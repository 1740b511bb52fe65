"""The stream transport under a connection, and a faster way to write to it and to close it.

A transport of Twisted buffers its output and sends it in the next iteration of the reactor, when the socket
is writable. This takes two system calls more for each reply. Nearly always the socket is writable at once.
"""

from typing import Any, Protocol

from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection


class IStreamTransport(Protocol):
    """The methods of a stream transport that connections use."""

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
    """Writes to the socket directly until it is full, and then through the transport until it has sent all.

    No other code may write to the transport.
    """

    __slots__ = ("_connection", "_direct", "_wire")

    def __init__(self, wire: IStreamTransport) -> None:
        self._wire = wire
        self._connection = wire if isinstance(wire, Connection) else None
        # None while octets wait in the buffer of the transport.
        self._direct = self._connection

    def write(self, data: bytes) -> None:
        """Send octets, now or later. The transport reports a lost connection."""
        direct = self._direct
        if direct is not None and direct.connected and not direct.TLS:
            try:
                sent = direct.socket.send(data)
            except OSError:  # the socket is full, or the transport will meet the same error
                sent = 0
            if sent == len(data):
                return
            # The buffer of the transport must be sent before later output.
            self._direct = None
            data = data[sent:]
        self._wire.write(data)

    def drained(self) -> None:
        """The transport has sent its buffer: it calls ``resumeProducing`` of its producer."""
        self._direct = self._connection

    def close(self) -> None:
        """Close the connection when all octets are sent. Nothing may be written afterwards.

        ``loseConnection`` waits until the socket is writable, which takes three system calls more. Here no
        octet waits if all were written directly.
        """
        direct = self._direct
        if direct is not None and direct.connected and not direct.TLS:
            direct.stopReading()
            # Not at once: the caller may be in the middle of its work. Does nothing if the connection is lost
            # before.
            reactor: Any = direct.reactor  # the type of Twisted leaves out its timers
            reactor.callLater(0, direct.connectionLost, connectionDone)
        else:
            self._wire.loseConnection()
