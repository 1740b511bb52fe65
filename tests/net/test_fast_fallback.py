"""Connecting to the first of several addresses that answers."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailserver.net.fast_fallback import ATTEMPT_DELAY, connect_first


@attrs.define(eq=False)
class Endpoint:
    """Answers after some seconds, with its name or with an error; None is never."""

    name: str
    clock: Clock
    log: list[str]
    seconds: float | None
    fails: bool = False

    def connect(self, factory: object) -> Deferred[Any]:
        self.log.append(f"{self.clock.seconds():.2f} {self.name}")
        answer: Deferred[Any] = Deferred(self._cancelled)
        if self.seconds is not None:
            self.clock.callLater(self.seconds, self._answer, answer)
        return answer

    def _cancelled(self, answer: Deferred[Any]) -> None:
        self.log.append(f"{self.clock.seconds():.2f} cancel {self.name}")

    def _answer(self, answer: Deferred[Any]) -> None:
        if not answer.called:
            if self.fails:
                answer.errback(ConnectError(string=self.name))
            else:
                answer.callback(self.name)


def connect(clock: Clock, endpoints: Any) -> Deferred[Any]:
    factory: Any = None
    return connect_first(clock, endpoints, factory)


@pytest.mark.parametrize(
    ("attempts", "winner", "log"),
    [
        ([(0.1, False)], "0", "0.00 0"),
        ([(0.1, False), (0.0, False)], "0", "0.00 0"),
        ([(None, False), (0.1, False)], "1", "0.00 0, 0.25 1, 0.35 cancel 0"),
        # An error does not wait for the delay.
        ([(0.1, True), (0.1, False)], "1", "0.00 0, 0.10 1"),
        ([(0.1, True), (None, False), (0.1, False)], "2", "0.00 0, 0.10 1, 0.35 2, 0.45 cancel 1"),
        # The slow first one wins nevertheless.
        ([(0.3, False), (0.5, False)], "0", "0.00 0, 0.25 1, 0.30 cancel 1"),
        ([(0.3, True), (0.5, True), (0.1, True)], None, "0.00 0, 0.25 1, 0.30 2"),
        ([(0.1, True)], None, "0.00 0"),
    ],
)
def test_races(attempts: list[tuple[float | None, bool]], winner: str | None, log: str) -> None:
    clock = Clock()
    said: list[str] = []
    results: list[Any] = []
    endpoints: Any = [Endpoint(str(number), clock, said, *one) for number, one in enumerate(attempts)]
    connect(clock, endpoints).addBoth(results.append)
    clock.pump([0.05] * 40)
    [result] = results
    if winner is None:
        assert isinstance(result, Failure) and result.check(ConnectError)
    else:
        assert result == winner
    assert ", ".join(said) == log
    assert not clock.getDelayedCalls()


def test_a_race_can_be_cancelled() -> None:
    clock = Clock()
    said: list[str] = []
    results: list[Any] = []
    endpoints: Any = [Endpoint(name, clock, said, None) for name in "abc"]
    race = connect(clock, endpoints).addBoth(results.append)
    clock.advance(ATTEMPT_DELAY)
    race.cancel()
    assert results[0].check(CancelledError)
    assert said == ["0.00 a", "0.25 b", "0.25 cancel a", "0.25 cancel b"]
    assert not clock.getDelayedCalls()


def test_attempts_that_fail_at_once() -> None:
    clock = Clock()

    class Broken:
        def connect(self, factory: object) -> Deferred[Any]:
            failed: Deferred[Any] = Deferred()
            failed.errback(ConnectError())
            return failed

    results: list[Any] = []
    connect(clock, [Broken()] * 8).addBoth(results.append)
    assert results[0].check(ConnectError) and not clock.getDelayedCalls()
