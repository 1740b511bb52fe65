"""The queue runner: makes attempts for the recipients that are due, destination by destination.

It knows schedules, attempts and outcomes, but not how a message is delivered. Each destination has its own
queue in the spool, so a slow one does not delay the others. A destination takes a *turn*: a few of its due
messages are read together, and an attempt begins for each. Then the next destination has its turn. A new
message for a destination that answers needs no turn if nothing else is due there.

If an attempt finds that a destination is unreachable, its other messages are deferred without an attempt for
some time (``reachability``). Destinations that have not answered recently get one attempt each, and at most
half of all attempts, so many silent ones leave room for the others.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Container, Coroutine, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mailserver.errors import MessageDamaged, StorageError
from mailserver.events.base import report
from mailserver.events.queue import AttemptBroken, AttemptFailed, QueueUnreadable
from mailserver.interfaces import IDelivery, IReactor, QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.queued import LOCAL, QueuedRecipient
from mailserver.mail.reported import ReportedRecipient
from mailserver.queue.active import ActiveDestination, Loaded
from mailserver.queue.attempts import AttemptOutcomes, Attempts
from mailserver.queue.entries import Queued
from mailserver.queue.reachability import Reachability
from mailserver.queue.reports import Reports
from mailserver.queue.schedule import Concurrency, Schedule, steady
from mailserver.queue.spool import Spool
from mailserver.queue.window import QueueWindow
from mailserver.threads.pool import run_in_thread

LOCAL_AT_ONCE = 4  # attempts
UNPROVEN_AT_ONCE = 1  # attempts for a destination that has not answered recently
DEFERRED_AT_ONCE = 50  # messages for a destination that is down
PROBE_AFTER = 0.75  # of the time until a second attempt, for a destination that is down


class Runner:
    """Delivers the waiting messages of a spool. For the reactor's thread.

    ``deliveries`` has the delivery engines, by the first word of their destinations.
    """

    def __init__(
        self,
        spool: Spool,
        deliveries: Mapping[str, IDelivery],
        reports: Reports,
        schedule: Callable[[], Schedule],
        reactor: IReactor,
        *,
        concurrency: Callable[[], Concurrency] = Concurrency,
        jitter: Callable[[], float] = lambda: 1.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._schedule = schedule
        self._concurrency = concurrency
        self._reactor = reactor
        self._steady = steady(now, reactor)
        self._reports = reports
        self._attempts = Attempts(spool, deliveries, self._reports, schedule, now, self._steady, jitter)
        self._window = QueueWindow()
        self._active: dict[str, ActiveDestination] = {}
        self._running = 0  # attempts, and those that a turn may start
        self._unproven = 0  # the same, for destinations that have not answered recently
        self._reachability = Reachability()
        self._postponed: deque[str] = deque()  # unproven destinations that wait for their share
        self._timer: IDelayedCall | None = None
        self._resting: dict[tuple[int, str], IDelayedCall] = {}
        self._deferring = DeferredLock()
        self._busy: set[Deferred[None]] = set()
        self._stopped = False
        spool.confirms = self._confirms

    def start(self) -> None:
        """Begin to read the queue. Blocks briefly; raises ``OSError``."""
        # Even if the clock was wrong, no message waits longer than the schedule allows.
        self._spool.bring_forward(self._steady() + self._schedule().longest)
        self._spool.waits = self._waits
        self._spool.arrives = self._arrives
        self._begin()

    async def stop(self) -> None:
        """Start no more attempts, and wait for those in progress."""
        self._stopped = True
        self._window.clear()
        self._postponed.clear()
        for active in self._active.values():
            active.loaded.clear()
        for call in self._resting.values():
            call.cancel()
        self._set_timer()
        while self._busy:
            await next(iter(self._busy))
        await self._attempts.record_rest(lambda seq: run_in_thread(self._reactor, self._spool.load, seq))

    # ------------------------------------------------------------ for administrators

    def is_trying(self, destination: str, seq: int) -> bool:
        """Whether the message may be in an attempt for the destination."""
        active = self._active.get(destination)
        return active is not None and (seq in active.busy or self._window.is_taken(destination))

    def forget_failures(self, destination: str) -> None:
        """Try the destination again, even if it was down a moment ago."""
        self._reachability.forget_failures(destination)

    def unload(self, destination: str, seqs: Container[int]) -> None:
        """Read the messages again before an attempt begins: their recipients have changed in the spool."""
        if (active := self._active.get(destination)) is not None:
            active.unload(seqs)

    # ------------------------------------------------------------ scheduling

    def _confirms(self, message: QueuedMessage, recipients: Sequence[ReportedRecipient]) -> None:
        """A new message has reached recipients whose sender wants to know it."""
        self._start(self._reports.accepted(message, recipients))

    def _waits(self, destinations: Collection[str], when: float) -> None:
        """Recipients of these destinations have arrived."""
        if self._stopped:
            return
        for name in destinations:
            self._plan(when, name)
        self._begin()

    def _arrives(self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]) -> None:
        """A new message has arrived for recipients on other servers."""
        if self._stopped:
            return
        destinations: dict[str, list[QueuedRecipient]] = {}
        for each in recipients:
            destinations.setdefault(each.destination, []).append(each)
        planned = False
        for name, group in destinations.items():
            if not self._try_new(name, Queued(message, tuple(group))):
                self._plan(min(each.next for each in group), name)
                planned = True
        if planned:
            self._begin()

    def _try_new(self, name: str, queued: Queued) -> bool:
        """Try a new message, which need not be read from the spool, now or when an attempt ends: if the
        destination answers, has room, and no other message is due. Returns False if a turn must read it."""
        now, seq = self._steady(), queued.message.seq
        active = self._active.get(name) or ActiveDestination(name, self._reachability.is_proven(name))
        room = self._room(active)
        has_room = self._free if room else len(active.loaded) < self._most(active)
        # A turn may have read the message already.
        if not (active.proven and has_room) or active.more or seq in active.busy:
            return False
        if self._window.is_taken(name) or any(each.next > now for each in queued.recipients):
            return False
        self._active[name] = active
        active.busy.add(seq)
        self._spool.order.reach(name, queued.recipients[0].next)
        active.loaded.append((seq, queued))
        if room:
            self._begin_attempt(active, active.loaded.popleft())
        return True

    def _plan(self, when: float, name: str) -> None:
        """Plan a turn, or let the destination have another one as soon as it can."""
        active = self._active.get(name)
        if active is not None and not self._may_plan(active):
            active.more = True
        else:
            self._window.plan(when, name)

    def _may_plan(self, active: ActiveDestination) -> bool:
        return not (active.loaded or self._window.is_taken(active.name)) and self._room(active) > 0

    def _set_timer(self) -> None:
        """Set the timer to the next task, unless all attempts are in use: the end of one begins it."""
        at = None if self._stopped or not self._free else self._window.next()
        delay = 0.0 if at is None else max(at - self._steady(), 0.0)
        if self._timer is not None and self._timer.active():
            if at is not None and self._timer.getTime() <= self._reactor.seconds() + delay:
                return
            self._timer.cancel()
        self._timer = None if at is None else self._reactor.callLater(delay, self._begin)

    def _begin(self) -> None:
        """Start the turns of due destinations."""
        while not self._stopped and self._free and (name := self._next()) is not None:
            self._start(self._turn(name))
        if not self._stopped and (limit := self._window.wants(self._steady())):
            self._start(self._read(limit))
        self._set_timer()

    def _next(self) -> str | None:
        """The destination whose turn it is."""
        share = self._concurrency().attempts // 2
        if self._postponed and self._unproven < share:
            return self._postponed.popleft()
        while (name := self._window.take(self._steady())) is not None:
            if self._reachability.is_proven(name) or self._unproven < share or self._down_now(name):
                return name
            self._postponed.append(name)
        return None

    def _start(self, work: "Coroutine[Deferred[Any], Any, None]") -> "Deferred[None]":
        running = Deferred.fromCoroutine(work)
        self._busy.add(running)
        return running.addBoth(lambda _: self._busy.discard(running))

    async def _read(self, limit: int) -> None:
        """Read the destinations that are due first."""
        try:
            due = await run_in_thread(self._reactor, self._spool.due, limit)
        except OSError as error:
            report(QueueUnreadable(error=error))
            self._window.not_read(self._steady() + self._schedule().before(1))
        else:
            if not self._stopped:
                self._window.read(due)
        self._begin()

    # ------------------------------------------------------------ turns

    async def _turn(self, name: str) -> None:
        active = self._active.get(name) or ActiveDestination(name, self._reachability.is_proven(name))
        self._active[name] = active
        active.more = False
        try:
            next_ = await self._take_turn(active)
        except OSError as error:
            report(QueueUnreadable(error=error))
            next_ = self._steady() + self._schedule().before(1)
        except Exception:  # noqa: BLE001 - a bug costs the destination one turn
            report(AttemptBroken(), Failure())
            next_ = self._steady() + self._schedule().before(1)
        self._window.done(name)
        if self._stopped:
            return
        if active.more:
            next_ = self._steady()
        if next_ is not None:
            self._plan(next_, name)
        self._ended(active)

    def _ended(self, active: ActiveDestination) -> None:
        """A turn or an attempt has ended."""
        if active.loaded and self._room(active):
            self._begin_attempt(active, active.loaded.popleft())
        if active.more and self._may_plan(active):
            active.more = False
            self._window.hold(self._steady(), active.name)
        if not (active.busy or active.running or self._window.is_taken(active.name)):
            self._active.pop(active.name, None)
        self._begin()

    async def _take_turn(self, active: ActiveDestination) -> float | None:
        """Returns the time of the next turn, None if nothing else waits. Raises ``OSError``."""
        if self._down_now(active.name) is None:
            return await self._try_some(active)
        # One destination at a time: there is no hurry.
        return await self._deferring.run(lambda: Deferred.fromCoroutine(self._defer_some(active)))

    async def _try_some(self, active: ActiveDestination) -> float | None:
        """Read some messages and begin attempts. The other ones follow when attempts end."""
        count = min(self._room(active), self._free)
        self._count(active, count)
        try:
            found, next_ = await self._read_due(active, self._most(active) if count else 0)
        finally:
            self._count(active, -count)
        active.loaded.extend(found)
        for _ in found[:count]:
            self._begin_attempt(active, active.loaded.popleft())
        return next_

    async def _defer_some(self, active: ActiveDestination) -> float | None:
        """Defer some messages for a destination that is down."""
        found, next_ = await self._read_due(active, DEFERRED_AT_ONCE)
        await DeferredList([self._begin_attempt(active, each) for each in found])
        return next_

    async def _read_due(self, active: ActiveDestination, count: int) -> tuple[Sequence[Loaded], float | None]:
        active.changed = True
        while active.changed:
            active.changed = False
            found, next_ = await run_in_thread(
                self._reactor, self._spool.read_due, active.name, self._steady(), count, tuple(active.busy)
            )
        if self._stopped:
            return (), None
        active.busy.update(seq for seq, _ in found)
        for _, queued in found:
            if isinstance(queued, Queued):
                self._spool.order.reach(active.name, queued.recipients[0].next)
        return found, next_

    # ------------------------------------------------------------ attempts

    def _begin_attempt(self, active: ActiveDestination, loaded: Loaded) -> "Deferred[None]":
        self._count(active, 1)
        return self._start(self._attempt(active, *loaded))

    async def _attempt(
        self,
        active: ActiveDestination,
        seq: int,
        queued: Queued | Exception,
        delivery: IDelivery | None = None,
    ) -> None:
        """Try a message. If the destination is down, the outcome is already known. ``delivery`` replaces the
        engine of the destination, and says nothing about it."""
        down = self._down_now(active.name) if delivery is None else None
        when: float | None = None
        try:
            try:
                if isinstance(queued, Exception):
                    raise queued
                if down is not None:
                    outcomes: AttemptOutcomes = {
                        **dict.fromkeys(queued.recipients, down), **self._attempts.known(queued)
                    }  # fmt: skip
                else:
                    outcomes = await self._attempts.deliver(active.name, queued, delivery)
                    if delivery is None:
                        self._learn(active, outcomes)
                when = await self._attempts.record(queued.message, outcomes)
                active.more |= queued.others  # nobody has planned them while the message was busy
                if len(outcomes) < len(queued.recipients):
                    raise StorageError(f"{queued.message.id}: some recipients were not tried")
            except MessageDamaged as error:
                report(AttemptFailed(error=error))
                await self._spool.set_aside(seq, str(error))
                active.more = True  # undamaged recipients of the message
        except (StorageError, OSError) as error:
            report(AttemptFailed(error=error))
            self._rest(active, seq)
        except Exception:  # noqa: BLE001 - a bug costs the message one attempt
            report(AttemptBroken(), Failure())
            self._rest(active, seq)
        else:
            active.busy.discard(seq)
        self._count(active, -1)
        if self._stopped:
            return
        if when is not None:
            self._plan(when, active.name)
        self._ended(active)

    def _rest(self, active: ActiveDestination, seq: int) -> None:
        """Leave a message alone until the time of a second attempt."""
        if not self._stopped:
            call = self._reactor.callLater(self._schedule().before(1), self._rested, active, seq)
            self._resting[seq, active.name] = call

    def _rested(self, active: ActiveDestination, seq: int) -> None:
        del self._resting[seq, active.name]
        active.busy.discard(seq)
        active.more = True
        self._ended(active)

    # ------------------------------------------------------------ what is known of destinations

    @property
    def _free(self) -> int:
        """The number of attempts that may begin now."""
        return max(self._concurrency().attempts - self._running, 0)

    def _room(self, active: ActiveDestination) -> int:
        """The number of attempts that may begin for a destination now."""
        return max(self._most(active) - active.running, 0)

    def _most(self, active: ActiveDestination) -> int:
        if active.name == LOCAL:
            return LOCAL_AT_ONCE
        most = self._concurrency().per_destination
        return most if active.proven else min(most, UNPROVEN_AT_ONCE)

    def _count(self, active: ActiveDestination, change: int) -> None:
        active.running += change
        self._running += change
        if not active.proven:
            self._unproven += change

    def _down_now(self, name: str) -> outcome.Deferred | None:
        return self._reachability.down(name, self._steady())

    def _learn(self, active: ActiveDestination, outcomes: AttemptOutcomes) -> None:
        """Note whether the destination can be reached."""
        probe = self._steady() + PROBE_AFTER * self._schedule().before(1)
        if self._reachability.learn(active.name, outcomes.values(), probe):
            active.more = True
        elif not active.proven and self._reachability.is_proven(active.name):
            self._unproven -= active.running
            active.proven = True
