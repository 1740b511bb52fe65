"""Against the guessing of passwords: answers that take longer and longer, and names that are closed to
an address for a while. Knows no password and no account; whether a name exists makes no difference here.

Two things are counted. *Failures of an address*, whatever the names: each doubles the time that the
answer takes, and until that answer is due every other attempt from there waits, too, so that hanging
up early wins nothing; nor does coming over many connections, since beyond the first few those that are
under way wait in line. *Failures of an address for one name*: at
:attr:`LimitsSection.auth_block_after` of them that name is closed to that address, and to no other.

A success clears the second count for its own name, and never the first: who has one account could
guess at others for ever, logging in to his own in between. The first is forgotten after :data:`FORGET_AFTER`
seconds without a failure. What a success does give: the next attempts from that address for that name
wait for nobody, so that a neighbour behind the same NAT with an old password in his telephone does no harm.
"""

from collections import Counter
from collections.abc import Callable

import attrs

from mailserver.config.keys.limits import LimitsSection
from mailserver.mail.rate import Rate
from mailserver.net.clients import UNCOUNTED
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.rates import SlidingWindow

MAX_DELAY = 30.0  # seconds: clients give up after a minute or so
FORGET_AFTER = 900.0  # seconds
# Attempts of an address without a failure that may be under way together: programs open several connections.
FREE_ATTEMPTS = 4
POLL_INTERVAL = 0.1  # seconds, after which an attempt that may not be looked at yet asks again
MAX_KEYS = 20_000
# No account has a name longer than an address may be; a stranger's must not fill the memory.
_MAX_NAME = 320


@attrs.define
class _Failures:
    """Those of an address. ``due`` is when the last of them is answered; ``open`` attempts are under way."""

    count: int = 0
    due: float = 0.0
    open: int = 0


@attrs.define
class _Attempts:
    """Failures of an address for one name; ``blocked`` lasts until all of them are forgotten."""

    window: SlidingWindow = attrs.field(factory=SlidingWindow)
    blocked: bool = False


_Pair = tuple[str, str]


class AuthGuard:
    """Says how long attempts to log in have to wait, and which are not to be looked at.

    ``client`` is always what :func:`~mailserver.net.clients.client_key` says of the address, and
    ``name`` the account's name in its one normal form, or whatever else the client sent.

    For each attempt call :meth:`begin`; wait that long; ask :meth:`may_check`, again and again, until it
    allows to check the proof or the name is :meth:`blocked`; once it is checked call :meth:`checked`, and
    refuse it all the same if the name is blocked by then; call :meth:`succeeded` or :meth:`failed`,
    whether or not the client is still there; and in any case :meth:`end`.
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
        """The number of entries remembered."""
        return len(self._failures) + len(self._pairs) + len(self._succeeded)

    def replace(self, settings: LimitsSection) -> None:
        """Put other settings in force; what has been counted stays counted."""
        self._settings = settings
        self._pairs.lifetime = settings.auth_block

    def begin(self, client: str, name: str) -> float:
        """An attempt begins. Returns the seconds to wait before the proof is looked at."""
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
        """Whether the proof is not to be looked at.

        That is to be answered like a wrong password, after :meth:`failed` and its delay, so that
        nobody sees the difference.
        """
        return client != UNCOUNTED and self._is_blocked(self._pairs.get(_pair(client, name)))

    def may_check(self, client: str, name: str) -> bool:
        """Whether the proof may be checked now. True is to be followed by :meth:`checked`.

        No more are checked at a time than may fail before the name is blocked. Otherwise all that come
        at the same moment would be, and the right one among them might be the first to be answered.
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
        """The proof has been checked, or nobody waits for that any longer."""
        if client == UNCOUNTED:
            return
        pair = _pair(client, name)
        self._being_checked[pair] -= 1
        if not self._being_checked[pair]:
            del self._being_checked[pair]

    def end(self, client: str) -> None:
        """An attempt is over, however it went."""
        failures = self._failures.get(client) if client != UNCOUNTED else None
        if failures is not None:
            failures.open = max(0, failures.open - 1)
            if not (failures.open or failures.count):
                self._failures.drop(client)

    def failed(self, client: str, name: str, *, wrong: bool = True) -> float:
        """An attempt has failed. Returns the seconds that its answer has to wait.

        If nobody knows whether it was ``wrong`` it is as slow, but closes no name.
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
        # Beyond the sixtieth every delay is the longest one, and the power would overflow in the end.
        return min(MAX_DELAY, self._settings.auth_failure_delay * 2.0 ** min(count - 1, 60))

    def _is_blocked(self, attempts: _Attempts | None) -> bool:
        return attempts is not None and attempts.blocked and self._settings.auth_block_after > 0

    def _count(self, pair: _Pair) -> None:
        self._succeeded.drop(pair)
        attempts = self._pairs.get(pair) or _Attempts()
        # What was not looked at does not prolong the block: a program with the right password that
        # asks every minute would never get in again.
        most = Rate(self._settings.auth_block_after, self._settings.auth_block)
        if not most or self._is_blocked(attempts):
            return
        now = self._seconds()
        attempts.window.add(now, most)
        attempts.blocked = attempts.window.wait(now, most) > 0
        self._pairs.put(pair, attempts)


def _pair(client: str, name: str) -> _Pair:
    return client, name[:_MAX_NAME]
