"""The same work runs once, however often it is requested meanwhile."""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mailserver.threads.single_flight import SingleFlight


class Work:
    """Counts its runs, which end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Deferred[int]] = []

    def begin(self) -> Deferred[int]:
        self.begun.append(Deferred(lambda result: self.cancelled.append(result)))
        return self.begun[-1]

    cancelled: list[Any] = []


@pytest.mark.parametrize("value", [7, Failure(ValueError("x"))], ids=["result", "failure"])
def test_the_same_work_is_done_once(value: Any) -> None:
    flights, work = SingleFlight[int](), Work()
    found: list[Any] = []
    for key in (b"k", b"k", b"other", b"k"):
        flights.join(key, work.begin).addBoth(lambda result: found.append(result))
    assert len(work.begun) == 2
    work.begun[0].callback(value)
    assert found == [value] * 3
    flights.join(b"k", work.begin)
    assert len(work.begun) == 3  # what has ended is begun again


def test_work_is_cancelled_when_nobody_is_left() -> None:
    flights, work = SingleFlight[int](), Work()
    found: list[Any] = []
    first, second = (flights.join(b"k", work.begin).addBoth(found.append) for _ in range(2))
    first.cancel()
    assert not work.begun[0].called
    second.cancel()
    assert work.begun[0].called
    assert [failure.check(CancelledError) for failure in found] == [CancelledError] * 2
    flights.join(b"k", work.begin)
    assert len(work.begun) == 2


def test_work_that_is_done_at_once() -> None:
    flights = SingleFlight[int]()
    found: list[int] = []
    for number in range(2):
        done: Deferred[int] = Deferred()
        done.callback(number)
        flights.join(b"k", lambda done=done: done).addBoth(found.append)  # type: ignore[call-overload, misc]
    assert found == [0, 1]
