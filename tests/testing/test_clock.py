"""The clock of a fixture: delayed calls as those of a ``Clock``, and time that brings its work with it."""

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater

from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.mail import outcome
from mailserver.mail.queued import LOCAL
from mailserver.mail.verdict import MAILBOX_FULL
from mailserver.queue.memory import MemorySpool
from mailserver.queue.reports import Reports
from mailserver.queue.runner import Runner
from mailserver.queue.spool import Spool
from mailserver.routing.router import Router
from mailserver.routing.table import RoutingTable
from mailserver.store.memory import MemoryStore
from mailserver.testing import clock
from mailserver.testing.clock import BEGINNING, FixtureReactor, parse_duration
from mailserver.threads.pool import run_in_thread
from tests.support.fakes import stand_in
from tests.support.queue.runners import ERIN, NAMES, SCHEDULE, TIMES, Recorded, enqueue
from tests.support.real_reactor import RealReactor, real_reactor

DAY = 86400.0


@pytest.fixture(name="real")
def _real():
    with real_reactor() as reactor:
        yield reactor


@pytest.fixture(name="reactor")
def _reactor(real: RealReactor):
    reactor = FixtureReactor(real)
    yield reactor
    reactor.close()


def advance(reactor: FixtureReactor, duration) -> None:
    reactor._real.wait(Deferred.fromCoroutine(reactor.advance(duration)))


# ------------------------------------------------------------ delayed calls

DELAYS = st.integers(0, 9)
CALLS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("callLater"), DELAYS, st.lists(DELAYS, max_size=3)),
        st.tuples(st.just("cancel"), CALLS),
        st.tuples(st.just("reset"), CALLS, DELAYS),
        st.tuples(st.just("delay"), CALLS, st.integers(-3, 9)),
        st.tuples(st.just("advance"), DELAYS),
    )
)


class Play:
    """Does the same with any reactor, and notes what it has shown."""

    def __init__(self, reactor, advance) -> None:
        self.reactor = reactor
        self.advance = advance
        self.begin = reactor.seconds()
        self.calls = []
        self.fired = []

    def call(self, number: int, delay: float, then: list[int]):
        return self.reactor.callLater(delay, self.fire, number, then)

    def fire(self, number: int, then: list[int]) -> None:
        self.fired.append((self.reactor.seconds() - self.begin, number))
        if then:
            self.call(number, then[0], then[1:])

    def run(self, steps) -> list[object]:
        shown: list[object] = []
        for name, *arguments in steps:
            if name == "callLater":
                self.calls.append(self.call(len(self.calls), *arguments))
            elif name == "advance":
                self.advance(self.reactor, *arguments)
            elif arguments[0] < len(self.calls):
                try:
                    getattr(self.calls[arguments[0]], name)(*arguments[1:])
                except Exception as error:  # noqa: BLE001 - compared
                    shown.append(type(error))
            shown.append([call.active() and call.getTime() - self.begin for call in self.calls])
            shown.append(sorted(call.getTime() - self.begin for call in self.reactor.getDelayedCalls()))
        assert [time for time, _ in self.fired] == sorted(time for time, _ in self.fired)
        return [*shown, sorted(self.fired)]


def step_by_step(model: Clock, duration: float) -> None:
    end = model.seconds() + duration
    while due := [call.getTime() for call in model.getDelayedCalls() if call.getTime() <= end]:
        model.advance(max(min(due) - model.seconds(), 0))
    model.advance(end - model.seconds())


@contextmanager
def no_real_time():
    with patch.object(clock, "time", SimpleNamespace(monotonic=lambda: 1000.0, time=lambda: BEGINNING)):
        yield


@given(steps=STEPS)
def test_the_same_calls_at_the_same_times_as_a_clock(steps) -> None:
    with real_reactor() as real, no_real_time():
        reactor = FixtureReactor(real)
        assert Play(reactor, advance).run(steps) == Play(Clock(), step_by_step).run(steps)
        reactor.close()
        assert not reactor.getDelayedCalls()


