"""The kill matrix: kill -9 at each system call by which the server keeps mail, and what is there afterwards.

    python -m tests.crash.kill [--points N] [--workers N] [--seed N] [--workload NAME]... [--jobs N]
                               [--control NAME]

Each workload is run once under strace, to learn which system calls concern the data directory; SQLite's
are among them. Then, again and again: run the workload, kill the server at one of these calls, start it,
and compare every mailbox with the ledger. The data directory lasts over many points, so that a server is
started once for each. Nothing here knows how the server keeps mail.

With ``--control`` something is spoilt on purpose, and the matrix must find it.
"""

import argparse
import importlib.metadata
import itertools
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.broken import BROKEN
from tests.crash.killed import Stand
from tests.crash.tracing import Call, Point, Tracer, hold_at_lock, let_go, points
from tests.crash.workloads import CONTROLS, STARTS, WORKLOADS
from tests.support.e2e.pids import numbered_workers
from tests.support.e2e.server import ROOT, START_SECONDS, launch_python, launch_twistd, wait_until

BACKGROUND_SECONDS = 1.5
"""Within this time an idle server has finished what it does after the answer."""
EMPTY_AFTER = 25
"""Points after which the mailboxes are emptied."""


def launch(control: str = "") -> Callable[..., list[str]]:
    """``twistd`` where the project is installed, else the same from a bare checkout, or a broken server."""
    if control in BROKEN:
        program = [sys.executable, str(ROOT / "tests/crash/broken.py"), control]
        return lambda *options: [*program, "--log-format=text", "mailserver", *options]
    try:
        importlib.metadata.distribution("mailserver")
    except importlib.metadata.PackageNotFoundError:
        return launch_python
    return launch_twistd


SPARE_ATTEMPTS = 10
"""Points that may be missed beside one for each that is wanted: with few points, chance may miss several."""


@dataclass
class Tally:
    """What has been tried and found. Points count only where the call was one of ours."""

    calls: Counter[str] = field(default_factory=Counter)
    workloads: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0
    not_reached: int = 0
    messages: int = 0
    resent: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def points(self) -> int:
        return self.workloads.total()

    def count(self, workload: str, point: Point, call: Call | None) -> None:
        """Another point, and the call at which the server was killed."""
        if call is None:
            self.not_reached += 1
        elif call.ours:
            self.calls[point.name] += 1
            self.workloads[workload] += 1
        else:
            self.elsewhere += 1


@dataclass(frozen=True)
class Options:
    """How to run the matrix."""

    seed: int = 0
    jobs: int = 1
    control: str = ""
    background: float = BACKGROUND_SECONDS
    workers: int = 1
    give_up: int = 3
    """The number of violations after which nothing more is tried."""


