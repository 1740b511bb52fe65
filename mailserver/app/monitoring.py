"""Monitoring: the metrics and the health of the whole server, for listeners with ``protocol = "metrics"``.

It observes the events only if there is such a listener. The first worker has the listener, and all others
count for it, see ``app.figures``. The recipients in the queue are counted again only
after :data:`COUNTED_FOR` seconds, and with a long queue after a hundred times the time that counting takes.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service

from mailserver.app.figures import FiguresOfAll, WorkerQuestions
from mailserver.cluster.interfaces import IPeers
from mailserver.config.keys.top_level import Config
from mailserver.control.channel import CommandOutcome
from mailserver.errors import StorageError
from mailserver.events.base import observe, stop_observing
from mailserver.interfaces import IMailboxStore, IReactor
from mailserver.mail.address import Address
from mailserver.metrics.counts import EventCounts
from mailserver.metrics.figures import Counters, WorkerFigures, added
from mailserver.metrics.live import LiveView
from mailserver.metrics.state import DiskRoom, Histogram, QueueState, ServerState, Sessions
from mailserver.net.listener import ListeningFactory
from mailserver.queue.spool import Spool
from mailserver.threads.pool import Threads

METRICS = "metrics"
COUNTED_FOR = 15.0  # seconds
SHARE = 100.0  # times the time of a count


@attrs.frozen(kw_only=True)
class MonitoredParts:
    """The parts of the server that the state comes from. Their functions are for the reactor's thread."""

    config: Config
    spool: Spool
    store: IMailboxStore
    sessions: Callable[[], tuple[Sessions, Sessions]]
    lookups: Callable[[], Mapping[tuple[str, str], int]]
    certificates: Callable[[], Mapping[str, float]]
    accounts: Callable[[], list[Address]]


