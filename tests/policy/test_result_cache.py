"""Results are remembered for their time, and in bounded number."""

import math

import pytest
from twisted.internet.task import Clock

from mailserver.policy.result_cache import ResultCache


@pytest.mark.parametrize(
    ("ttl", "after", "known"),
    [(10.0, 9.9, True), (10.0, 10.0, False), (0.0, 0.0, False), (-1.0, 0.0, False), (math.inf, 1e9, True)],
)
def test_a_result_is_known_for_its_time(ttl: float, after: float, known: bool) -> None:
    clock = Clock()
    cache: ResultCache[str] = ResultCache(clock.seconds)
    cache.put("key", "result", ttl)
    clock.advance(after)
    assert cache.get("key") == ("result" if known else None)
    assert cache.get("another") is None


def test_a_result_is_replaced_with_its_time() -> None:
    clock = Clock()
    cache: ResultCache[str] = ResultCache(clock.seconds)
    cache.put("key", "old", 10.0)
    cache.put("key", "new", 20.0)
    clock.advance(15.0)
    assert cache.get("key") == "new"


def test_what_was_not_used_for_the_longest_time_makes_room() -> None:
    cache: ResultCache[int] = ResultCache(Clock().seconds, capacity=3)
    for number in range(100):
        cache.put(number, number, 10.0)
        assert cache.get(0) == 0
    assert [number for number in range(100) if cache.get(number) is not None] == [0, 98, 99]
