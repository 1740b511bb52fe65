"""The log's lines on their way to a reader that may be slow, stuck or gone."""

import errno
import os
import pty
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailserver.logs import queue as logqueue
from mailserver.logs.queue import LineQueue

LIMIT = 20_000


def of_pipe() -> tuple[int, int]:
    return os.pipe()


def of_socket() -> tuple[int, int]:
    """As the journal's is."""
    reader, writer = socket.socketpair()
    return reader.detach(), writer.detach()


def of_terminal() -> tuple[int, int]:
    reader, writer = pty.openpty()
    os.system(f"stty -F {os.ttyname(writer)} raw")
    return reader, writer


def of_nonblocking_pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    return reader, writer


KINDS = [of_pipe, of_socket, of_terminal, of_nonblocking_pipe]


@pytest.fixture(params=KINDS, ids=lambda one: one.__name__)
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Descriptors to read from and to write to."""
    reader, writer = request.param()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError as error:
            assert error.errno == errno.EBADF


@pytest.fixture(autouse=True)
def _short_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that fails is no reason to wait."""
    monkeypatch.setattr(logqueue, "FINISH_SECONDS", 0.5)


def dropped(count: int) -> bytes:
    return b"dropped %d\n" % count


def line(number: int) -> bytes:
    return b"%07d %s\n" % (number, b"x" * (number % 200))


def read_until(reader: int, end: bytes) -> list[bytes]:
    """All lines up to one that ends so."""
    found = b""
    while not found.endswith(end):
        found += os.read(reader, 1 << 16)
    return found.splitlines(keepends=True)


def check(lines: list[bytes], first: int = 0) -> tuple[int, int]:
    """Every line is whole and in its place, or counted where it is missing.

    Returns the number of the next line, and how many are missing.
    """
    missing = 0
    for one in lines:
        if gap := re.fullmatch(rb"dropped (\d+)\n", one):
            missing += int(gap[1])
            first += int(gap[1])
        else:
            assert one == line(first)
            first += 1
    return first, missing


def test_with_a_reader_nothing_is_lost(ends: tuple[int, int]) -> None:
    reader, writer = ends
    queue = LineQueue(writer, dropped)
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.extend(read_until(reader, line(5000))))
    thread.start()
    for number in range(5001):
        queue.write(line(number))
    thread.join(60)
    assert check(found) == (5001, 0)


def test_a_reader_that_is_stuck_holds_up_nobody(ends: tuple[int, int]) -> None:
    """What is missing is counted where it is missing, once there is room again."""
    reader, writer = ends
    queue = LineQueue(writer, dropped, LIMIT)
    next_one = 0
    for _ in range(3):
        for number in range(next_one, next_one + 20_000):
            queue.write(line(number))
        assert queue._octets <= LIMIT
        found: list[bytes] = []
        thread = threading.Thread(target=lambda found=found: found.extend(read_until(reader, b"end\n")))
        thread.start()
        queue._deadline = time.monotonic() + 60
        queue.finish()
        queue._deadline = None
        queue.write(b"end\n")
        thread.join(60)
        next_one += 20_000
        reached, missing = check(found[:-1], next_one - 20_000)
        assert reached == next_one
        assert missing > 10_000


def test_lines_of_several_processes_stay_whole() -> None:
    """Each worker has a queue of its own, for the same pipe."""
    reader, writer = of_pipe()
    queues = [LineQueue(writer, dropped) for _ in range(3)]
    sent = [[b"%d %d %s\n" % (one, number, b"x" * 70) for number in range(3000)] for one in range(3)]
    for lines in zip(*sent, strict=True):
        for queue, line in zip(queues, lines, strict=True):
            queue.write(line)
    expected = sorted(line for lines in sent for line in lines)
    found = b""
    while len(found) < sum(map(len, expected)):
        found += os.read(reader, 1 << 16)
    assert sorted(found.splitlines(keepends=True)) == expected
    os.close(reader)
    os.close(writer)


