"""The memory of the queue about destinations: which have answered recently, and which are down.

It is lost at a restart, and bounded. Times are of the steady clock, in seconds since the epoch.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar

import attrs

from mailserver.mail import outcome
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import LOCAL

REMEMBERED = 10_000  # destinations of each kind

_V = TypeVar("_V")


@attrs.frozen
class Down:
    """A destination that is unreachable: the outcome for its messages until a time."""

    until: float
    outcome: outcome.Deferred


class Reachability:
    """Remembers which destinations have answered, and which are down."""

    def __init__(self) -> None:
        self._proven: OrderedDict[str, None] = OrderedDict()
        self._down: OrderedDict[str, Down] = OrderedDict()

    def is_proven(self, destination: str) -> bool:
        """Whether the destination has answered recently. The mailboxes here always do."""
        return destination == LOCAL or destination in self._proven

    def down(self, destination: str, now: float) -> outcome.Deferred | None:
        """The outcome for all messages to the destination, None unless it is down."""
        found = self._down.get(destination)
        return found.outcome if found is not None and found.until > now else None

    def forget_failures(self, destination: str) -> None:
        """Try the destination again, even if it was unreachable a moment ago."""
        self._down.pop(destination, None)

    def learn(self, destination: str, results: Iterable[DeliveryOutcome], probe: float) -> bool:
        """Note the outcomes of an attempt. Returns whether the destination is down; then the next attempt
        may begin at ``probe``."""
        for each in results:
            if isinstance(each, outcome.Deferred) and each.unreachable:
                _remember(self._down, destination, Down(probe, attrs.evolve(each, unreachable=False)))
                self._proven.pop(destination, None)
                return True
            if isinstance(each, outcome.Delivered) or each.reply:
                self._down.pop(destination, None)
                _remember(self._proven, destination, None)
        return False


def _remember(known: "OrderedDict[str, _V]", name: str, value: _V) -> None:
    known[name] = value
    known.move_to_end(name)
    if len(known) > REMEMBERED:
        known.popitem(last=False)