class Matrix:
    """The points of one workload, on data directories below ``place``."""

    def __init__(self, workload: str, place: Path, tally: Tally, options: Options, job: int) -> None:
        self._workload = workload
        self._place = place / f"job{job}"
        self._tally = tally
        self._options = options
        self._job = job
        self._dice = random.Random(f"{options.seed}.{workload}.{job}")
        self._stands = 0
        self._since_empty = 0
        self.stand = self._new_stand()

    def _new_stand(self) -> Stand:
        self._stands += 1
        directory = self._place / f"{self._workload}{self._stands}"
        directory.mkdir(parents=True)
        stand = Stand(
            directory,
            f"{directory.name}.{self._job}",
            launch(self._options.control),
            # A job's clients must not meet another job's server on a port that has changed hands.
            host=f"127.0.0.{self._job + 2}",
            background=self._options.background,
            early=self._options.control == "early",
            workers=self._options.workers,
        )
        stand.begins_life()
        stand.server.start()
        return stand

    # Learning

    def learn(self) -> tuple[list[Point], int]:
        """The points of this workload, and how many calls cannot be reached; see ``points``."""
        for _ in WORKLOADS[self._workload](self.stand):
            pass  # once without strace: it makes what is made only once
        if self.stand.dead:
            self.stand.begins_life()
            self.stand.server.start()
        marks: list[float] = []
        tracer = self._traced(None, marks)
        self.stand.server.kill()
        calls = tracer.calls()
        self._start_and_compare()
        if self.stand.wrong:
            self._keep("the end, while learning")
        return points(calls, marks)

    def _traced(self, point: Point | None, marks: list[float]) -> Tracer:
        """Run the workload with strace attached at the point's mark, and note when each mark was."""
        steps = WORKLOADS[self._workload](self.stand)
        if self._workload in STARTS:
            for _ in steps:
                pass
            return self._traced_start(point, marks)
        tracer: Tracer | None = None
        for mark in itertools.count():
            if mark == (point.mark if point else 0):
                tracer = self._attach(point)
            marks.append(time.time())
            if self.stand.dead or next(steps, self) is self:
                break
        assert tracer is not None, f"the server ended before {point}"
        return tracer

    def _traced_start(self, point: Point | None, marks: list[float]) -> Tracer:
        """Start the server with strace attached as soon as it holds the lock on its data directory."""
        server = self.stand.server
        self.stand.begins_life()
        server.spawn()
        hold_at_lock(server.pid, self._output)
        tracer = self._attach(point)
        marks.append(time.time())
        let_go(server.pid)
        wait_until(lambda: server.ready.exists() or self.stand.dead, "the start", START_SECONDS)
        self.stand.sync()
        return tracer

    def _attach(self, point: Point | None) -> Tracer:
        server = self.stand.server
        self.stand.victims = list(numbered_workers(server.pid).values())
        return Tracer([server.pid, *self.stand.victims], server.data, self._output, point)

    @property
    def _output(self) -> Path:
        return self.stand.server.directory / "strace"

    # Points

    def kill_at(self, point: Point) -> bool:
        """Kill the server there, start it and compare; whether it was killed at a call of ours."""
        stand, server, before = self.stand, self.stand.server, self.stand.server.directory / "before"
        if self._options.control == "back":
            shutil.copytree(server.data / "mail", before / "mail", dirs_exist_ok=True)
        tracer = self._traced(point, [])
        if server.process is not None and server.process.poll() is None:
            server.kill()  # perhaps one of its workers is dead
        elif (code := server.wait()) != -signal.SIGKILL and self._options.workers == 1:
            stand.wrong.append(f"the server ended with {code} before it was killed")
        call = tracer.killed_at()
        if self._options.control in CONTROLS:
            CONTROLS[self._options.control](server.data, before)
            shutil.rmtree(before, ignore_errors=True)
        self._start_and_compare()
        self._since_empty += 1
        if self._since_empty >= EMPTY_AFTER and not stand.wrong:
            self._since_empty = 0
            stand.empty()
        self._tally.count(self._workload, point, call)
        if stand.wrong:
            self._keep(str(point))
        return call is not None and call.ours

    def _start_and_compare(self) -> None:
        """Start, compare, and send again half of what was not answered, to be compared the next time."""
        stand = self.stand
        log = stand.server.log_file
        try:
            stand.server.check_log()
            stand.begins_life()
            log.replace(log.with_name("killed.log"))
            stand.server.start()
            stand.look_at_all()
        except (AssertionError, OSError, EOFError) as error:
            stand.wrong.append(f"after the kill it does not serve: {error!r}")
            return
        messages = stand.ledger.messages
        for sent in messages:
            if not sent.answered and self._dice.random() < 0.5:
                stand.carry(sent)
                self._tally.resent += 1
        self._tally.messages += len(messages)
        messages.clear()

    def _keep(self, where: str) -> None:
        """Leave the directory as it is, as evidence, and go on with a new one."""
        stand = self.stand
        head = f"{self._workload}, killed at {where}; strace, logs and data are in {stand.server.directory}"
        self._tally.violations.append("\n  ".join([head, *stand.wrong[:10]]))
        stand.close()
        self._since_empty = 0
        if not self.done:
            self.stand = self._new_stand()

    @property
    def done(self) -> bool:
        """Whether enough has gone wrong."""
        return len(self._tally.violations) >= self._options.give_up


