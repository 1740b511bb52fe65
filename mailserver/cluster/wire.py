"""Frames on the socket between the supervisor and a worker."""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from mailserver.cluster.frames import LENGTH, MAX_FRAME, Frame


class FrameProtocol(Int32StringReceiver):
    """One end of the socket. ``received`` takes each frame; ``lost`` is called at the end."""

    MAX_LENGTH = MAX_FRAME

    def __init__(self, received: Callable[[Frame], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost

    def send(self, frame: Frame) -> None:
        """Send a frame."""
        assert self.transport is not None
        self.transport.write(frame.encoded())

    def stringReceived(self, string: bytes) -> None:
        """Take the octets of a frame."""
        self._received(Frame.decoded(string))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The other process has ended, or has closed its end."""
        self._lost()


def adopt(reactor: Any, end: socket.socket, protocol: Protocol) -> None:
    """Give one end of a socket to the reactor, with its protocol."""
    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: protocol))
    end.close()  # the reactor has a copy


def send_now(end: socket.socket, frame: Frame) -> None:
    """Send a frame before the reactor runs. Blocks; raises ``OSError``."""
    end.sendall(frame.encoded())


def receive_now(end: socket.socket) -> Frame | None:
    """The next frame before the reactor runs; None at the end. Blocks; raises ``OSError``."""
    head = _exactly(end, LENGTH.size)
    if head is None:
        return None
    data = _exactly(end, LENGTH.unpack(head)[0])
    return None if data is None else Frame.decoded(data)


def _exactly(end: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        piece = end.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)
