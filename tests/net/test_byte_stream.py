"""Streams to other programs: time limits, full buffers, and connections that are lost or never made."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mailserver.net.byte_stream import MAX_UNREAD, ByteStream, connect_stream
from tests.support.real_reactor import RealReactor, real_reactor

SECONDS = 60.0
SHORT = 0.05


@pytest.fixture
def reactor() -> Iterator[RealReactor]:
    with real_reactor() as made:
        yield made


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(SECONDS)
        made.bind(str(tmp_path / "socket"))
        made.listen()
        yield made


def connected(
    reactor: RealReactor, listening: socket.socket, seconds: float = SECONDS
) -> tuple[ByteStream, socket.socket]:
    stream = reactor.wait(connect_stream(reactor, f"unix:{listening.getsockname()}", seconds))
    peer, _ = listening.accept()
    peer.settimeout(SECONDS)
    return stream, peer


def received(reactor: RealReactor, peer: socket.socket, octets: int) -> bytes:
    """What the peer gets, up to so many octets; fewer at the end of the connection."""
    peer.setblocking(False)
    found = b""
    while len(found) < octets:
        reactor.runUntilCurrent()
        reactor.doIteration(0.01)
        with suppress(BlockingIOError):
            data = peer.recv(octets)
            if not data:
                break
            found += data
    return found


def ended(reactor: RealReactor, stream: ByteStream) -> None:
    """Wait for the end of the connection."""
    while stream.transport is not None and getattr(stream.transport, "connected", False):
        reactor.runUntilCurrent()
        reactor.doIteration(0.01)


def test_octets_both_ways(reactor: RealReactor, listening: socket.socket) -> None:
    stream, peer = connected(reactor, listening)
    with peer:
        assert stream.write(b"question") is None
        assert received(reactor, peer, 8) == b"question"
        peer.sendall(b"answer")
        assert reactor.wait(stream.read()) == b"answer"
        assert stream.is_open
        stream.write(b"last")
        stream.close()
        stream.close()
        assert received(reactor, peer, 100) == b"last"


def test_no_answer_in_time(reactor: RealReactor, listening: socket.socket) -> None:
    stream, peer = connected(reactor, listening, SHORT)
    with peer:
        with pytest.raises(TimeoutError, match=r"no answer within 0.05 seconds"):
            reactor.wait(stream.read())
        peer.sendall(b"late")
        assert reactor.wait(stream.read()) == b"late"
        stream.close()
        ended(reactor, stream)


def test_a_connection_that_is_lost(reactor: RealReactor, listening: socket.socket) -> None:
    stream, peer = connected(reactor, listening)
    peer.sendall(b"last")
    reading = stream.read()
    assert reactor.wait(reading) == b"last"
    reading = stream.read()
    peer.close()
    with pytest.raises(ConnectionError, match="the connection was closed"):
        reactor.wait(reading)
    assert not stream.is_open
    with pytest.raises(ConnectionError):
        reactor.wait(stream.read())
    with pytest.raises(ConnectionError):
        stream.write(b"more")
    stream.close()


def test_octets_before_the_end_are_read(reactor: RealReactor, listening: socket.socket) -> None:
    stream, peer = connected(reactor, listening)
    peer.sendall(b"last")
    peer.close()
    ended(reactor, stream)
    assert reactor.wait(stream.read()) == b"last"
    with pytest.raises(ConnectionError):
        reactor.wait(stream.read())


def test_a_peer_that_does_not_read(reactor: RealReactor, listening: socket.socket) -> None:
    stream, peer = connected(reactor, listening, SHORT)
    with peer:
        with pytest.raises(TimeoutError, match="does not take data"):
            while True:
                waiting = stream.write(b"x" * 65536)
                if waiting is not None:
                    reactor.wait(waiting)
        # What is left is not waited for without an end.
        stream.close()
        ended(reactor, stream)


def test_a_peer_that_reads_later(reactor: RealReactor, listening: socket.socket) -> None:
    stream, peer = connected(reactor, listening)
    with peer:
        sent, waiting = 0, None
        while waiting is None:
            waiting = stream.write(b"x" * 65536)
            sent += 65536
        fired: list[Any] = []
        waiting.addCallback(fired.append)
        assert received(reactor, peer, sent) == b"x" * sent
        assert fired
        stream.close()
        ended(reactor, stream)


def test_a_peer_that_sends_too_much(reactor: RealReactor, listening: socket.socket) -> None:
    stream, peer = connected(reactor, listening)
    with peer:
        peer.setblocking(False)
        total = 0
        for _ in range(200):
            with suppress(BlockingIOError):
                total += peer.send(b"x" * 65536)
            reactor.runUntilCurrent()
            reactor.doIteration(0)
        kept = len(reactor.wait(stream.read()))
        assert MAX_UNREAD < kept <= MAX_UNREAD + 65536 < total
        while kept < total:
            kept += len(reactor.wait(stream.read()))
        assert kept == total
        stream.close()
        ended(reactor, stream)


@pytest.mark.parametrize(("family", "form"), [("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}")])
def test_addresses(reactor: RealReactor, family: str, form: str) -> None:
    kind = socket.AF_INET6 if ":" in family else socket.AF_INET
    with socket.create_server((family, 0), family=kind) as listening:
        stream = reactor.wait(connect_stream(reactor, form.format(listening.getsockname()[1]), SECONDS))
        assert stream.is_open
        stream.close()
        ended(reactor, stream)


def test_nobody_listens(reactor: RealReactor, tmp_path: Path, listening: socket.socket) -> None:
    listening.close()
    for name, reason in (("socket", "connection refused"), ("nothing", "no such file or directory")):
        path = f"unix:{tmp_path / name}"
        with pytest.raises(ConnectionError, match=f"no connection to {path}: {reason}"):
            reactor.wait(connect_stream(reactor, path, SECONDS))
