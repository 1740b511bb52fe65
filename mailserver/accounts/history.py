"""The history of contacts: an engine with a cache in front of it.

A lookup of cached entries is answered at once; the engine works in a thread. Changes are written every few
seconds, in one commit. A crash loses those since the last commit: some mail is then deferred once more. A
database that cannot be used stops no mail: :meth:`ContactHistory.find` fails, and the caller does without it.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from mailserver.accounts.interfaces import IHistoryEngine
from mailserver.errors import StorageError
from mailserver.events.base import report
from mailserver.events.reputation import HistoryUnusable
from mailserver.mail.seen import Seen, SeenKey, SeenKind

DAY = 86400.0  # seconds
LIFETIMES: Mapping[SeenKind, float] = {
    "waiting": 2 * DAY,  # as with Postgrey
    "passed": 35 * DAY,  # longer than a month, for mail that comes once a month
    "network": 35 * DAY,
    "written": 365 * DAY,
    "heard": 365 * DAY,
    "new": 2 * DAY,
}
MOST_ENTRIES = 100_000  # of each kind
MOST_CACHED = 20_000  # keys
MOST_CHANGED = 20_000  # entries that are not yet written
WRITE_DELAY = 5.0  # seconds
TRIM_INTERVAL = 3600.0  # seconds
TRIM_WRITES = 10_000  # entries, after which the oldest ones are removed earlier
REPORTED_AGAIN = 3600.0  # seconds between two reports of a failure
MAX_TIME = 5.0  # seconds for a lookup

_T = TypeVar("_T")


class ContactHistory:
    """Finds and records entries. ``engine`` is opened when it is needed first."""

    def __init__(
        self,
        engine: Callable[[], IHistoryEngine],
        run: Callable[..., Deferred[Any]],
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        """``engine`` opens the engine; it may block, and raise StorageError. ``run`` calls a function where
        it may block. ``now`` returns the seconds since the epoch."""
        self._open = engine
        self._run = run
        self._clock = clock
        self._now = now
        self._engine: IHistoryEngine | None = None
        self._opening = DeferredLock()
        self._writing = DeferredLock()
        # None: there is no such entry.
        self._cache: OrderedDict[SeenKey, Seen | None] = OrderedDict()
        self._changed: OrderedDict[SeenKey, Seen] = OrderedDict()
        self._timer: Any = None
        self._trim_at = 0.0
        self._written = 0
        self._report_at = 0.0

    def find(self, *keys: SeenKey) -> Mapping[SeenKey, Seen] | Deferred[Mapping[SeenKey, Seen]]:
        """The entries with these keys that exist and have not expired. Fails with StorageError."""
        missing = [key for key in keys if key not in self._cache]
        if not missing:
            return self._known(keys)
        return Deferred.fromCoroutine(self._find(keys, missing))

    async def _find(self, keys: tuple[SeenKey, ...], missing: list[SeenKey]) -> Mapping[SeenKey, Seen]:
        try:
            found = await self._in_time(Deferred.fromCoroutine(self._read(missing)))
        except StorageError as error:
            self._failed(error)
            raise
        for key in missing:
            if key not in self._cache:  # nobody has recorded it meanwhile
                self._keep(key, found.get(key))
        return self._known(keys)

    async def _read(self, keys: Collection[SeenKey]) -> Mapping[SeenKey, Seen]:
        engine = await self._opened()
        found: Mapping[SeenKey, Seen] = await self._run(engine.find, keys)
        return found

    async def _opened(self) -> IHistoryEngine:
        async with self._opening:
            if self._engine is None:
                self._engine = await self._run(self._open)
            return self._engine

    def _in_time(self, work: Deferred[_T]) -> Deferred[_T]:
        """The result, if it is there in time. The work goes on in any case: a thread cannot be stopped."""
        result: Deferred[_T] = Deferred()
        error = StorageError(f"no answer within {MAX_TIME:.3g} seconds")
        timer = self._clock.callLater(MAX_TIME, result.errback, error)

        def done(found: Any) -> None:
            if timer.active():
                timer.cancel()
                result.callback(found)

        work.addBoth(done)
        return result

    def _known(self, keys: tuple[SeenKey, ...]) -> Mapping[SeenKey, Seen]:
        now = self._now()
        found = {}
        for key in keys:
            seen = self._cache.get(key)
            if key in self._cache:
                self._cache.move_to_end(key)
            if seen is not None and now - seen.last < LIFETIMES[key[0]]:
                found[key] = seen
        return found

    def record(self, key: SeenKey, seen: Seen) -> None:
        """Add or replace an entry. It is written within :data:`WRITE_DELAY`."""
        self._keep(key, seen)
        self._changed[key] = seen
        self._changed.move_to_end(key)
        if len(self._changed) > MOST_CHANGED:
            self._changed.popitem(last=False)
        if self._timer is None:
            self._timer = self._clock.callLater(WRITE_DELAY, self._write_soon)

    def _keep(self, key: SeenKey, seen: Seen | None) -> None:
        self._cache[key] = seen
        self._cache.move_to_end(key)
        if len(self._cache) > MOST_CACHED:
            self._cache.popitem(last=False)

    # ------------------------------------------------------------ writing

    def _write_soon(self) -> None:
        self._timer = None
        Deferred.fromCoroutine(self.write())

    async def write(self) -> None:
        """Write the changes. A failure is logged, and they stay for the next attempt."""
        async with self._writing:
            changed, self._changed = self._changed, OrderedDict()
            if not changed:
                return
            try:
                engine = await self._opened()
                await self._run(engine.put, changed)
                self._written += len(changed)
                await self._trim(engine)
            except StorageError as error:
                self._failed(error)
                for key, seen in changed.items():
                    self._changed.setdefault(key, seen)
                while len(self._changed) > MOST_CHANGED:
                    self._changed.popitem()

    async def _trim(self, engine: IHistoryEngine) -> None:
        now = self._now()
        if self._clock.seconds() >= self._trim_at or self._written >= TRIM_WRITES:
            self._written = 0
            self._trim_at = self._clock.seconds() + TRIM_INTERVAL
            for kind, lifetime in LIFETIMES.items():
                await self._run(engine.trim, kind, now - lifetime, MOST_ENTRIES)

    async def close(self) -> None:
        """Write the changes, and close the engine."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.write()
        if self._engine is not None:
            await self._run(self._engine.close)

    def _failed(self, error: StorageError) -> None:
        now = self._clock.seconds()
        if now >= self._report_at:
            self._report_at = now + REPORTED_AGAIN
            report(HistoryUnusable(error=str(error)))
