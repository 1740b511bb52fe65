"""Protection against password guessing: growing delays, and names that are blocked for an address.

The guard knows no passwords and no accounts; known and unknown names are the same to it. It counts two
things:

* Failures of an address, for all names. Each failure doubles the delay of its reply. All other attempts from
  that address wait until the reply is due, so an early disconnect gains nothing. Beyond the first few,
  attempts on several connections wait one after another.
* Failures of an address for one name. After ``limits.auth_block_after`` failures the name is blocked for that
  address, and for no other.

A success clears the second count for its name. It does not clear the first count: otherwise the owner of one
account could guess the passwords of others, with logins of his own in between. The first count expires after
:data:`FORGET_AFTER` seconds without a failure. After a success the next attempts from that address for that
name do not wait: a neighbour behind the same NAT with an old password does no harm.
"""

from collections import Counter
from collections.abc import Callable

import attrs

from mailserver.config.keys.limits import LimitsSection
from mailserver.mail.rate import Rate
from mailserver.net.clients import UNCOUNTED
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.rates import SlidingWindow

MAX_DELAY = 30.0  # seconds; clients give up after about a minute
FORGET_AFTER = 900.0  # seconds
# Attempts of an address without a failure that may run at the same time: programs open several connections.
FREE_ATTEMPTS = 4
POLL_INTERVAL = 0.1  # seconds until an attempt that must wait asks again
MAX_KEYS = 20_000
# No account has a longer name. It bounds the memory for names that clients send.
_MAX_NAME = 320


@attrs.define
class _Failures:
    """Failures of an address. ``due`` is the time of the last reply; ``open`` attempts are running."""

    count: int = 0
    due: float = 0.0
    open: int = 0


@attrs.define
class _Attempts:
    """Failures of an address for one name. ``blocked`` lasts until all of them have expired."""

    window: SlidingWindow = attrs.field(factory=SlidingWindow)
    blocked: bool = False


_Pair = tuple[str, str]


class AuthGuard:
    """Decides how long login attempts wait, and which ones are blocked.

    ``client`` is the result of :func:`~mailserver.net.clients.client_key`. ``name`` is the name of the
    account in its normal form, or any other name that the client sent.

    For each attempt call :meth:`begin` and wait that long. Call :meth:`may_check` until it returns True or
    the name is :meth:`blocked`. Check the credentials, then call :meth:`checked`; reject them if the name is
    blocked by now. Call :meth:`succeeded` or :meth:`failed`, even if the client has disconnected. At last
    call :meth:`end`.
    """

    __slots__ = ("_being_checked", "_failures", "_pairs", "_seconds", "_settings", "_succeeded")

    def __init__(self, settings: LimitsSection, seconds: Callable[[], float]) -> None:
        """``seconds`` is a clock that does not go backwards."""
        self._seconds = seconds
        self._failures: ExpiringTable[str, _Failures] = ExpiringTable(MAX_KEYS, FORGET_AFTER, seconds)
        self._pairs: ExpiringTable[_Pair, _Attempts] = ExpiringTable(MAX_KEYS, 0, seconds)
        self._succeeded: ExpiringTable[_Pair, bool] = ExpiringTable(MAX_KEYS, FORGET_AFTER, seconds)
        self._being_checked: Counter[_Pair] = Counter()
        self.replace(settings)

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._failures) + len(self._pairs) + len(self._succeeded)

    def replace(self, settings: LimitsSection) -> None:
        """Apply new settings. All counts stay."""
        self._settings = settings
        self._pairs.lifetime = settings.auth_block

    def begin(self, client: str, name: str) -> float:
        """An attempt begins. Returns the seconds to wait before its credentials are checked."""
        if client == UNCOUNTED:
            return 0.0
        failures = self._failures.get(client)
        if failures is None:
            failures = _Failures()
            self._failures.put(client, failures)
        failures.open += 1
        if self._succeeded.get(_pair(client, name)):
            return 0.0
        ahead = failures.open - (1 if failures.count else FREE_ATTEMPTS)
        wait = max(0.0, failures.due - self._seconds())
        return wait + max(0, ahead) * self._delay(failures.count + 1)

    def blocked(self, client: str, name: str) -> bool:
        """Whether the credentials must not be checked.

        Reply as to a wrong password, after :meth:`failed` and its delay, so that the client sees no
        difference.
        """
        return client != UNCOUNTED and self._is_blocked(self._pairs.get(_pair(client, name)))

    def may_check(self, client: str, name: str) -> bool:
        """Whether the credentials may be checked now. After True, call :meth:`checked`.

        The number of checks at a time is at most the number of failures left before the name is blocked.
        Otherwise many guesses at the same moment would all be checked before the block.
        """
        if client == UNCOUNTED:
            return True
        pair, settings = _pair(client, name), self._settings
        looking, attempts = self._being_checked[pair], self._pairs.get(pair)
        if looking and settings.auth_block_after and settings.auth_block:
            most = Rate(settings.auth_block_after - looking, settings.auth_block)
            if not most or (attempts is not None and attempts.window.wait(self._seconds(), most)):
                return False
        self._being_checked[pair] += 1
        return True

    def checked(self, client: str, name: str) -> None:
        """The credentials are checked, or the check is cancelled."""
        if client == UNCOUNTED:
            return
        pair = _pair(client, name)
        self._being_checked[pair] -= 1
        if not self._being_checked[pair]:
            del self._being_checked[pair]

    def end(self, client: str) -> None:
        """An attempt is over, with any result."""
        failures = self._failures.get(client) if client != UNCOUNTED else None
        if failures is not None:
            failures.open = max(0, failures.open - 1)
            if not (failures.open or failures.count):
                self._failures.drop(client)

    def failed(self, client: str, name: str, *, wrong: bool = True) -> float:
        """An attempt has failed. Returns the delay of its reply in seconds.

        ``wrong`` is False if the credentials could not be checked: the delay is the same, but no name is
        blocked.
        """
        if client == UNCOUNTED:
            return 0.0
        if wrong:
            self._count(_pair(client, name))
        failures = self._failures.get(client) or _Failures()
        failures.count += 1
        delay = self._delay(failures.count)
        failures.due = self._seconds() + delay
        self._failures.put(client, failures)
        return delay

    def succeeded(self, client: str, name: str) -> None:
        """An attempt has succeeded."""
        if client == UNCOUNTED:
            return
        pair = _pair(client, name)
        self._pairs.drop(pair)
        self._succeeded.put(pair, True)

    def _delay(self, count: int) -> float:
        # The delay is the maximum long before the sixtieth failure; a larger power would overflow.
        return min(MAX_DELAY, self._settings.auth_failure_delay * 2.0 ** min(count - 1, 60))

    def _is_blocked(self, attempts: _Attempts | None) -> bool:
        return attempts is not None and attempts.blocked and self._settings.auth_block_after > 0

    def _count(self, pair: _Pair) -> None:
        self._succeeded.drop(pair)
        attempts = self._pairs.get(pair) or _Attempts()
        # Blocked attempts do not prolong the block. Otherwise a program with the right password that asks
        # every minute would be blocked for ever.
        most = Rate(self._settings.auth_block_after, self._settings.auth_block)
        if not most or self._is_blocked(attempts):
            return
        now = self._seconds()
        attempts.window.add(now, most)
        attempts.blocked = attempts.window.wait(now, most) > 0
        self._pairs.put(pair, attempts)


def _pair(client: str, name: str) -> _Pair:
    return client, name[:_MAX_NAME]