def test_time_passes_by_itself(real, reactor) -> None:
    began = reactor.seconds()
    later = reactor.callLater(0.02, pytest.fail, "cancelled")
    real.wait(deferLater(reactor, 0.01, later.cancel))
    assert 0.009 < reactor.seconds() - began < 30  # not 0.01: sums of floats are rounded
    assert abs(reactor.time() - time.time()) < 30


def test_many_cancelled_calls_leave_nothing(reactor) -> None:
    for _ in range(1000):
        reactor.callLater(DAY, print).cancel()
    assert len(reactor._heap) < 100


def test_an_exception_concerns_one_call(real, reactor) -> None:
    done = []
    reactor.callLater(0, lambda: 1 / 0)
    reactor.callLater(0, done.append, 1)
    advance(reactor, 0)
    assert done == [1]


def test_a_call_in_the_past_is_a_mistake(reactor) -> None:
    with pytest.raises(ValueError, match="ago"):
        reactor.callLater(-1, print)


# ------------------------------------------------------------ advance


def test_a_chain_of_calls_within_the_window(reactor) -> None:
    """Retries every five minutes for five days, each planned by the one before."""
    times = []

    def again() -> None:
        times.append(reactor.seconds())
        reactor.callLater(300, again)

    begin = reactor.seconds()
    again()
    advance(reactor, "5d")
    assert len(times) == 5 * 288 + 1
    assert all(abs(later - earlier - 300) < 1e-6 for earlier, later in pairwise(times[1:]))
    assert 5 * DAY <= reactor.seconds() - begin < 5 * DAY + 60


def test_the_wall_clock_of_a_seeded_server_moves_only_when_it_is_advanced(real) -> None:
    reactor = FixtureReactor(real, frozen=True)
    seen = []
    reactor.callLater(600, lambda: seen.append(reactor.time()))
    real.wait(deferLater(reactor, 0.01))
    assert reactor.time() == BEGINNING
    advance(reactor, "4h")
    assert reactor.time() == pytest.approx(BEGINNING + 14400, abs=1e-5)
    assert seen == [pytest.approx(BEGINNING + 600, abs=5)]


def test_it_waits_for_threads(real, reactor) -> None:
    """A thread that the reactor does not know of has begun a work, and another call is due later."""
    order, threads, go = [], [], threading.Event()

    def work() -> None:
        assert go.wait(30)
        reactor.callFromThread(done)

    def done() -> None:
        order.append("done")
        reactor.callLater(1, order.append, "what it has planned")

    def begin() -> None:
        threads.append(threading.Thread(target=work))
        threads[0].start()
        real.callLater(0.01, go.set)

    reactor.idle.append(lambda: "done" in order or not threads)
    reactor.callLater(1, begin)
    reactor.callLater(10, order.append, "later")
    advance(reactor, 60)
    threads[0].join()
    assert order == ["done", "what it has planned", "later"]


def test_work_that_never_ends_does_not_stop_the_time(reactor) -> None:
    reactor.idle.append(lambda: False)
    with patch.object(clock, "PATIENCE", 0.01):
        advance(reactor, "1h")


def test_two_advances_come_one_after_the_other(real, reactor) -> None:
    begin = reactor.seconds()
    both = [Deferred.fromCoroutine(reactor.advance(duration)) for duration in ("1h", "2h")]
    for one in both:
        real.wait(one)
    assert 3 * 3600 <= reactor.seconds() - begin < 3 * 3600 + 60


class Talk(Protocol):
    """Sends a number; the other side answers with the next one, until 20."""

    def __init__(self, first: bytes, over: Callable[[], None]) -> None:
        self.first = first
        self.over = over

    def connectionMade(self) -> None:
        self.say(self.first)

    def say(self, number: bytes) -> None:
        assert self.transport is not None
        self.transport.write(number)

    def dataReceived(self, data: bytes) -> None:
        if int(data) < 20:
            self.say(b"%d" % (int(data) + 1))
        else:
            assert self.transport is not None
            self.over()
            self.transport.loseConnection()


