"""Guessing passwords: what it costs the guesser, and what it does not cost the owner."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from mailserver.config.keys.limits import LimitsSection
from mailserver.net.guard import FORGET_AFTER, MAX_DELAY, MAX_KEYS, AuthGuard
from tests.support.net.limits import only_limits
from tests.support.net.limits_of_workers import ManyLimits

SETTINGS = only_limits(auth_failure_delay=1.0, auth_block_after=10, auth_block=900.0)
ATTACKER, OWNER = "192.0.2.66", "192.0.2.1"
ALICE, BOB, MALLORY = "alice@example.org", "bob@example.org", "mallory@example.org"


class Setup:
    make: Callable[..., Any] = AuthGuard

    def __init__(self, settings: LimitsSection = SETTINGS) -> None:
        self.clock = Clock()
        self.guard: Any = Setup.make(settings, self.clock.seconds)

    def guess(self, name: str, client: str = ATTACKER) -> float | None:
        """One wrong guess of a client that waits for the answer: seconds it took, None if not looked at."""
        wait = self.guard.begin(client, name)
        self.clock.advance(wait)
        blocked = self.guard.blocked(client, name)
        delay = self.guard.failed(client, name)
        self.guard.end(client)
        self.clock.advance(delay)
        return None if blocked else wait + delay

    def before(self, client: str, name: str) -> float:
        """How long an attempt would wait now."""
        wait = self.guard.begin(client, name)
        self.guard.end(client)
        return wait

    def log_in(self, name: str, client: str = OWNER) -> float | None:
        """The right password: seconds it took."""
        wait = self.guard.begin(client, name)
        self.clock.advance(wait)
        if blocked := self.guard.blocked(client, name):
            self.guard.failed(client, name)
        else:
            self.guard.succeeded(client, name)
        self.guard.end(client)
        return None if blocked else wait


class ManyGuards:
    """The guards of several workers, which take turns. One connection stays on one worker: attempts that run
    at the same time do here."""

    def __init__(self, settings: LimitsSection, seconds: Callable[[], float]) -> None:
        self._limits = ManyLimits(settings, seconds)
        self._open = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            return getattr(self._limits.shared.limits.guard, name)
        if not self._open:
            self._worker = self._limits.guard
        return getattr(self._worker, name)

    def begin(self, client: str, name: str) -> float:
        wait = self.__getattr__("begin")(client, name)
        self._open += 1
        return float(wait)

    def end(self, client: str) -> None:
        self._open -= 1
        self._worker.end(client)

    def __len__(self) -> int:
        return len(self._limits.shared.limits.guard)

    def replace(self, settings: LimitsSection) -> None:
        self._limits.replace(settings)


@pytest.fixture(autouse=True, params=[AuthGuard, ManyGuards], ids=["one process", "several workers"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Setup, "make", staticmethod(request.param))


@pytest.fixture
def setup() -> Setup:
    return Setup()


@pytest.mark.parametrize(
    ("first", "delays"),
    [(1.0, [1, 2, 4, 8, 16, 30, 30]), (0.5, [0.5, 1, 2, 4, 8, 16, 30]), (45.0, [30, 30]), (0.0, [0, 0, 0])],
)
def test_each_failure_of_an_address_doubles_the_delay(first: float, delays: list[float]) -> None:
    setup = Setup(only_limits(auth_failure_delay=first))
    assert [setup.guess(f"name{number}") for number in range(len(delays))] == delays


def test_the_delay_never_overflows() -> None:
    setup = Setup()
    for number in range(3000):
        setup.guess(f"name{number}")
    assert setup.guess(ALICE) == MAX_DELAY


def test_a_quiet_time_is_forgiveness(setup: Setup) -> None:
    for _ in range(4):
        setup.guess(ALICE)
    setup.clock.advance(FORGET_AFTER - 8 - 1)  # the last failure was 8 seconds before its answer
    assert setup.guess(ALICE) == 16
    setup.clock.advance(FORGET_AFTER)
    assert setup.guess(ALICE) == 1


def test_hanging_up_early_and_many_connections_win_nothing(setup: Setup) -> None:
    assert setup.before(ATTACKER, ALICE) == 0
    assert setup.guard.failed(ATTACKER, ALICE) == 1
    setup.clock.advance(0.25)
    assert setup.before(ATTACKER, BOB) == 0.75
    assert setup.guard.failed(ATTACKER, ALICE) == 2
    assert setup.before(ATTACKER, BOB) == 2
    setup.clock.advance(2)
    assert setup.before(ATTACKER, BOB) == 0


def test_50_guesses_are_slow_then_closed_and_the_owner_gets_in_at_once(setup: Setup) -> None:
    took = [setup.guess(ALICE) for _ in range(50)]
    assert took[:10] == [1, 2, 4, 8, 16, 30, 30, 30, 30, 30]
    assert took[10:35] == [None] * 25, "not even looked at"
    assert setup.clock.seconds() > 20 * 60
    assert setup.log_in(ALICE, OWNER) == 0
    assert setup.log_in(BOB, OWNER) == 0


def test_guesses_from_many_addresses_do_not_lock_the_owner_out(setup: Setup) -> None:
    for number in range(250):
        setup.guard.failed(f"198.51.100.{number}", ALICE)
    assert setup.log_in(ALICE, OWNER) == 0


def test_what_is_not_looked_at_takes_as_long_as_a_wrong_password(setup: Setup) -> None:
    for _ in range(10):
        setup.guess(ALICE)
    assert setup.guard.blocked(ATTACKER, ALICE)
    assert setup.guard.failed(ATTACKER, ALICE) == MAX_DELAY
    assert setup.before(ATTACKER, BOB) == MAX_DELAY


def test_the_block_lasts_until_so_long_after_the_last_real_failure(setup: Setup) -> None:
    for _ in range(10):
        setup.guard.failed(ATTACKER, ALICE)
        setup.clock.advance(60)
    # 60 seconds have passed since the last
    setup.clock.advance(900 - 60 - 1)
    assert setup.guess(ALICE) is None, "asking again does not prolong it"
    setup.clock.advance(1)
    assert setup.guess(ALICE) is not None
    for _ in range(8):
        setup.guard.failed(ATTACKER, ALICE)
    assert not setup.guard.blocked(ATTACKER, ALICE)
    setup.guard.failed(ATTACKER, ALICE)
    assert setup.guard.blocked(ATTACKER, ALICE), "and then it begins anew"


def test_failures_too_far_apart_do_not_block(setup: Setup) -> None:
    for _ in range(100):
        setup.guard.failed(ATTACKER, ALICE)
        setup.clock.advance(101)
    assert not setup.guard.blocked(ATTACKER, ALICE)
    setup.guard.failed(ATTACKER, ALICE)
    setup.guard.failed(ATTACKER, ALICE)
    assert setup.guard.blocked(ATTACKER, ALICE)


def test_the_block_is_for_that_name_alone(setup: Setup) -> None:
    for _ in range(10):
        setup.guess(ALICE)
    assert setup.guard.blocked(ATTACKER, ALICE)
    assert not setup.guard.blocked(ATTACKER, BOB)


def test_an_account_of_ones_own_does_not_make_guessing_at_others_faster(setup: Setup) -> None:
    took = []
    for _ in range(9):
        assert setup.log_in(MALLORY, ATTACKER) is not None
        took.append(setup.guess(ALICE))
    assert took == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    setup.log_in(MALLORY, ATTACKER)
    setup.guess(ALICE)
    assert setup.guess(ALICE) is None


def test_a_success_forgives_its_own_name(setup: Setup) -> None:
    for _ in range(9):
        setup.guess(ALICE, OWNER)
    setup.log_in(ALICE, OWNER)
    for _ in range(9):
        assert setup.guess(ALICE, OWNER) is not None
    assert setup.log_in(ALICE, OWNER) is not None


def test_a_neighbour_with_an_old_password_does_not_hold_up_who_was_just_in(setup: Setup) -> None:
    setup.log_in(BOB, OWNER)
    for _ in range(20):
        setup.guard.failed(OWNER, ALICE)
    assert setup.before(OWNER, BOB) == 0
    assert setup.before(OWNER, MALLORY) == MAX_DELAY
    setup.guard.failed(OWNER, BOB)
    assert setup.before(OWNER, BOB) == MAX_DELAY, "no longer a client that knows the password"


@pytest.mark.parametrize(
    "settings",
    [
        only_limits(auth_failure_delay=1.0, auth_block_after=0, auth_block=900.0),
        only_limits(auth_failure_delay=1.0, auth_block_after=10, auth_block=0.0),
    ],
)
def test_without_a_block_there_is_the_delay_alone(settings: LimitsSection) -> None:
    setup = Setup(settings)
    assert [setup.guess(ALICE) for _ in range(50)][-1] == MAX_DELAY


def test_a_reload_keeps_the_count_and_lifts_a_block_that_is_no_more(setup: Setup) -> None:
    for _ in range(10):
        setup.guess(ALICE)
    setup.guard.replace(only_limits(auth_failure_delay=2.0, auth_block_after=0, auth_block=900.0))
    assert setup.guess(ALICE) == MAX_DELAY
    setup.guard.replace(SETTINGS)
    assert setup.guard.blocked(ATTACKER, ALICE)
    setup.guard.replace(only_limits(auth_block_after=10, auth_block=10.0))
    assert setup.before(ATTACKER, ALICE) == 0


def test_clients_that_are_nobody_leave_nothing(setup: Setup) -> None:
    for _ in range(50):
        assert setup.guess(ALICE, "") == 0
    assert setup.log_in(ALICE, "") == 0
    assert len(setup.guard) == 0


def test_what_is_over_is_forgotten(setup: Setup) -> None:
    for number in range(100):
        setup.guard.failed(f"192.0.2.{number}", ALICE)
        setup.guard.succeeded(f"192.0.2.{number}", BOB)
    assert len(setup.guard) == 300
    setup.clock.advance(FORGET_AFTER)
    assert len(setup.guard) == 0


def test_memory_is_bounded_whoever_guesses_whatever(setup: Setup) -> None:
    for number in range(65_536):
        setup.guard.failed(f"2001:db8:0:{number:x}::/64", "x" * 12_000)
    assert len(setup.guard) == 2 * MAX_KEYS
    names = [name for _, name in setup.guard._pairs._entries]
    assert max(map(len, names)) <= 320
    assert setup.log_in(ALICE, OWNER) == 0


def test_attempts_that_are_under_way_together_wait_in_line(setup: Setup) -> None:
    waits = [setup.guard.begin(ATTACKER, f"name{number}") for number in range(10)]
    assert waits == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    for _ in range(10):
        assert setup.guard.failed(ATTACKER, ALICE)
        setup.guard.end(ATTACKER)
    setup.clock.advance(MAX_DELAY)
    waits = [setup.guard.begin(ATTACKER, f"name{number}") for number in range(3)]
    assert waits == [0, MAX_DELAY, 2 * MAX_DELAY], "after failures one goes at a time"
    for _ in range(3):
        setup.guard.end(ATTACKER)
    assert setup.guard.begin(ATTACKER, BOB) == 0


def test_an_attempt_that_came_to_nothing_leaves_nothing(setup: Setup) -> None:
    setup.guard.begin(ATTACKER, ALICE)
    assert len(setup.guard) == 1
    setup.guard.end(ATTACKER)
    assert len(setup.guard) == 0
