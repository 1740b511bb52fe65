"""The state of a server at one moment, as values."""

from collections.abc import Mapping
from itertools import zip_longest

import attrs

from mailserver.threads.durations import Durations

Sessions = Mapping[tuple[str, str], int]  # by protocol and TLS version


@attrs.frozen
class Histogram:
    """A copy of :class:`~mailserver.threads.durations.Durations`."""

    counts: tuple[int, ...]
    total: float

    @classmethod
    def of(cls, durations: Durations) -> "Histogram":
        """The durations so far."""
        return cls(tuple(durations.counts), durations.total)

    def __add__(self, other: "Histogram") -> "Histogram":
        counts = (one + two for one, two in zip_longest(self.counts, other.counts, fillvalue=0))
        return Histogram(tuple(counts), self.total + other.total)


@attrs.frozen
class DiskRoom:
    """Octets of the disk of the data directory; ``reserve`` is what new mail leaves free."""

    free: int
    size: int
    reserve: int


@attrs.frozen
class QueueState:
    """Recipients by their state, and the age of the oldest message in seconds."""

    recipients: Mapping[str, int]
    oldest: float


@attrs.frozen
class WorkerState:
    """One worker: the id of its process, its CPU time in seconds, its open sessions, and the messages that it
    has received since ``mailserver top`` observes it."""

    pid: int
    cpu: float
    sessions: int
    received: int = 0


@attrs.frozen(kw_only=True)
class ServerState:
    """The state of a server, of all its workers together.

    ``problem`` is the reason why it accepts no mail, "" if it does. ``sessions`` has all sessions since the
    start, ``open_sessions`` the open ones. ``certificates`` has their ends in seconds since the epoch.
    ``lookups`` are DNS lookups by type and outcome. ``queue`` and ``disk`` are None if they are unreadable.
    ``mailboxes`` has messages and octets of each mailbox, None if nobody has asked for them. ``workers`` are
    all workers by number, None for one that does not answer.
    """

    problem: str
    open_sessions: Sessions
    sessions: Sessions
    lookups: Mapping[tuple[str, str], int]
    certificates: Mapping[str, float]
    delivered: int
    unsynced: int
    commits: Histogram
    syncs: Histogram
    queue: QueueState | None
    disk: DiskRoom | None
    mailboxes: Mapping[str, tuple[int, int]] | None = None
    workers: Mapping[int, WorkerState | None] = attrs.field(factory=dict)
