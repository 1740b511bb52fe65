"""Fair scheduling of work among clients."""

import gc
import threading
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher
from twisted.python.threadpool import ThreadPool

from mailserver.threads.fair import BACKGROUND, FairThreadPool, TooManyWaiting
from tests.support.fakes import stand_in
from tests.support.reactor import FakeReactor


class Queue:
    """A pool whose threads do a piece of work when the test says so."""

    def __init__(self, width: int) -> None:
        self.threads = FakeReactor(held=True)
        self.pool = FairThreadPool(FakeReactor(), self.threads, width)  # type: ignore[arg-type]
        self.done: list[str] = []
        self.results: list[Any] = []

    def ask(self, client: str, work: str = "") -> Deferred[Any]:
        result: Deferred[Any] = self.pool.run(client, self.done.append, work or client)
        return result.addBoth(self.results.append)


@pytest.mark.parametrize(("width", "before"), [(1, 1), (2, 2)])
def test_a_client_waits_only_for_what_runs(width: int, before: int) -> None:
    queue = Queue(width)
    for number in range(60):
        queue.ask("guesser", f"guess {number}")
    queue.ask("owner")
    queue.threads.run_threads()
    assert len(queue.done) == before  # what ran when the owner came
    queue.threads.run_threads()
    assert "owner" in queue.done
    while len(queue.done) < 61:
        queue.threads.run_threads()
    assert [one for one in queue.done if one != "owner"] == [f"guess {number}" for number in range(60)]


def test_clients_take_turns() -> None:
    queue = Queue(1)
    for client in ("a", "a", "a", "b", "b", "c"):
        queue.ask(client)
    for _ in range(6):
        queue.threads.run_threads()
    assert queue.done == ["a", "b", "a", "c", "b", "a"]


def test_the_background_works_alone_and_when_no_client_waits() -> None:
    queue = Queue(2)
    for number in range(4):
        queue.ask(BACKGROUND, f"hash {number}")
    for client in ("a", "b", "c", "a"):
        queue.ask(client)
    queue.threads.run_threads()
    assert queue.done == ["hash 0", "a"]  # one in the background had begun, and a second one had not
    queue.threads.run_threads()
    assert queue.done[2:] == ["b", "c"]
    queue.threads.run_threads()
    assert queue.done[4:] == ["a", "hash 1"]
    for number in (2, 3):
        queue.threads.run_threads()
        assert queue.done[4 + number :] == [f"hash {number}"]
    assert len(queue.results) == 8


def test_who_has_nothing_running_goes_first() -> None:
    queue = Queue(2)
    for client in ("a", "a", "a", "b"):
        queue.ask(client)
    queue.threads._work.pop(0)()  # one of the two that a has running
    queue.threads._work.pop()()
    assert queue.done == ["a", "b"]


def test_results_and_failures_come_back() -> None:
    queue = Queue(2)
    found: list[Any] = []
    queue.pool.run("a", divmod, 7, 2).addBoth(found.append)
    queue.pool.run("a", divmod, 7, 0).addBoth(found.append)
    queue.threads.run_threads()
    assert found[0] == (3, 1)
    assert found[1].check(ZeroDivisionError)


def test_what_is_cancelled_while_it_waits_is_not_done() -> None:
    queue = Queue(1)
    asked = [queue.ask("a", work) for work in ("first", "second", "third")]
    asked[1].cancel()
    assert [result.check(CancelledError) for result in queue.results] == [CancelledError]
    asked[0].cancel()  # too late, but nobody wants to know
    for _ in range(3):
        queue.threads.run_threads()
    assert queue.done == ["first", "third"]
    assert len(queue.results) == 3


def test_what_is_cancelled_while_it_runs_ends_quietly() -> None:
    queue = Queue(1)
    asked = queue.ask("a")
    events: list[Any] = []
    globalLogPublisher.addObserver(stand_in(events.append))
    try:
        asked.cancel()
        queue.threads.run_threads()
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(stand_in(events.append))
    assert queue.done == ["a"] and len(queue.results) == 1
    assert not [event for event in events if "log_failure" in event]


def test_a_client_has_only_so_much_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailserver.threads.fair.MAX_WAITING", 2)
    queue = Queue(1)
    for _ in range(5):
        queue.ask("a")
    queue.ask("b")
    assert [result.check(TooManyWaiting) for result in queue.results] == [TooManyWaiting] * 2
    for _ in range(4):
        queue.threads.run_threads()
    assert sorted(queue.done) == ["a", "a", "a", "b"]
    assert not queue.pool._waiting and not queue.pool._running


def test_closing_gives_up_what_waits() -> None:
    queue = Queue(1)
    for client in ("a", "a", "b"):
        queue.ask(client)
    queue.pool.close()
    queue.ask("c")
    assert [result.check(CancelledError) for result in queue.results] == [CancelledError] * 3
    for _ in range(4):
        queue.threads.run_threads()
    assert queue.done == ["a"]


def test_in_real_threads_no_more_runs_at_a_time_than_may() -> None:
    calls: list[Any] = []
    here = FakeReactor()
    here.callFromThread = lambda *call: calls.append(call)
    pool = ThreadPool(0, 2)
    pool.start()
    try:
        fair = FairThreadPool(here, pool, 2)  # type: ignore[arg-type]
        running, most, lock = 0, 0, threading.Lock()
        both = threading.Barrier(2, timeout=10)

        def work() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            both.wait()
            with lock:
                running -= 1

        results: list[Any] = []
        for number in range(8):
            fair.run(str(number), work).addBoth(results.append)
        waited = threading.Event()
        for _ in range(2000):
            while calls:
                function, *args = calls.pop(0)
                function(*args)
            if len(results) == 8:
                break
            waited.wait(0.005)
        assert results == [None] * 8
        assert most == 2
    finally:
        pool.stop()
