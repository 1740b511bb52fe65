"""The spools of several workers in one listing.

The first worker has all waiting messages. The spools of the others only have messages whose copies may not be
synced yet.
"""

from collections.abc import Callable, Mapping

import attrs
from zope.interface import implementer

from mailserver.queue.entries import DestinationSummary, Listed, QueueCounts, Shown
from mailserver.queue.interfaces import ISpoolView
from mailserver.queue.selection import Selection

_MOST = 1 << 16  # workers


@implementer(ISpoolView)
class SeveralSpools:
    """The spool of the ``first`` worker, and those of the ``others`` by their numbers.

    The numbers of messages are not those in their spools: the commands that change the queue cannot use
    them."""

    def __init__(self, first: ISpoolView, others: Callable[[], Mapping[int, ISpoolView]]) -> None:
        self._first = first
        self._others = others

    def page(self, selection: Selection, after: int, limit: int) -> list[Listed]:
        """See :class:`ISpoolView`."""
        found = []
        for worker, spool in {1: self._first, **self._others()}.items():
            for one in spool.page(selection, (after - worker) // _MOST, limit):
                assert isinstance(one.seq, int)
                found.append((one.seq * _MOST + worker, one))
        found.sort(key=lambda each: each[0])
        return [attrs.evolve(one, seq=number) for number, one in found[:limit]]

    def find(self, id: str) -> list[Shown]:
        """See :class:`ISpoolView`."""
        return [one for spool in (self._first, *self._others().values()) for one in spool.find(id)]

    def summary(self) -> list[DestinationSummary]:
        """See :class:`ISpoolView`."""
        return self._first.summary()

    def counts(self, now: float) -> QueueCounts:
        """See :class:`ISpoolView`."""
        return self._first.counts(now)