def test_a_dialogue_on_sockets_is_over_before_the_time_goes_on(real) -> None:
    """Of two servers: each has its own clock, and the process one reactor."""
    reactor, other = FixtureReactor(real), FixtureReactor(real)
    over: list[float] = []
    answering = Factory.forProtocol(lambda: Talk(b"", lambda: over.append(reactor.seconds())))
    port = other.listenTCP(0, answering, interface="127.0.0.1")
    endpoint = TCP4ClientEndpoint(stand_in(reactor), "127.0.0.1", port.getHost().port)
    begin = reactor.seconds()
    reactor.callLater(60, connectProtocol, endpoint, Talk(b"2", lambda: None))
    reactor.callLater(61, over.append, begin + 61)
    advance(reactor, "5m")
    assert over == pytest.approx([begin + 60, begin + 61], abs=0.5)
    real.wait(port.stopListening())
    real.wait(Deferred.fromCoroutine(reactor.settle()))
    assert not reactor.getDelayedCalls() and not other.getDelayedCalls()


def test_five_days_of_retries(real, reactor, tmp_path) -> None:
    """The queue with its engines in memory: each attempt at its time, and then a report."""
    store, engine = MemoryStore(lambda mailbox: None), MemorySpool()
    store.open()
    damaged = DamagedFolder(tmp_path / "damaged", Disk())
    spool = Spool(store, engine, tmp_path, damaged, reactor, first_retry=lambda: 300, now=reactor.time)
    spool.open()
    reactor.idle.append(lambda: spool.idle)
    recorded = Recorded(bob=outcome.Deferred(MAILBOX_FULL, "full"), erin=outcome.Delivered())
    attempted = []

    def deliver(message, recipients):
        attempted.append((recipients[0].address, reactor.seconds() - begin))
        return recorded.deliver(message, recipients)

    deliveries = {LOCAL: stand_in(SimpleNamespace(deliver=deliver))}
    router = Router(RoutingTable(NAMES))
    reports = Reports(spool, router, "mail.example.org", reactor, reactor.time)
    runner = Runner(spool, deliveries, reports, lambda: SCHEDULE, reactor, now=reactor.time)
    runner.start()
    begin = reactor.seconds()
    queue = SimpleNamespace(spools=SimpleNamespace(spool=spool, engine=engine))
    enqueue(queue, (LOCAL, "bob@example.org"), due=reactor.time() + TIMES[0], attempts=1)
    advance(reactor, "5d")
    assert [when for who, when in attempted if who.startswith("bob")] == pytest.approx(TIMES, abs=5)
    view = real.wait(store.browse(ERIN))
    assert len(view.messages) == 1 and engine.waiting() == 0
    real.wait(Deferred.fromCoroutine(runner.stop()))
    real.wait(Deferred.fromCoroutine(spool.close()))
    real.wait(store.close())


# ------------------------------------------------------------ threads and durations


def test_functions_for_threads_run_in_the_reactors_thread(real, reactor) -> None:
    assert real.wait(run_in_thread(reactor, threading.get_ident)) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        real.wait(run_in_thread(reactor, lambda: 1 / 0))
    done = []
    reactor.getThreadPool().callInThread(done.append, 1)
    assert done == [1]


@pytest.mark.parametrize(
    ("duration", "seconds"), [("4h", 14400.0), ("1.5s", 1.5), ("20ms", 0.02), (7, 7.0), ("0", 0.0)]
)
def test_durations(duration, seconds) -> None:
    assert parse_duration(duration) == seconds


@pytest.mark.parametrize("duration", ["", "4 hours", "-1s", -1, None, "1e400d"])
def test_what_is_no_duration(duration) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(duration)
