"""The live state of a server for ``mailserver top``: sums of events, the last ones, the busiest clients.

Each worker observes its own events; the first one puts together what all have observed. Nothing is observed
before the first request, and nothing any more :data:`WATCHED_FOR` seconds after the last.
"""

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import asdict
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from mailserver import __version__
from mailserver.errors import one_line
from mailserver.events.base import Event, observe, stop_observing
from mailserver.interfaces import IReactor
from mailserver.metrics.counts import EventCounts
from mailserver.metrics.figures import added
from mailserver.metrics.state import ServerState
from mailserver.threads.durations import Durations

WATCHED_FOR = 15.0  # seconds
LAST = 50  # events
MOST_NAMES = 2000  # clients or accounts that are counted
KNOWN = 100  # names that a worker tells
BUSIEST = 10  # names that are shown


class BusiestNames:
    """Counts names, such as those of clients. If there are too many, the rarest ones are forgotten."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count a name once more."""
        self._counts[name] += 1
        if len(self._counts) > MOST_NAMES:
            self._counts = Counter(dict(self._counts.most_common(MOST_NAMES // 2)))

    def most(self) -> dict[str, int]:
        """The most frequent names with their counts."""
        return dict(self._counts.most_common(KNOWN))


@attrs.frozen
class StorageTimes:
    """How often a worker has done a kind of work since its start, and the seconds it took in all. ``longest``
    is the longest time since the last question."""

    count: int
    seconds: float
    longest: float

    @classmethod
    def of(cls, durations: Durations) -> "StorageTimes":
        """The durations so far."""
        return cls(sum(durations.counts), durations.total, durations.take_longest())

    def __add__(self, other: "StorageTimes") -> "StorageTimes":
        return StorageTimes(
            self.count + other.count, self.seconds + other.seconds, max(self.longest, other.longest)
        )


@attrs.frozen(kw_only=True)
class Observed:
    """What one worker has observed in the last ``watched`` seconds. ``events`` are objects for JSON."""

    watched: float
    counts: Mapping[str, int]
    events: Sequence[Mapping[str, Any]]
    clients: Mapping[str, int]
    accounts: Mapping[str, int]
    storage: Mapping[str, StorageTimes]


@implementer(ILogObserver)
class RecentEvents:
    """The sums of events, the last of them, and the busiest clients and accounts."""

    def __init__(self) -> None:
        self.counts = EventCounts()
        self.began = time.time()
        self._lock = threading.Lock()
        self._last: deque[LogEvent] = deque(maxlen=LAST)
        self._clients = BusiestNames()
        self._accounts = BusiestNames()

    def __call__(self, event: LogEvent) -> None:
        """Take an event. Any thread may log."""
        what: Any = event.get("log_event")
        if not isinstance(what, Event):
            return
        self.counts(event)
        fields = vars(what)
        client = fields.get("client")
        account = fields.get("account") or fields.get("user")
        with self._lock:
            self._last.append(event)
            if client:
                self._clients.add(str(client))
            if account:
                self._accounts.add(str(account))

    def observed(self, storage: Mapping[str, StorageTimes]) -> Observed:
        """Sums, events and names."""
        sums: dict[str, int] = {}
        for (name, labels), number in self.counts.sums().items():
            key = ".".join([name.removesuffix("_total"), *labels[-1:]])
            if name != "events_total":
                sums[key] = sums.get(key, 0) + number
        with self._lock:
            last, clients, accounts = [*self._last], self._clients.most(), self._accounts.most()
        return Observed(
            watched=time.time() - self.began,
            counts=sums,
            events=[_shown(event) for event in last],
            clients=clients,
            accounts=accounts,
            storage=storage,
        )


def _named(found: Mapping[str, int]) -> list[dict[str, object]]:
    most = sorted(found.items(), key=lambda one: -one[1])[:BUSIEST]
    return [{"name": one_line(name), "events": count} for name, count in most]


def _shown(event: LogEvent) -> dict[str, object]:
    return {
        "time": event["log_time"],
        "level": event["log_level"].name,
        "event": type(event["log_event"]).__name__,
        "text": one_line(str(event["log_format"]).format_map(event)),
    }


class LiveView:
    """Observes events while somebody asks for the state."""

    def __init__(self, reactor: IReactor, hostname: str, commits: Durations, syncs: Durations) -> None:
        self._reactor = reactor
        self._hostname = hostname
        self._durations = {"commit": commits, "sync": syncs}
        self._began = reactor.seconds()
        self._recent: RecentEvents | None = None
        self._timer: IDelayedCall | None = None

    def watch(self) -> None:
        """Observe from now on, unless nobody asks again."""
        if self._recent is None:
            self._recent = RecentEvents()
            observe(self._recent)
        if self._timer is not None:
            self._timer.reset(WATCHED_FOR)
        else:
            self._timer = self._reactor.callLater(WATCHED_FOR, self.rest)

    def rest(self) -> None:
        """Observe no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._recent is not None:
            stop_observing(self._recent)
            self._recent = None

    def observed(self) -> Observed:
        """What this worker has observed."""
        storage = {name: StorageTimes.of(one) for name, one in self._durations.items()}
        return (self._recent or RecentEvents()).observed(storage)

    def shown(self, state: ServerState, observed: Sequence[Observed]) -> dict[str, object]:
        """The state, and what all workers have observed, the first one first; for JSON."""
        counts: dict[str, int] = {}
        clients: dict[str, int] = {}
        accounts: dict[str, int] = {}
        storage = dict(observed[0].storage)
        for each in observed:
            counts = added(counts, each.counts)
            clients = added(clients, each.clients)
            accounts = added(accounts, each.accounts)
        for each in observed[1:]:
            storage = {name: times + each.storage[name] for name, times in storage.items()}
        events = sorted((one for each in observed for one in each.events), key=lambda one: one["time"])
        return {
            "hostname": self._hostname,
            "version": __version__,
            "pid": os.getpid(),
            "time": time.time(),
            "uptime": self._reactor.seconds() - self._began,
            "problem": state.problem,
            "workers": [
                {
                    "number": number,
                    **({"answers": False} if one is None else {"answers": True, **asdict(one)}),
                }
                for number, one in state.workers.items()
            ],
            "sessions": [
                {
                    "protocol": protocol,
                    "tls": tls,
                    "open": state.open_sessions.get((protocol, tls), 0),
                    "total": total,
                }
                for (protocol, tls), total in sorted(state.sessions.items())
            ],
            "delivered": state.delivered,
            "unsynced": state.unsynced,
            "queue": None
            if state.queue is None
            else {**state.queue.recipients, "oldest": state.queue.oldest},
            "disk": None if state.disk is None else {"free": state.disk.free, "size": state.disk.size},
            "storage": {name: asdict(one) for name, one in storage.items()},
            "watched": observed[0].watched,
            "counts": counts,
            "events": events[-LAST:],
            "clients": _named(clients),
            "accounts": _named(accounts),
        }
