"""The figures of the workers of one server, as values, and their sums.

A process counts from 0. A sum over all workers must not decrease when one of them ends and another process
takes its place, so the last figures of processes that have ended are kept.
"""

from collections.abc import Mapping
from typing import TypeVar

import attrs

from mailserver.metrics.counts import SampleKey
from mailserver.metrics.state import Histogram, Sessions

K = TypeVar("K")
NO_TIMES = Histogram((), 0.0)


def added(one: Mapping[K, int], other: Mapping[K, int]) -> dict[K, int]:
    """The sums by key. Zeros stay."""
    sums = dict(one)
    for key, number in other.items():
        sums[key] = sums.get(key, 0) + number
    return sums


@attrs.frozen(kw_only=True)
class Counters:
    """Numbers that only grow while a process lives; see :class:`~mailserver.metrics.state.ServerState`.
    ``events`` are the sums of :class:`~mailserver.metrics.counts.EventCounts`."""

    events: Mapping[SampleKey, int] = attrs.field(factory=dict)
    sessions: Sessions = attrs.field(factory=dict)
    lookups: Mapping[tuple[str, str], int] = attrs.field(factory=dict)
    delivered: int = 0
    commits: Histogram = NO_TIMES
    syncs: Histogram = NO_TIMES

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(
            events=added(self.events, other.events),
            sessions=added(self.sessions, other.sessions),
            lookups=added(self.lookups, other.lookups),
            delivered=self.delivered + other.delivered,
            commits=self.commits + other.commits,
            syncs=self.syncs + other.syncs,
        )


@attrs.frozen(kw_only=True)
class WorkerFigures:
    """The figures of one worker. ``began`` is the start of its process in seconds since the epoch. ``cpu`` is
    its CPU time in seconds. ``problem`` is the reason why it accepts no mail, "" if it does."""

    pid: int
    began: float
    cpu: float
    problem: str
    open_sessions: Sessions
    unsynced: int
    counters: Counters

    @property
    def process(self) -> tuple[int, float]:
        """Identifies the process."""
        return self.pid, self.began


@attrs.frozen
class KnownFigures:
    """The counters of processes that have ended, and the last figures of each worker by its number."""

    ended: Counters = Counters()
    last: Mapping[int, WorkerFigures] = attrs.field(factory=dict)

    def took(self, number: int, figures: WorkerFigures) -> "KnownFigures":
        """With newer figures of a worker."""
        before = self.last.get(number)
        gone = before is not None and before.process != figures.process
        ended = self.ended + before.counters if before is not None and gone else self.ended
        return KnownFigures(ended, {**self.last, number: figures})

    def after(self, earlier: "KnownFigures") -> "KnownFigures":
        """With what an earlier process of the first worker knew."""
        both = attrs.evolve(earlier, ended=earlier.ended + self.ended)
        for number, figures in self.last.items():
            both = both.took(number, figures)
        return both

    @property
    def counters(self) -> Counters:
        """The counters of the server."""
        return sum((each.counters for each in self.last.values()), self.ended)
