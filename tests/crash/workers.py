"""Kills workers and their supervisor while clients are at work.

    python -m tests.crash.workers [--moments N] [--seed N] [--control NAME]

A server with three workers serves clients that send, and clients that remove. At random moments a worker, the
supervisor, or all of them are killed with SIGKILL. What was answered 250 must be in its mailboxes, what was
removed must stay away, a mailbox is free within a second after the worker that had locked it has died, and no
connection is refused while a worker lives.

With ``--control`` the workers ignore each other's locks, or what the others have not synced, and something
must be found.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.crash.ledger import Ledger
from tests.crash.traffic import BOXES, MEMBERS, Failures, Traffic
from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.pids import has_files, is_locked, runs
from tests.support.e2e.server import DOMAIN, PASSWORD, Server, configuration, launch_python, wait_until
from tests.support.e2e.workers import starts_again, worker_of, workers

WORKERS = 3
SENDERS, REMOVERS = 20, 4
CHECKED_EACH = 10  # moments
LOCK_SECONDS = 1.0
SPOILT = Path(__file__).parent / "spoilt"
CONTROLS = ("locks", "synced")
HELD = "holder"
TABLES = f"""
[[list]]
address = "club@{DOMAIN}"
members = {[f"{name}@{DOMAIN}" for name in MEMBERS]}
"""


class Clients(Traffic):
    """Clients that go on after a lost connection, until ``freeze``. They rest while ``paused``."""

    def __init__(self, server: Server, ledger: Ledger) -> None:
        super().__init__(server, ledger, Counter())
        self.pids: list[int] | None = None
        """The workers of a supervisor that is dead; None while one lives."""
        self._go = threading.Event()
        self._go.set()
        self._busy = 0
        self._idle = threading.Condition()

    def pause(self) -> None:
        """Wait until nobody is at work."""
        self._go.clear()
        with self._idle:
            assert self._idle.wait_for(lambda: not self._busy, 120)

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    def _run(self, work: Callable[[random.Random], None], dice: random.Random, once: bool = False) -> None:
        while not self._frozen:
            self._go.wait(1)
            with self._idle:
                if not self._go.is_set():
                    continue
                self._busy += 1
            try:
                self._work(work, dice)
            finally:
                with self._idle:
                    self._busy -= 1
                    self._idle.notify_all()

    def _work(self, work: Callable[[random.Random], None], dice: random.Random) -> None:
        alive = list(workers(self.server).values()) if self.pids is None else self.pids
        try:
            work(dice)
        except ConnectionRefusedError:
            if any(map(has_files, alive)):
                self.wrong.append("a connection was refused while a worker lives")
        except Failures:
            time.sleep(0.005)  # the worker, or all of them, were killed


class Campaign:
    """One server, and its clients."""

    def __init__(self, folder: Path, seed: int, control: str, lock_seconds: float) -> None:
        accounts = [*BOXES, *MEMBERS, HELD]
        top = f'allow_root = true\nworkers = {WORKERS}\nstop_grace = "2s"'
        self.server = Server(folder, configuration(top=top, accounts=accounts, tables=TABLES), launch_python)
        self.clients = Clients(self.server, Ledger("workers"))
        self.kills: Counter[str] = Counter()
        self.longest = 0.0
        self._dice = random.Random(seed)
        self._lock_seconds = lock_seconds
        if control:
            paths = [str(SPOILT), *filter(None, [os.environ.get("PYTHONPATH")])]
            os.environ.update(PYTHONPATH=os.pathsep.join(paths), SPOILT=control)

    @property
    def wrong(self) -> list[str]:
        """The violations so far."""
        return self.clients.wrong

    def run(self, moments: int, seed: int, senders: int = 6, removers: int = 1) -> None:
        """Kill at so many moments, or until something is wrong, while so many clients are at work."""
        self.server.start()
        self.clients.start(seed, senders, removers)
        for moment in range(1, moments + 1):
            time.sleep(self._dice.uniform(0.02, 0.4))
            kill = self._dice.choices([self._worker, self._supervisor, self._all], [8, 1, 1])[0]
            kill()
            if moment % CHECKED_EACH == 0 or moment == moments:
                self._check()
            if self.wrong:
                break
        self.clients.freeze()
        self.clients.resume()
        self.clients.join()

    def _worker(self) -> None:
        number = self._dice.randint(1, WORKERS)
        pid = workers(self.server).get(number)
        if pid is None:
            return
        self.kills["worker"] += 1
        with ExitStack() as stack:
            is_held = self._hold(number, stack)
            os.kill(pid, signal.SIGKILL)
            if is_held:
                self._look_at_lock()
        if self._dice.random() < 0.7:
            starts_again(self.server, number, pid)

    def _hold(self, number: int, stack: ExitStack) -> bool:
        """Log in to a mailbox on the worker that will be killed. The other workers must see the lock."""
        for _ in range(20):
            try:
                session = Pop3(self.server.pop3)
            except (*Failures, TimeoutError):
                return False
            stack.callback(session.close)
            if worker_of(self.server, session.socket) == number:
                if not self._logs_in(session):
                    return False
                for _ in range(4):
                    with suppress(*Failures), Pop3(self.server.pop3) as other:
                        if self._logs_in(other):
                            self.wrong.append("two sessions have locked one mailbox")
                return True
        return False

    def _logs_in(self, session: Pop3) -> bool:
        try:
            session.ask(f"USER {HELD}".encode())
            return session.ask(f"PASS {PASSWORD}".encode()).startswith(b"+OK")
        except Failures:
            return False

    def _look_at_lock(self) -> None:
        began = time.monotonic()
        while True:
            with suppress(*Failures), Pop3(self.server.pop3) as session:
                if self._logs_in(session):
                    break
            if time.monotonic() - began > self._lock_seconds:
                self.wrong.append(f"a mailbox is locked {self._lock_seconds:.3g} s after its holder has died")
                return
        took = time.monotonic() - began
        self.longest = max(self.longest, took)
        if took > self._lock_seconds:
            self.wrong.append(f"a mailbox was locked {took:.3g} s after its holder had died")

    def _supervisor(self) -> None:
        """The workers notice it, and stop by themselves."""
        self.kills["supervisor"] += 1
        pids = self.clients.pids = list(workers(self.server).values())
        self.server.signal(signal.SIGKILL)
        self.server.wait()
        wait_until(lambda: not any(map(runs, pids)), "the workers to stop", 30)
        wait_until(lambda: not is_locked(self.server.data / "lock"), "the lock of the data", 30)
        self._start()

    def _start(self) -> None:
        self.server.start()
        self.clients.pids = None

    def _all(self) -> None:
        self.kills["all"] += 1
        self.clients.pids = list(workers(self.server).values())
        self.server.kill()
        self._start()

    def _check(self) -> None:
        self.clients.pause()
        wait_until(lambda: len(workers(self.server)) == WORKERS, "all workers")
        self.clients.check(self._dice)
        self.clients.resume()

    def end(self) -> None:
        """End the server, however the campaign went."""
        self.clients.freeze()
        self.clients.resume()
        if self.server.process is not None and self.server.process.poll() is None:
            self.server.kill()


def main() -> int:
    """The long form; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.workers", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--moments", type=int, default=200, metavar="N", help="at how many moments to kill (200)")
    add("--seed", type=int, default=0, metavar="N", help="another seed, other moments")
    add(
        "--control",
        choices=CONTROLS,
        default="",
        help="what the workers ignore; something must be found then",
    )
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mailserver-workers-") as folder:
        campaign = Campaign(Path(folder), given.seed, given.control, LOCK_SECONDS)
        try:
            campaign.run(given.moments, given.seed, SENDERS, REMOVERS)
        finally:
            campaign.end()
        for text in campaign.wrong[:20]:
            print(f"VIOLATION: {text}")
        counts = campaign.clients.counts
        print(
            f"{campaign.kills.total()} kills ({dict(campaign.kills)}) in {time.monotonic() - began:.0f} s, "
            f"{counts['answered']} messages, {counts['copies']} copies, {counts['removed']} removed, "
            f"locks free after at most {campaign.longest:.3f} s: {len(campaign.wrong)} violations"
        )
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
