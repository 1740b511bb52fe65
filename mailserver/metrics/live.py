"""The live state of a server for ``mailserver top``: sums of events, the last ones, the busiest clients.

Nothing is observed before the first request, and nothing any more :data:`WATCHED_FOR` seconds after the last.
"""

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from mailserver import __version__
from mailserver.errors import one_line
from mailserver.events.base import Event, observe, stop_observing
from mailserver.interfaces import IReactor
from mailserver.metrics.counts import EventCounts
from mailserver.metrics.state import ServerState
from mailserver.threads.durations import Durations

WATCHED_FOR = 15.0  # seconds
LAST = 50  # events
MOST_NAMES = 2000  # clients or accounts that are counted
BUSIEST = 10


class BusiestNames:
    """Counts names, such as those of clients. If there are too many, the rarest ones are forgotten."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count a name once more."""
        self._counts[name] += 1
        if len(self._counts) > MOST_NAMES:
            self._counts = Counter(dict(self._counts.most_common(MOST_NAMES // 2)))

    def most(self) -> list[tuple[str, int]]:
        """The most frequent names with their counts."""
        return self._counts.most_common(BUSIEST)


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

    def parts(self) -> dict[str, object]:
        """Sums, events and names, for JSON."""
        sums: dict[str, int] = {}
        for (name, labels), number in self.counts.sums().items():
            key = ".".join([name.removesuffix("_total"), *labels[-1:]])
            if name != "events_total":
                sums[key] = sums.get(key, 0) + number
        with self._lock:
            last, clients, accounts = [*self._last], self._clients.most(), self._accounts.most()
        return {
            "watched": time.time() - self.began,
            "counts": sums,
            "events": [_shown(event) for event in last],
            "clients": _named(clients),
            "accounts": _named(accounts),
        }


def _named(found: Iterable[tuple[str, int]]) -> list[dict[str, object]]:
    return [{"name": one_line(name), "events": count} for name, count in found]


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

    def shown(self, state: ServerState) -> dict[str, object]:
        """The state, and what was observed, for JSON."""
        recent = self._recent or RecentEvents()
        return {
            "hostname": self._hostname,
            "version": __version__,
            "pid": os.getpid(),
            "time": time.time(),
            "uptime": self._reactor.seconds() - self._began,
            "problem": state.problem,
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
            "storage": {name: _times(one) for name, one in self._durations.items()},
            **recent.parts(),
        }


def _times(durations: Durations) -> dict[str, object]:
    return {
        "count": sum(durations.counts),
        "seconds": durations.total,
        "longest": durations.take_longest(),
    }
