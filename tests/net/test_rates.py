"""Sliding windows: exact where that is affordable, never more than the rate anywhere, bounded in memory."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from mailserver.mail.rate import Rate
from mailserver.net import rates
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.rates import MAX_KEYS, RateLimiter, SlidingWindow
from tests.support.net.limits import NO_LIMITS, only_limits

RULE = "messages_per_address"
A, B = "192.0.2.1", "192.0.2.2"


class Setup:
    def __init__(self, count: int, seconds: float) -> None:
        self.clock = Clock()
        self.rates = RateLimiter(only_limits(messages_per_address=Rate(count, seconds)), self.clock.seconds)

    def at(self, moment: float, who: str = A) -> bool:
        self.clock.rightNow = moment
        return self.rates.take((RULE, who)) is None


@pytest.mark.parametrize(
    ("count", "seconds", "moments"),
    [
        # each moment, and whether one more is allowed then
        (1, 60, [(0, True), (0, False), (59.9, False), (60, True), (60, False)]),
        (3, 3600, [(0, True), (0, True), (0, True), (3599, False), (3600, True)]),
        # a token bucket would have a place for the fourth after 1200 seconds
        (3, 3600, [(0, True), (0, True), (0, True), (1201, False), (3000, False)]),
        (3, 3600, [(0, True), (10, True), (20, True), (3600, True), (3601, False), (3610, True)]),
        # what is refused does not count
        (1, 60, [(0, True), *((moment, False) for moment in range(1, 60)), (60, True)]),
        (2000, 86400, [*[(0, True)] * 2000, (0, False), (86399, False), (86400, True)]),
    ],
)
def test_a_rate_holds_in_every_window(count: int, seconds: float, moments: list[tuple[float, bool]]) -> None:
    setup = Setup(count, seconds)
    assert [(moment, setup.at(moment)) for moment, _ in moments] == moments


def test_each_counts_alone() -> None:
    setup = Setup(1, 60)
    assert setup.at(0, A) and setup.at(0, B)
    assert not setup.at(0, A)


def test_the_refusal_tells_how_long_to_wait() -> None:
    setup = Setup(2, 3600)
    setup.at(0)
    setup.at(600)
    assert not setup.at(1000)
    refusal = setup.rates.check(RULE, A)
    assert refusal is not None
    assert refusal.text == "too many messages from your address; please try again in 44 minutes"
    assert setup.at(1000 + 44 * 60)


Steps = st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=80)


@given(st.integers(1, 6), st.integers(1, 60), Steps)
def test_a_small_window_is_exact(count: int, seconds: int, steps: list[tuple[int, bool]]) -> None:
    setup, allowed, now = Setup(count, seconds), list[int](), 0
    for pause, one_more in steps:
        now += pause
        if one_more:
            inside = sum(now - moment < seconds for moment in allowed)
            assert setup.at(now) == (inside < count)
            if inside < count:
                allowed.append(now)


Dense = st.lists(st.tuples(st.integers(0, 4), st.just(True)), min_size=10, max_size=80)


@given(st.integers(5, 12), st.integers(20, 60), Steps | Dense)
def test_a_large_window_never_lets_more_through_and_waits_hardly_longer(
    count: int, seconds: int, steps: list[tuple[int, bool]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "GRAINS", 4)
        window, rate, allowed, now = SlidingWindow(), Rate(count, seconds), list[int](), 0
        for pause, one_more in steps:
            now += pause
            if not one_more:
                continue
            wait = window.wait(now, rate)
            if wait == 0:
                window.add(now, rate)
                allowed.append(now)
                assert sum(now - moment < seconds for moment in allowed) <= count
            else:
                assert sum(now - moment < seconds * 1.25 for moment in allowed) >= count
            assert window.entries <= 6


def test_a_large_window_costs_little_however_much_happens() -> None:
    window, rate, now = SlidingWindow(), Rate(100_000, 86400), 0.0
    for number in range(20_000):
        now = number * 10.0
        if not window.wait(now, rate):
            window.add(now, rate)
    assert window.entries <= rates.GRAINS + 1
    assert window.wait(now, Rate(8000, 86400)) > 0, "8640 of them were within the last day"
    assert window.wait(now, Rate(9000, 86400)) == 0


# ---------------------------------------------------------------- reload


def test_what_is_counted_stays_when_the_rate_changes() -> None:
    setup = Setup(5, 60)
    assert all(setup.at(0) for _ in range(5))
    setup.rates.replace(only_limits(messages_per_address=Rate(6, 120)))
    assert setup.at(1)
    assert not setup.at(1)
    assert not setup.at(100)
    setup.rates.replace(only_limits(messages_per_address=Rate(2, 110)))
    assert not setup.at(109)
    assert setup.at(110), "five of the six are out of the shorter window"
    setup.rates.replace(NO_LIMITS)
    assert all(setup.at(111) for _ in range(100))
    assert len(setup.rates) == 0


# ---------------------------------------------------------------- memory


def test_what_is_over_is_forgotten() -> None:
    setup = Setup(3, 60)
    for number in range(100):
        setup.at(number, f"192.0.2.{number}")
    assert len(setup.rates) == 60
    setup.clock.advance(60)
    assert len(setup.rates) == 0


def test_a_hammering_client_is_not_remembered_longer() -> None:
    setup = Setup(1, 60)
    setup.at(0)
    for moment in range(1, 60):
        assert not setup.at(moment)
    setup.clock.rightNow = 60
    assert len(setup.rates) == 0


def test_nobody_and_rules_without_a_rate_leave_nothing() -> None:
    setup = Setup(1, 60)
    for _ in range(3):
        assert setup.rates.take((RULE, ""), ("recipients_per_account", "alice@example.org")) is None
    assert len(setup.rates) == 0


def test_somebody_with_a_48_fills_no_memory_and_resets_only_what_is_oldest() -> None:
    setup = Setup(1, 3600)
    for number in range(65_536):
        assert setup.at(number / 1000, f"2001:db8:0:{number:x}::/64")
    assert len(setup.rates) == MAX_KEYS
    assert not setup.at(66, "2001:db8:0:ffff::/64")
    assert setup.at(66, "2001:db8:0:0::/64")


def test_the_table_forgets_the_oldest_put_first() -> None:
    clock = Clock()
    table = ExpiringTable[str, int](3, 10, clock.seconds)
    for number, key in enumerate("abcad"):
        table.put(key, number)
    assert {key: table.get(key) for key in "abcd"} == {"a": 3, "b": None, "c": 2, "d": 4}
    table.drop("c")
    table.drop("c")
    assert len(table) == 2
    clock.advance(9.9)
    table.put("e", 5)
    clock.advance(0.1)
    assert {key: table.get(key) for key in "ade"} == {"a": None, "d": None, "e": 5}
    table.lifetime = 0.05
    assert len(table) == 0


def test_forgetting_many_is_not_slow() -> None:
    """Each entry is paid for once: taking the first of a plain dict again and again is quadratic."""
    clock, reads = Clock(), itertools.count()
    table = ExpiringTable[int, int](MAX_KEYS, 10, lambda: next(reads) * 0 + clock.seconds())
    for number in range(MAX_KEYS):
        table.put(number, number)
    clock.advance(10)
    assert len(table) == 0
    assert next(reads) < 3 * MAX_KEYS
