"""The short form of the fault matrix, each control, which must fail, and what clients are told."""

import errno
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from mailserver.app.build import make_service
from mailserver.config.loader import load
from mailserver.durable.disk import Disk
from mailserver.store.writer import IN_SPOOL
from tests.crash.broken import broken
from tests.crash.faults import CONTROLS, Matrix, Tally, run
from tests.crash.inflight import SCENARIOS
from tests.support.e2e.server import UNCHECKED, configuration
from tests.support.fakes import stand_in
from tests.support.faulty_calls import FaultyCalls
from tests.support.model_clients import Reactor, Reader, Sender
from tests.support.runs import rest_slow

pytestmark = pytest.mark.usefixtures("young_heap")
SHARES = 1000, 250
"""One of so many cases is run, soon and among the slow tests."""
NOTICED = {
    "fsync": "what a failed sync has left",
    "syncfs": "is 0 times in",
    "write": "nobody sent",
    "commit": "is 0 times in",
    "link": "is 0 times in",
    "rename": "is 0 times in",
    "unlink": "was removed and is 1 times in",
    "close": "more files are open",
}


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def matrix(tmp_path: Path, tally: Tally, request: pytest.FixtureRequest) -> Iterator[Matrix]:
    matrix = Matrix(tmp_path, tally, getattr(request, "param", ""))
    yield matrix
    matrix.close()


