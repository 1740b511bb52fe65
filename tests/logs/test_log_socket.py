"""Log messages on their way to the journal or a syslog server that may be slow, stuck, restarted or gone."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from mailserver.logs import log_socket
from mailserver.logs.journald import connect_datagram, send_to_journal
from mailserver.logs.log_socket import LogSocket
from mailserver.logs.syslog import connect_syslog, framed, send_to_syslog

LIMIT = 200_000
PATIENCE = 30.0  # seconds
BOTTOM = b"x" * 2000


class Reader:
    """A unix socket of the kind of the journal's, or of a stream, that reads when the test says so."""

    def __init__(self, path: Path, kind: int) -> None:
        self.path = path
        self.kind = kind
        self.open()

    def open(self) -> None:
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, self.kind)
        self.socket.bind(str(self.path))
        self.socket.settimeout(PATIENCE)
        self.peer: socket.socket | None = None
        if self.kind == socket.SOCK_STREAM:
            self.socket.listen()

    def close(self) -> None:
        if self.peer is not None:
            self.peer.close()
        self.socket.close()

    def read(self) -> bytes:
        """The next message."""
        if self.kind == socket.SOCK_DGRAM:
            return self.socket.recv(1 << 20)
        if self.peer is None:
            self.peer, _ = self.socket.accept()
            self.peer.settimeout(PATIENCE)
        length = b""
        while not length.endswith(b" "):
            length += self.exactly(1)
        return self.exactly(int(length))

    def exactly(self, count: int) -> bytes:
        assert self.peer is not None
        octets = b""
        while len(octets) < count:
            piece = self.peer.recv(count - len(octets))
            assert piece, "the connection has ended"
            octets += piece
        return octets


@pytest.fixture(params=[socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["datagrams", "stream"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path / "log", request.param)
    yield reader
    reader.close()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_socket, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(log_socket, "FINISH_SECONDS", 0.05)


def message(number: int) -> bytes:
    return b"%d %s" % (number, BOTTOM)


class Log:
    """The writing side."""

    def __init__(self, reader: Reader) -> None:
        self.stream = reader.kind == socket.SOCK_STREAM
        dropped = lambda count: self.form(b"dropped %d" % count)  # noqa: E731
        path = str(reader.path)
        self.socket = LogSocket(lambda: connect_syslog(path), send_to_syslog, dropped, LIMIT)

    def form(self, octets: bytes) -> bytes:
        return framed(octets) if self.stream else octets

    def write(self, octets: bytes) -> None:
        self.socket.write(self.form(octets))


def wait_until(condition) -> None:
    end = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < end
        threading.Event().wait(0.005)


def test_messages_are_sent_at_once(reader: Reader) -> None:
    log = Log(reader)
    for number in range(3):
        log.write(message(number))
    # No thread was needed, so these messages survive if the process is killed now.
    assert not log.socket._is_started
    assert [reader.read() for _ in range(3)] == [message(number) for number in range(3)]


def test_a_stuck_reader_costs_messages_and_no_time(reader: Reader) -> None:
    log = Log(reader)
    count = 0
    while not log.socket._dropped:
        log.write(message(count))
        count += 1
    for _ in range(9):
        log.write(message(count))  # dropped, too
    log.socket.finish()  # waits a moment, not for ever
    received = []
    while not (last := reader.read()).startswith(b"dropped"):
        received.append(last)
    assert received == [message(number) for number in range(len(received))]
    assert int(last.removeprefix(b"dropped ")) == count + 9 - len(received)
    wait_until(lambda: not log.socket._messages)
    log.write(b"after")
    assert reader.read() == b"after"


def test_a_restarted_reader_gets_what_came_meanwhile(reader: Reader) -> None:
    log = Log(reader)
    log.write(b"before")
    assert reader.read() == b"before"
    reader.close()
    reader.path.unlink()
    for number in range(20):
        log.write(message(number))
    reader.open()
    # A stream may have taken a message or two that nobody has read.
    first = int(reader.read().partition(b" ")[0])
    assert first == 0 if not log.stream else first <= 2
    for number in range(first + 1, 20):
        assert reader.read() == message(number)


def test_a_message_that_cannot_be_sent_holds_up_no_other(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "log", socket.SOCK_DGRAM)

    def send(to: socket.socket, octets: bytes) -> bytes:
        if octets == b"bad":
            raise OSError("never")
        return send_to_syslog(to, octets)

    log = LogSocket(lambda: connect_datagram(str(reader.path)), send, lambda count: b"dropped %d" % count)
    log.write(b"bad")
    log.write(b"good")
    assert {reader.read(), reader.read()} == {b"good", b"dropped 1"}
    reader.close()


def test_a_signal_handler_may_log_during_a_write(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "log", socket.SOCK_DGRAM)

    def send(to: socket.socket, octets: bytes) -> bytes:
        if octets == b"outer":
            log.write(b"inner")
        return send_to_syslog(to, octets)

    log = LogSocket(lambda: connect_datagram(str(reader.path)), send, lambda count: b"")
    log.write(b"outer")
    assert [reader.read(), reader.read()] == [b"outer", b"inner"]
    reader.close()


@pytest.mark.parametrize("connect", [connect_datagram, connect_syslog])
def test_nobody_listens_at_the_start(tmp_path: Path, connect) -> None:
    with pytest.raises(FileNotFoundError):
        LogSocket(lambda: connect(str(tmp_path / "log")), send_to_journal, lambda count: b"")


def test_large_messages_for_the_journal_are_sealed_files(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "log", socket.SOCK_DGRAM)
    log = LogSocket(lambda: connect_datagram(str(reader.path)), send_to_journal, lambda count: b"")
    large = b"MESSAGE=" + b"x" * (1 << 20) + b"\n"
    log.write(large)
    octets, (descriptor,), _, _ = socket.recv_fds(reader.socket, 10, 2)
    assert (octets, os.pread(descriptor, len(large) + 1, 0)) == (b"", large)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)
    reader.close()
