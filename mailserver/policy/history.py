"""The history of contacts, as the checks use it, and the check that writes whom the users here write to."""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.errors import StorageError
from mailserver.interfaces import IContent
from mailserver.mail.address import Address
from mailserver.mail.seen import Seen, SeenKey
from mailserver.policy.strangers import is_stranger
from mailserver.reception.checks import ACCEPTED, CheckResult, CheckVerdict, IFinalCheck
from mailserver.reception.transaction import Transaction

UPDATE_STEP = 86400.0  # seconds: a later sight within that time is not recorded

Found = Mapping[SeenKey, Seen]


class History(Protocol):
    """Knows who was seen."""

    def find(self, *keys: SeenKey) -> Found | Deferred[Found]:
        """The entries with these keys that exist and have not expired. Fails with StorageError."""

    def record(self, key: SeenKey, seen: Seen) -> None:
        """Add or replace an entry."""


def written_key(address: Address) -> SeenKey:
    """The key of an address that somebody here has written to."""
    return "written", str(address.key)


def heard_key(address: Address) -> SeenKey:
    """The key of an address that has written to here."""
    return "heard", str(address.key)


async def find(history: History, keys: Collection[SeenKey]) -> Found:
    """The entries with these keys. Raises StorageError."""
    found = history.find(*keys)
    return await found if isinstance(found, Deferred) else found


def see(history: History, key: SeenKey, known: Seen | None, now: float) -> None:
    """Record that something is seen now. ``known`` is its entry, if there is one."""
    if known is None:
        history.record(key, Seen(now, now))
    elif not 0 <= now - known.last < UPDATE_STEP:
        history.record(key, attrs.evolve(known, last=now))


@implementer(IFinalCheck)
class Correspondents:
    """Records the addresses on other servers that clients write to who are no strangers: accounts, local
    programs, exempt networks. Accepts all mail."""

    def __init__(self, history: History, is_exempt: Callable[[str], bool], now: Callable[[], float]) -> None:
        """``is_exempt``: see :func:`~mailserver.policy.strangers.is_stranger`. ``now`` returns the seconds
        since the epoch."""
        self._history = history
        self._is_exempt = is_exempt
        self._now = now

    def check_final(self, transaction: Transaction, content: IContent) -> CheckResult:
        """See :class:`~mailserver.reception.checks.IFinalCheck`."""
        # Mail with the null reverse-path is an automatic answer.
        if transaction.reverse_path is None or is_stranger(transaction.client, self._is_exempt):
            return ACCEPTED
        keys = [written_key(one.address) for one in transaction.recipients if one.routed.relayed]
        if not keys:
            return ACCEPTED
        found = self._history.find(*keys)
        if isinstance(found, Deferred):
            return found.addCallbacks(self._seen, without_history, callbackArgs=(keys,))
        return self._seen(found, keys)

    def _seen(self, found: Found, keys: Collection[SeenKey]) -> CheckVerdict:
        now = self._now()
        for key in keys:
            see(self._history, key, found.get(key), now)
        return ACCEPTED


def without_history(failure: Failure) -> CheckVerdict:
    """Accept mail if the history cannot be read."""
    failure.trap(StorageError)
    return ACCEPTED
