"""Many sessions, one after another or on several cores: numbers, memory, time, and the first failure.

A session follows from the seed, the protocols and its number alone, so that any of them can be had again.
"""

import gc
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pool
from pathlib import Path
from random import Random

import attrs

from tests.fuzz.broken import Broken
from tests.fuzz.sent import Stream
from tests.fuzz.streams import make
from tests.fuzz.targets import TARGETS

MEMORY_WINDOW = 50_000  # sessions
MEMORY_GROWTH = 4 << 20  # octets that a process may grow by in a window
MEMORY_EVERY = 5_000  # sessions between two looks at it
WARM_UP = 2_000  # sessions before the first look
HANGS_AFTER = 10.0  # seconds for one session


@attrs.frozen
class Task:
    """Sessions ``first``, ``first + step``, … below ``sessions``, or until ``end`` (monotonic seconds)."""

    seed: int
    protocols: tuple[str, ...]
    sessions: int
    end: float = float("inf")
    first: int = 0
    step: int = 1


@attrs.frozen
class Failure:
    """``number`` is None for a replay."""

    protocol: str
    server: str
    stream: Stream
    broken: str
    detail: str
    number: int | None = None


@attrs.define
class Report:
    """What was done; ``growth`` is that of the process's memory after the warm-up, in octets."""

    sessions: int = 0
    octets: int = 0
    growth: int = 0
    seen: dict[str, Counter[str]] = attrs.field(factory=lambda: {name: Counter() for name in TARGETS})
    failure: Failure | None = None

    def add(self, other: "Report") -> None:
        self.sessions += other.sessions
        self.octets += other.octets
        self.growth = max(self.growth, other.growth)
        for name, counter in other.seen.items():
            self.seen[name] += counter
        self.failure = self.failure or other.failure


def session(task: Task, number: int) -> tuple[str, str, Stream]:
    """Protocol, server and stream of a session."""
    random = Random(f"{task.seed} {number}")
    protocol = random.choice(task.protocols)
    return protocol, *make(TARGETS[protocol], random)


def try_one(
    protocol: str, server: str, stream: Stream, seen: Counter[str], thorough: bool = True
) -> Broken | None:
    """The property that the stream breaks, if any."""
    try:
        with _watched():
            TARGETS[protocol].examine(server, stream, seen, thorough)
    except Broken as broken:
        return broken
    return None


@contextmanager
def _watched() -> Iterator[None]:
    """Raise :class:`Broken` in a session that does not come to an end."""

    def ring(number: int, frame: object) -> None:
        raise Broken("every session comes to an end", f"not in {HANGS_AFTER} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, HANGS_AFTER)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(task: Task) -> Report:
    """Run a task in this process, up to its first failure."""
    report = Report()
    base, base_at = 0, 0
    for number in range(task.first, task.sessions, task.step):
        if report.sessions % 100 == 0 and time.monotonic() > task.end:
            break
        protocol, server, stream = session(task, number)
        broken = try_one(protocol, server, stream, report.seen[protocol], thorough=False)
        if report.sessions == WARM_UP:
            base, base_at = memory(), report.sessions
        elif base and report.sessions % MEMORY_EVERY == 0:
            grown = memory() - base
            report.growth = max(report.growth, grown)
            if grown > MEMORY_GROWTH:
                broken = broken or Broken("memory stays flat", f"{grown} octets more since session {base_at}")
            if report.sessions - base_at >= MEMORY_WINDOW:
                base, base_at = memory(), report.sessions
        report.sessions += 1
        report.octets += sum(map(len, stream))
        if broken is not None:
            report.failure = Failure(protocol, server, stream, broken.property, broken.detail, number)
            break
    return report


def run_all(task: Task, jobs: int) -> Report:
    """Run a task on so many processes; the first failure ends them all."""
    if jobs == 1:
        return run(task)
    total = Report()
    tasks = [attrs.evolve(task, first=first, step=jobs) for first in range(jobs)]
    with Pool(jobs) as pool:
        for report in pool.imap_unordered(run, tasks):
            total.add(report)
            if total.failure:
                break
    return total


def memory() -> int:
    """What this process holds in memory, in octets (Linux)."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def minimised(failure: Failure, seconds: float = 60.0) -> Failure:
    """The same failure by a smaller stream, as far as leaving out lines and octets goes in that time."""
    end = time.monotonic() + seconds

    def fails(pieces: Pieces) -> bool:
        broken = try_one(failure.protocol, failure.server, _joined(pieces), Counter())
        return broken is not None and broken.property == failure.broken

    pieces = _apart(failure.stream, lambda stretch: stretch.splitlines(keepends=True))
    if not fails(pieces):
        return failure  # memory is no matter of one stream
    stream = _joined(_smaller(pieces, fails, end))
    octets = _apart(stream, lambda stretch: [stretch[i : i + 1] for i in range(len(stretch))])
    stream = _joined(_smaller(octets, fails, end))
    broken = try_one(failure.protocol, failure.server, stream, Counter())
    return attrs.evolve(failure, stream=stream, detail=broken.detail if broken else failure.detail)


Pieces = list[bytes | None]
"""Of a stream; None where the client waits."""


def _apart(stream: Stream, split: Callable[[bytes], list[bytes]]) -> Pieces:
    pieces: Pieces = []
    for stretch in stream:
        pieces += [*split(stretch), None]
    return pieces[:-1]


def _joined(pieces: Pieces) -> Stream:
    stream = [b""]
    for piece in pieces:
        if piece is None:
            stream.append(b"")
        else:
            stream[-1] += piece
    return tuple(stream)


def _smaller(pieces: Pieces, fails: Callable[[Pieces], bool], end: float) -> Pieces:
    """Leave out pieces, many at a time and then few, as long as it still fails."""
    size = len(pieces) // 2 or 1
    while size:
        at = 0
        while at < len(pieces) and time.monotonic() < end:
            rest = pieces[:at] + pieces[at + size :]
            if fails(rest):
                pieces = rest
            else:
                at += size
        size //= 2
    return pieces