@pytest.mark.parametrize("share", rest_slow(SHARES))
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_call_fails(matrix: Matrix, tally: Tally, scenario: str, share: int) -> None:
    cases = list(matrix.cases([scenario], seed=0))
    run(matrix, random.Random(scenario).sample(cases, len(cases) // share + 1), tally)
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.calls


@pytest.mark.parametrize(
    ("matrix", "control"), rest_slow(((name, name) for name in CONTROLS), first=4), indirect=["matrix"]
)
def test_control(matrix: Matrix, tally: Tally, control: str) -> None:
    """Whoever is not told of a failure loses mail, and the matrix sees it."""
    scenarios = ["synced_removal"] if control == "unlink" else ["sharing", "checkpoint", "large"]
    # Each seed gives the same cases other ends; only a power cut shows what was not synced.
    for seed in range(3):
        for case in matrix.cases(scenarios, seed=seed):
            if case.call == control and (control != "syncfs" or case.end == "power cut"):
                matrix.run(case)
                if NOTICED[control] in "".join(tally.violations):
                    return
    pytest.fail(f"{tally.calls}, but of what was found nothing fits: {tally.violations}")


@pytest.mark.parametrize(
    ("control", "scenario", "noticed"),
    rest_slow(
        [
            ("record-first", "again", "neither delivered nor bounced"),
            ("no-record", "again", "was delivered 2 times"),
            ("report-alone", "bounce", "was bounced, and waits"),
            ("removal-alone", "bounce", "neither delivered nor bounced"),
            ("bounce-uncertain", "again", "bounced falsely"),
        ],
        first=2,
    ),
)
def test_control_of_relaying(matrix: Matrix, tally: Tally, control: str, scenario: str, noticed: str) -> None:
    """A server that is broken on purpose, with a fault at each commit."""
    with broken(control):
        for case in matrix.cases([scenario], seed=0):
            if case.call == "commit":
                matrix.run(case)
            if noticed in "".join(tally.violations):
                return
    pytest.fail(f"{tally.calls}, but of what was found nothing fits: {tally.violations}")


# What clients are told


class Served:
    """A whole server, but for its sockets, on a disk that fails."""

    def __init__(self, folder: Path, calls: FaultyCalls) -> None:
        self.calls = calls
        self.reactor = Reactor()
        config = folder / "mailserver.toml"
        config.write_text(configuration(tables=UNCHECKED))
        self.service = make_service(stand_in(self.reactor), config, lambda: load(config, {}, {}))
        self.service.privilegedStartService()
        self.service.startService()
        self.sender = Sender(self.reactor)

    def send(self, content: bytes) -> bytes:
        """The answer to the final dot; the session goes on."""
        self.sender.begin(content)
        return self.sender.ask(b".")

    def texts(self) -> list[bytes]:
        """What is in the mailbox of alice."""
        reader = self.login()
        count = int(reader.ask(b"STAT").split()[1])
        found = [reader.multi(b"RETR %d" % number) for number in range(1, count + 1)]
        assert self.quit(reader).startswith(b"+OK")
        return [text[text.index(b"Subject:") :] for text in found]

    def login(self) -> Reader:
        reader = Reader(self.reactor)
        assert reader.log_in().startswith(b"+OK")
        return reader

    def remove_first(self) -> bytes:
        """The answer to QUIT."""
        reader = self.login()
        assert reader.ask(b"DELE 1").startswith(b"+OK")
        return self.quit(reader)

    def quit(self, reader: Reader) -> bytes:
        """The answer to QUIT, after which the connection ends."""
        reply = reader.ask(b"QUIT")
        reader.lose()
        return reply

    def sync(self) -> None:
        self.reactor.wait(self.service._parts.spool.checkpoint.run())

    def stop(self) -> None:
        self.sender.lose()
        self.reactor.wait(self.service.stopService())
        self.reactor.stop()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    calls = FaultyCalls()
    monkeypatch.setattr("mailserver.app.build.Disk", lambda: Disk(calls))
    monkeypatch.setattr("mailserver.durable.group._syncfs_answers_for", lambda device: False)
    tracebacks: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            tracebacks.append(event)

    globalLogPublisher.addObserver(stand_in(observe))
    served = Served(tmp_path, calls)
    try:
        yield served
    finally:
        calls.fail_none()
        served.stop()
        globalLogPublisher.removeObserver(stand_in(observe))
    assert tracebacks == []


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (errno.ENOSPC, b"452 4.3.1 "),
        (errno.EDQUOT, b"452 4.3.1 "),
        (errno.EIO, b"451 4.3.0 "),
        (errno.EROFS, b"451 4.3.0 "),
        (errno.EMFILE, b"451 4.3.0 "),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else None,
)
@pytest.mark.parametrize(
    ("call", "size"), [("open", 10), ("write", 10), ("commit", 10), ("fsync", IN_SPOOL), ("close", IN_SPOOL)]
)
def test_smtp(served: Served, call: str, size: int, error: int, reply: bytes) -> None:
    content = b"Subject: %d\r\n\r\n" + b"x" * size + b"\r\n"
    assert served.send(content % 1).startswith(b"250 ")
    served.sync()
    served.calls.fail_all(call, error)
    for _ in range(2):
        assert served.send(content % 2).startswith(reply)
    assert served.sender.ask(b"NOOP").startswith(b"250 ")
    served.calls.fail_none()
    assert served.texts() == [content % 1]
    assert served.send(content % 3).startswith(b"250 ")
    assert served.texts() == [content % 1, content % 3]


@pytest.mark.parametrize("calls", [("link",), ("rename",), ("link", "rename")], ids=" and ".join)
def test_smtp_after_the_commit(served: Served, calls: tuple[str, ...]) -> None:
    content = b"Subject: 1\r\n\r\n"
    served.calls.error = errno.EIO
    served.calls.fails = lambda number, name: name in calls
    assert served.send(content).startswith(b"250 ")
    served.calls.fail_none()
    served.sync()
    assert served.texts() == [content]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["unlink", "checkpoint"])
def test_pop3(served: Served, call: str, error: int) -> None:
    """What cannot be removed is told, and is there in the next session, which removes it."""
    assert served.send(b"Subject: 1\r\n\r\n").startswith(b"250 ")
    if call == "checkpoint":
        served.calls.error = error
        served.calls.fails = lambda number, name: name in ("fsync", "syncfs", "open")
    else:
        served.sync()
        served.calls.fail_all(call, error)
    for _ in range(2):
        assert served.texts() == [b"Subject: 1\r\n\r\n"]
        assert served.remove_first().startswith(b"-ERR")
    served.calls.fail_none()
    assert served.texts() == [b"Subject: 1\r\n\r\n"]
    assert served.remove_first().startswith(b"+OK")
    assert served.texts() == []


def test_a_failing_disk_can_be_read(served: Served) -> None:
    """As long as the disk can be read, so can mail."""
    assert served.send(b"Subject: 1\r\n\r\n").startswith(b"250 ")
    served.sync()
    served.calls.error = errno.EROFS
    served.calls.fails = lambda number, name: True
    assert served.texts() == [b"Subject: 1\r\n\r\n"]
    reader = served.login()
    assert reader.ask(b"RSET").startswith(b"+OK")
    assert served.quit(reader).startswith(b"+OK")
