"""``mailserver verify``: what it says of what the checks find, and that it can be given up."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from mailserver.commands.verification import VerificationService, verify
from mailserver.control.channel import CommandFailed
from mailserver.mail.finding import DataCheck, Finding
from tests.support.store.pumped import PumpedReactor

DATA = Path("/data")


def check(*found: str | Finding, kinds: tuple[str, ...] = ("mailbox", "message")) -> DataCheck:
    return DataCheck(kinds, lambda: iter(found))


def finding(name: str = "mail/a") -> Finding:
    return Finding(DATA / name, "is missing", "be made")


@pytest.mark.parametrize(
    ("checks", "lines"),
    [
        ([check()], ["0 mailboxes, 0 messages: all well"]),
        ([check("mailbox", "message")], ["1 mailbox, 1 message: all well"]),
        (
            [check("mailbox", "message", "message", finding())],
            ["mail/a: is missing; would be made", "1 mailbox, 2 messages: 1 problem"],
        ),
        (
            [check(finding("a\n\udcff"), kinds=()), check("spool row", finding(), kinds=("spool row",))],
            [
                "a\\n\\udcff: is missing; would be made",
                "mail/a: is missing; would be made",
                "1 spool row: 2 problems",
            ],
        ),
    ],
)
def test_report(checks, lines):
    outcome = verify(DATA, checks)
    assert list(outcome.lines) == lines
    assert outcome.status == (0 if lines[-1].endswith("all well") else 1)


def test_what_cannot_be_read_at_all_is_one_error():
    def unreadable() -> Iterator[str | Finding]:
        yield "mailbox"
        raise PermissionError(13, "Permission denied", "/data/mail")

    with pytest.raises(CommandFailed, match="Permission denied: /data/mail"):
        verify(DATA, [DataCheck(("mailbox",), unreadable)])


class Endless:
    """A check that never ends, and knows whether somebody still wants it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()

    def run(self) -> Iterator[str]:
        try:
            while True:
                self.begun.set()
                yield "mailbox"
        finally:
            self.ended.set()


class Reactor(PumpedReactor, Clock):
    """Real threads, and a clock that the test moves."""

    def __init__(self) -> None:
        PumpedReactor.__init__(self)
        Clock.__init__(self)


@pytest.fixture
def reactor():
    reactor = Reactor()
    yield reactor
    reactor.stop()


def test_who_cancels_ends_the_run(reactor):
    endless = Endless()
    service = VerificationService(reactor, DATA, [DataCheck(("mailbox",), endless.run)], check())
    service.startService()
    run = service.run({})
    assert endless.begun.wait(10)
    run.cancel()
    with pytest.raises(CancelledError):
        reactor.wait(run)
    assert endless.ended.wait(10)
    service.stopService()


def test_a_server_that_stops_ends_the_run(reactor):
    endless = Endless()
    service = VerificationService(reactor, DATA, [DataCheck(("mailbox",), endless.run)], check())
    service.startService()
    run = service.run({})
    assert endless.begun.wait(10)
    service.stopService()
    assert endless.ended.is_set()
    with pytest.raises(CommandFailed, match="aborted"):
        reactor.wait(run)


def test_one_run_at_a_time(reactor):
    running = 0
    most = 0

    def slow() -> Iterator[str]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(1000):
            yield "mailbox"
        running -= 1

    service = VerificationService(reactor, DATA, [DataCheck(("mailbox",), slow)], check())
    service.startService()
    runs = [service.run({}) for _ in range(5)]
    assert {reactor.wait(run).lines for run in runs} == {("1000 mailboxes: all well",)}
    assert most == 1
    service.stopService()


@pytest.mark.parametrize(("number", "more"), [(0, False), (3, False), (10, False), (11, True), (500, True)])
def test_a_start_warns(reactor, number: int, more: bool) -> None:
    found = [item for each in range(number) for item in ("mailbox", finding(f"mail/{each}"))]
    service = VerificationService(reactor, DATA, [], check(*found))
    with capturedLogs() as events:
        service.startService()
        reactor.advance(0)
        reactor.wait(service.run({}))
        service.stopService()
    lines = [formatEvent(event) for event in events]
    assert lines[:10] == [f"/data/mail/{each} is missing; would be made" for each in range(min(number, 10))]
    assert lines[10:] == ["/data: more problems found; run: mailserver verify"] * more


def test_a_server_that_stops_ends_what_it_began_at_its_start(reactor):
    endless = Endless()
    service = VerificationService(reactor, DATA, [], DataCheck(("mailbox",), endless.run))
    service.startService()
    reactor.advance(0)
    assert endless.begun.wait(10)
    service.stopService()
    assert endless.ended.wait(10)