class Order:
    """The order of the points, for several jobs, until there are enough of them or too many are missed."""

    def __init__(self, found: Sequence[Point], count: int, dice: random.Random) -> None:
        self._points = spread(found, dice)
        self._lock = threading.Lock()
        self._left = count if found else 0
        self._attempts = 2 * count + SPARE_ATTEMPTS

    def next(self) -> Point | None:
        """The next point, None at the end."""
        with self._lock:
            if not self._left or not self._attempts:
                return None
            self._left -= 1
            self._attempts -= 1
            return next(self._points)

    def stop(self) -> None:
        """No more points, whatever was planned."""
        with self._lock:
            self._attempts = 0

    def missed(self) -> None:
        """A point was not met, so that one more is wanted."""
        with self._lock:
            self._left += 1


def spread(found: Sequence[Point], dice: random.Random) -> Iterator[Point]:
    """All points in an order that is fair to every system call, again and again."""
    while True:
        by_name: defaultdict[str, list[Point]] = defaultdict(list)
        for point in found:
            by_name[point.name].append(point)
        for some in by_name.values():
            dice.shuffle(some)
        while by_name:
            for name in sorted(by_name):
                yield by_name[name].pop()
                if not by_name[name]:
                    del by_name[name]


def run(workload: str, count: int, place: Path, tally: Tally, options: Options) -> str:
    """Kill at ``count`` points of a workload, below ``place``: what was done, in a line."""
    began = time.monotonic()
    matrices: list[Matrix] = []
    try:
        for number in range(options.jobs):
            matrices.append(Matrix(workload, place, tally, options, number))
        found, beyond = matrices[0].learn()
        order = Order(found, count, random.Random(f"{options.seed}.{workload}"))

        def job(matrix: Matrix) -> None:
            while not matrix.done and (point := order.next()):
                if not matrix.kill_at(point):
                    order.missed()

        with ThreadPoolExecutor(options.jobs) as threads:
            try:
                list(threads.map(job, matrices))
            finally:
                order.stop()
    finally:
        for matrix in matrices:
            matrix.stand.close()
    done, seconds = tally.workloads[workload], time.monotonic() - began
    return (
        f"{workload}: {done} points of {len(found)} different calls, {beyond} out of reach; {seconds:.0f} s"
    )


def main() -> int:
    """The long form; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.kill", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--points", type=int, default=1000, metavar="N", help="at how many system calls to kill (1000)")
    add("--workers", type=int, default=1, metavar="N", help="of each server (1)")
    add("--seed", type=int, default=0, metavar="N", help="another seed, another choice of points")
    add("--workload", action="append", choices=WORKLOADS, help="only this one; may be repeated")
    add("--jobs", type=int, default=2, metavar="N", help="servers at the same time (2)")
    add(
        "--control", choices=[*CONTROLS, *BROKEN], default="", help="what to spoil; the matrix must fail then"
    )
    given = parser.parse_args()
    options = Options(given.seed, given.jobs, given.control, workers=given.workers)
    workloads = given.workload or list(WORKLOADS)
    place = Path(tempfile.mkdtemp(prefix="mailserver-kill-"))
    tally = Tally()
    began = time.monotonic()
    for number, workload in enumerate(workloads, 1):
        wanted = given.points * number // len(workloads) - tally.points
        print(run(workload, wanted, place, tally, options), flush=True)
    for violation in tally.violations:
        print(f"VIOLATION: {violation}")
    print("by system call:", ", ".join(f"{name} {number}" for name, number in sorted(tally.calls.items())))
    print("by workload:", ", ".join(f"{name} {number}" for name, number in tally.workloads.items()))
    print(
        f"{tally.points} points in {time.monotonic() - began:.0f} s (and {tally.elsewhere} at other calls, "
        f"{tally.not_reached} not reached), {tally.messages} messages, {tally.resent} sent again: "
        f"{len(tally.violations)} violations"
    )
    if tally.violations:
        return 1
    shutil.rmtree(place)
    if tally.points < given.points:
        print(f"{given.points} points were wanted")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
