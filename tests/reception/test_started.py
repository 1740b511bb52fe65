"""Coroutines that wait for nothing, or for something."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed

from mailserver.reception.checks import started


async def at_once(value: str) -> str:
    return value


async def summed(*waited: Awaitable[str]) -> str:
    return " ".join([await one for one in waited])


async def ended(waited: Deferred[str], ends: list[object]) -> str:
    """What it is waiting for, in words, whatever that is."""
    try:
        return await waited
    except ZeroDivisionError as error:
        return f"no: {error}"
    finally:
        ends.append("end")


@pytest.mark.parametrize(
    "make",
    [lambda: at_once("a b"), lambda: summed(at_once("a"), at_once("b")), lambda: summed(succeed("a b"))],
)
def test_without_waiting_there_is_no_deferred(make: Callable[[], Any]) -> None:
    assert started(make()) == "a b"


def test_what_is_raised_at_once_is_raised_here() -> None:
    async def failing() -> None:
        raise ZeroDivisionError("a mistake")

    with pytest.raises(ZeroDivisionError, match="a mistake"):
        started(failing())


def test_it_waits_as_often_as_necessary() -> None:
    first, third = Deferred[str](), Deferred[str]()
    work: Any = started(summed(first, succeed("b"), at_once("c"), third))
    assert isinstance(work, Deferred) and not work.called
    first.callback("a")
    assert not work.called
    third.callback("d")
    assert work.result == "a b c d"


def test_a_failure_is_thrown_into_the_coroutine() -> None:
    waited, ends = Deferred[str](), list[object]()
    work: Any = started(ended(waited, ends))
    waited.errback(ZeroDivisionError("zero"))
    assert (work.result, ends) == ("no: zero", ["end"])


def test_another_failure_is_its_own() -> None:
    waited, ends = Deferred[str](), list[object]()
    work: Any = started(ended(waited, ends))
    waited.errback(KeyError("key"))
    work.addErrback(lambda failure: ends.append(failure.type))
    assert ends == ["end", KeyError]


def test_it_can_be_cancelled() -> None:
    cancelled: list[object] = []
    waited = Deferred[str](cancelled.append)
    ends: list[object] = []
    work: Any = started(ended(waited, ends))
    work.addErrback(lambda failure: ends.append(failure.type))
    work.cancel()
    assert cancelled == [waited]
    assert ends == ["end", CancelledError]