class QueueCounter:
    """Counts the recipients in the queue, not too often. For one thread at a time."""

    def __init__(
        self,
        spool: Spool,
        now: Callable[[], float] = time.time,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._now = now
        self._seconds = seconds
        self._state = QueueState({}, 0.0)
        self._again = 0.0

    def state(self) -> QueueState:
        """The last count, or a new one. Blocks; raises ``OSError``."""
        began = self._seconds()
        if began >= self._again or not self._state.recipients:
            now = self._now()
            found = self._spool.view.counts(now)
            self._state = QueueState(
                {"due": found.due, "waiting": found.waiting, "held": found.held},
                0.0 if found.oldest is None else max(0.0, now - found.oldest),
            )
            ended = self._seconds()
            self._again = ended + max(COUNTED_FOR, SHARE * (ended - began))
        return self._state


class Monitoring(Service):
    """Observes the events while it runs, if a listener needs them, and makes the metrics at each request.

    ``began`` is the start of this worker in seconds since the epoch."""

    def __init__(self, sources: MonitoredParts, reactor: IReactor, threads: Threads, peers: IPeers) -> None:
        self._sources = sources
        self._reactor = reactor
        self._threads = threads
        self._counts = EventCounts()
        self._queue = QueueCounter(sources.spool)
        self._live = LiveView(
            reactor, sources.config.hostname, sources.spool.groups, sources.spool.checkpoint.syncs
        )
        self._workers = WorkerQuestions(peers, self._figures, self._live, reactor)
        self.began = time.time()
        self._stopping = False
        self._observes = any(listen.protocol == METRICS for listen in sources.config.listen)

    def startService(self) -> None:
        Service.startService(self)
        if self._observes:
            observe(self._counts)

    def stopService(self) -> None:
        """Observe no more events."""
        Service.stopService(self)
        self._live.rest()
        if self._observes:
            stop_observing(self._counts)

    def stops(self) -> None:
        """The server begins to stop: it is not ready any more."""
        self._stopping = True

    def factory(self, tls: Callable[[], object] | None) -> ListeningFactory:
        """The factory of a listener. ``tls`` returns the TLS context of the next connection."""
        # Most servers never need it.
        from mailserver.metrics.http import MonitoringPages, monitoring_listening

        return monitoring_listening(MonitoringPages(self.scrape, self.problem), self._reactor, tls)

    async def problem(self) -> str:
        """The reason why the server accepts no mail, "" if it does."""
        disk = await self._threads.run(self._disk)
        return self._problem(disk) or (await self._workers.ask()).problem

    def _problem(self, disk: DiskRoom | None) -> str:
        if self._stopping or not self.running:
            return "the server stops"
        if disk is None:
            return "the data directory is unreadable"
        if disk.reserve and disk.free <= disk.reserve:
            return "the disk is full, except for storage.reserve"
        return self._slow_disk()

    def _slow_disk(self) -> str:
        if self._sources.spool.checkpoint.is_behind:
            return "the disk is too slow: too many messages are not yet synced to their mailboxes"
        return ""

    def _figures(self) -> WorkerFigures:
        """The figures of this worker."""
        sources, spool = self._sources, self._sources.spool
        opened, all_sessions = sources.sessions()
        return WorkerFigures(
            pid=os.getpid(),
            began=self.began,
            cpu=time.process_time(),
            problem=self._slow_disk(),
            open_sessions=dict(opened),
            unsynced=spool.checkpoint.count,
            counters=Counters(
                events=self._counts.sums(),
                sessions=dict(all_sessions),
                lookups=dict(sources.lookups()),
                delivered=spool.delivered,
                commits=Histogram.of(spool.groups),
                syncs=Histogram.of(spool.checkpoint.syncs),
            ),
        )

    async def scrape(self, mailboxes: bool) -> bytes:
        """The metrics in Prometheus' text format."""
        from mailserver.metrics.exposition import exposition

        found = await self._mailboxes() if mailboxes else None
        workers = await self._workers.ask()
        state = await self.state(workers, found)
        return await self._threads.run(exposition, workers.known.counters.events, state)

    async def live(self) -> CommandOutcome:
        """The state for ``mailserver top``, as an object in JSON."""
        workers = await self._workers.ask(live=True)
        state = await self.state(workers)
        return CommandOutcome((json.dumps(self._live.shown(state, workers.observed)),))

    async def state(
        self, workers: FiguresOfAll, mailboxes: Mapping[str, tuple[int, int]] | None = None
    ) -> ServerState:
        """The state of the server now."""
        disk = await self._threads.run(self._disk)
        queue = await self._threads.run_long(self._queue_state)
        counters, last = workers.known.counters, workers.known.last.values()
        return ServerState(
            problem=self._problem(disk) or workers.problem,
            open_sessions=reduce(added, (each.open_sessions for each in last)),
            sessions=counters.sessions,
            lookups=counters.lookups,
            certificates=self._sources.certificates(),
            delivered=counters.delivered,
            unsynced=sum(each.unsynced for each in last),
            commits=counters.commits,
            syncs=counters.syncs,
            queue=queue,
            disk=disk,
            mailboxes=mailboxes,
            workers=workers.workers,
        )

    def _disk(self) -> DiskRoom | None:
        storage = self._sources.config.storage
        try:
            return disk_room(self._sources.config.data, 0 if storage.engine == "memory" else storage.reserve)
        except OSError:
            return None

    def _queue_state(self) -> QueueState | None:
        try:
            return self._queue.state()
        except OSError:
            return None

    async def _mailboxes(self) -> dict[str, tuple[int, int]]:
        """Messages and octets of the mailbox of each account. The store lists them in threads."""
        found = {}
        for address in self._sources.accounts():
            try:
                view: Any = await self._sources.store.browse(address)
            except StorageError:
                continue  # the store has reported it
            found[str(address)] = len(view.messages), view.messages.octets
        return found


def disk_room(path: Path, reserve: int) -> DiskRoom:
    """The room on the disk of ``path``. Raises ``OSError``."""
    status = os.statvfs(path)
    return DiskRoom(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize, reserve)
