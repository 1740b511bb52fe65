"""Rate limits for each address, account and sender domain.

A rate of 3/1h allows at most three events within any hour. A token bucket (GCRA) is smaller but does not
ensure this: after a burst of three it allows a fourth event twenty minutes later. So this module uses a
sliding window with the times of the events. Above :data:`GRAINS` events, those within one part of the window
share an entry with the time of the last one: the rate is never exceeded, but an event may be allowed up to
1/128 of the window later.

Rejected events are not counted.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from mailserver.config.keys.limits import LimitsSection
from mailserver.mail.rate import Rate
from mailserver.mail.verdict import NOT_AUTHORIZED, Defer
from mailserver.net.clients import UNCOUNTED, readable_time
from mailserver.net.expiring_table import ExpiringTable

GRAINS = 128
# Maximum number of keys for each rule. A key takes about 0.5 KiB, at most 3 KiB with a full window.
MAX_KEYS = 20_000

# The text of a rejection by each rule.
_REASONS = {
    "messages_per_address": "too many messages from your address",
    "messages_per_account": "too many messages from this account",
    "messages_per_sender_domain": "too many messages from the sender's domain",
    "recipients_per_address": "too many recipients from your address",
    "recipients_per_account": "too many recipients from this account",
    "recipients_per_sender_domain": "too many recipients from the sender's domain",
    "failed_recipients_per_address": "too many unknown recipients from your address",
    "commands_per_address": "too many commands from your address",
}


class SlidingWindow:
    """The times of the events within the last ``rate.seconds``, up to ``rate.count`` of them."""

    __slots__ = ("_counts", "_times", "_total")

    def __init__(self) -> None:
        self._times = array("d")
        self._counts = array("L")
        self._total = 0

    @property
    def entries(self) -> int:
        """The number of stored times."""
        return len(self._times)

    def add(self, now: float, rate: Rate) -> None:
        """Add an event. Times must not go backwards."""
        self._prune(now - rate.seconds)
        grain = rate.seconds / GRAINS
        if rate.count > GRAINS and self._times and self._times[-1] // grain == now // grain:
            self._times[-1] = now
            self._counts[-1] += 1
        else:
            self._times.append(now)
            self._counts.append(1)
        self._total += 1

    def wait(self, now: float, rate: Rate) -> float:
        """Seconds until another event is allowed; 0 for now."""
        self._prune(now - rate.seconds)
        needed = self._total - rate.count + 1
        if needed <= 0:
            return 0.0
        freed = accumulate(self._counts)
        return next(
            time + rate.seconds - now for time, free in zip(self._times, freed, strict=True) if free >= needed
        )

    def _prune(self, before: float) -> None:
        """Drop the events that have left the window."""
        old = bisect_right(self._times, before)
        if old:
            self._total -= sum(self._counts[:old])
            del self._times[:old], self._counts[:old]


class RateLimiter:
    """Counts events by rule and key. The rates may change at any time."""

    __slots__ = ("_rates", "_seconds", "_windows")

    def __init__(self, settings: LimitsSection, seconds: Callable[[], float]) -> None:
        """``seconds`` is a clock that does not go backwards."""
        self._seconds = seconds
        self._windows: dict[str, ExpiringTable[str, SlidingWindow]] = {}
        self.replace(settings)

    def __len__(self) -> int:
        """The number of keys of all rules."""
        return sum(map(len, self._windows.values()))

    def replace(self, settings: LimitsSection) -> None:
        """Apply new rates. All counts stay."""
        rates: dict[str, Rate] = {rule: getattr(settings, rule) for rule in _REASONS}
        self._rates = {rule: rate for rule, rate in rates.items() if rate}
        old, self._windows = self._windows, {}
        for rule, rate in self._rates.items():
            windows = old.get(rule)
            if windows is None:
                windows = ExpiringTable(MAX_KEYS, rate.seconds, self._seconds)
            windows.lifetime = rate.seconds
            self._windows[rule] = windows

    def check(self, rule: str, who: str) -> Defer | None:
        """Return why ``rule`` rejects another event of ``who``, None if it does not. Counts nothing."""
        if who == UNCOUNTED or rule not in self._rates:
            return None
        window = self._windows[rule].get(who)
        if window is None or not (wait := window.wait(self._seconds(), self._rates[rule])):
            return None
        text = f"{_REASONS[rule]}; please try again in {readable_time(wait)}"
        return Defer(NOT_AUTHORIZED, text, f"limits.{rule}")

    def take(self, *charges: tuple[str, str]) -> Defer | None:
        """Count an event for each ``(rule, who)``. If one of them rejects it, return why and count nothing.

        Nothing is counted for :data:`~mailserver.net.clients.UNCOUNTED`.
        """
        rates = self._rates
        counted = [charge for charge in charges if charge[0] in rates and charge[1] != UNCOUNTED]
        for rule, who in counted:
            if refusal := self.check(rule, who):
                return refusal
        for rule, who in counted:
            window = self._windows[rule].get(who) or SlidingWindow()
            window.add(self._seconds(), self._rates[rule])
            self._windows[rule].put(who, window)
        return None