def test_lines_longer_than_the_queue() -> None:
    reader, writer = of_pipe()
    queue = LineQueue(writer, dropped, LIMIT)
    long = b"y" * 300_000 + b"\n"
    for one in (line(0), long, long):
        queue.write(one)
    assert read_until(reader, b"dropped 1\n") == [line(0), long, b"dropped 1\n"], "what has begun is ended"
    queue.write(b"end\n")
    assert read_until(reader, b"end\n") == [b"end\n"]
    os.close(reader)
    os.close(writer)


def test_lines_of_signal_handlers(ends: tuple[int, int]) -> None:
    """Twisted logs in its handler of SIGTERM."""
    reader, writer = ends
    queue = LineQueue(writer, dropped)
    told = 0

    def tell(number: int, frame: object) -> None:
        nonlocal told
        told += 1
        queue.write(b"signal\n")

    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.extend(read_until(reader, b"end\n")))
    thread.start()
    before = signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for number in range(5000):
            queue.write(line(number))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    queue.write(b"end\n")
    thread.join(60)
    own = [one for one in found if not one.startswith((b"signal", b"end"))]
    assert check(own) == (5000, 0)
    assert found.count(b"signal\n") == told > 0


def test_lines_of_several_threads(ends: tuple[int, int]) -> None:
    reader, writer = ends
    queue = LineQueue(writer, dropped)

    def tell(who: int) -> None:
        for number in range(500):
            queue.write(b"%d %d %s\n" % (who, number, b"z" * 300))

    threads = [threading.Thread(target=tell, args=[who]) for who in range(4)]
    for thread in threads:
        thread.start()
    found: list[bytes] = []
    while len(found) < 2000:
        found += [one.removesuffix(b"\n") for one in read_until(reader, b"z\n")]
    for who in range(4):
        mine = [one.split(b" ") for one in found if one.startswith(b"%d " % who)]
        assert mine == [[b"%d" % who, b"%d" % number, b"z" * 300] for number in range(500)]


def test_the_end_waits_for_a_slow_reader_and_not_for_a_stuck_one(ends: tuple[int, int]) -> None:
    reader, writer = ends
    queue = LineQueue(writer, dropped)
    for number in range(3000):
        queue.write(line(number))
    began = time.monotonic()
    queue.finish()
    assert 0.4 < time.monotonic() - began < 15
    queue._deadline = time.monotonic() + 60
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: (time.sleep(0.1), found.extend(read_until(reader, line(3000)))))
    thread.start()
    queue.write(line(3000))  # waits, too
    thread.join(60)
    assert check(found) == (3001, 0)


@pytest.mark.parametrize("make", [of_pipe, of_socket], ids=lambda one: one.__name__)
def test_a_reader_that_is_gone(make: Callable[[], tuple[int, int]]) -> None:
    """``twistd -n mailserver | head``: the observer raises, which twisted.logger catches."""
    reader, writer = make()
    queue = LineQueue(writer, dropped)
    for number in range(3000):
        queue.write(line(number))
    os.close(reader)
    queue.finish()
    with pytest.raises(BrokenPipeError):
        queue.write(b"one\n")
    os.close(writer)


def test_a_file_needs_no_thread(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        queue = LineQueue(file.fileno(), dropped, 10)
        for number in range(1000):
            queue.write(line(number))
        queue.write(b"y" * 100_000)
    assert path.read_bytes() == b"".join(map(line, range(1000))) + b"y" * 100_000
    assert not queue._unstarted.locked()


def test_a_reader_that_keeps_up_needs_none_either() -> None:
    """The line is there when the call returns."""
    reader, writer = os.pipe()
    queue = LineQueue(writer, dropped)
    for number in range(1000):
        queue.write(line(number))
        assert os.read(reader, 1000) == line(number)
    assert not queue._unstarted.locked()
    os.close(reader)
    os.close(writer)
