"""Long work is done one piece at a time, beside all other work."""

import pytest
from twisted.internet.defer import Deferred

from mailserver.threads.pool import Threads
from tests.support.reactor import FakeReactor


def test_long_work_is_done_one_piece_at_a_time() -> None:
    reactor, done = FakeReactor(held=True), list[str]()
    threads = Threads(reactor)  # type: ignore[arg-type]
    for name in ("first", "second"):
        threads.run_long(done.append, name)
    threads.run(done.append, "short")
    reactor.run_threads()
    assert done == ["first", "short"]
    reactor.run_threads()
    assert done == ["first", "short", "second"]


def test_long_work_that_fails_lets_the_next_begin() -> None:
    reactor = FakeReactor(held=True)
    threads = Threads(reactor)  # type: ignore[arg-type]
    failing: Deferred[float] = threads.run_long(lambda: 1 / 0)
    following = threads.run_long(lambda: "done")
    for _ in range(2):
        reactor.run_threads()
    with pytest.raises(ZeroDivisionError):
        failing.result.raiseException()  # type: ignore[attr-defined]
    failing.addErrback(lambda failure: None)
    assert following.result == "done"
