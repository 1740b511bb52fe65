"""The fault matrix: each change of the disk fails, with each error, whatever is in flight.

    python -m tests.crash.faults [--share N] [--seed N] [--scenario NAME]... [--control NAME]

Each scenario is run once to count its calls of ``durable.calls``; a commit of SQLite is one of them. Then,
for every call and every error: the scenario on a directory of its own, with that call failing, once or for
as long as the disk is in that state. The disk recovers, and the same process must serve, or the process
ends, in good order, by a kill, or by a power cut that takes what was never synced. Then everything is
compared with the answers and the reports. With ``--control`` the server does not see the failures, or is
broken on purpose: the matrix must report that.
"""

import argparse
import errno
import gc
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice, product
from pathlib import Path
from unittest.mock import patch

import attrs
from twisted.logger import LogEvent, globalLogPublisher

from mailserver.durable import group
from mailserver.errors import StorageFull
from tests.crash.broken import BROKEN, broken
from tests.crash.failing import ERRORS, FULL, FailingCalls, Fault
from tests.crash.inflight import ALICE, BOB, CAROL, SCENARIOS
from tests.crash.stand import Stand
from tests.support.fakes import stand_in
from tests.support.faulty_calls import open_files
from tests.support.queue.spools import SpoolReactor

CONTROLS = ("fsync", "syncfs", "write", "commit", "link", "rename", "unlink", "close")
SYNCS = ("syncfs", "fsync")
ENDS: dict[str, Callable[[Stand], None]] = {
    "stop": Stand.stop,
    "kill": Stand.leave,
    "power cut": Stand.power_cut,
}
PATIENCE = 5.0  # seconds
GIVE_UP = 10
"""Violations after which no more is tried of a scenario."""


@attrs.frozen
class Case:
    """One run of a scenario. ``at_once``: the end comes before the disk has been used again."""

    scenario: str
    sync: str
    fault: Fault | None
    call: str = ""
    end: str = "stop"
    at_once: bool = False

    def __str__(self) -> str:
        end = self.end + " at once" * self.at_once
        return f"{self.scenario}, {self.sync}, {self.fault or 'no fault'} {self.call}, {end}"


@attrs.define
class Tally:
    """What was tried and found."""

    cases: Counter[str] = attrs.field(factory=Counter)  # by scenario
    calls: Counter[str] = attrs.field(factory=Counter)  # that failed
    refused: int = 0
    taken: int = 0
    violations: list[str] = attrs.field(factory=list)


class Matrix:
    """Runs cases below ``place``. ``control`` is a call whose failures the server is not told."""

    def __init__(self, place: Path, tally: Tally, control: str = "") -> None:
        self._place = place
        self._tally = tally
        self._control = control
        self._reactor = SpoolReactor()
        self._tracebacks: list[str] = []

    def close(self) -> None:
        self._reactor.stop()

    def cases(self, scenarios: Sequence[str], seed: int) -> Iterator[Case]:
        """Every call of these scenarios with every error; another seed, another of the six ends of each."""
        ends = islice(cycle(product((False, True), ENDS)), seed, None)
        for scenario, sync in product(scenarios, SYNCS):
            names = self.run(Case(scenario, sync, None))
            for number, name in enumerate(names, 1):
                faults = [Fault(number, error, lasting) for error in ERRORS for lasting in (False, True)]
                if name == "commit":
                    faults.append(Fault(number, errno.EIO, doubt=True))
                for fault, (at_once, end) in zip(faults, ends, strict=False):
                    yield Case(scenario, sync, fault, name, end, at_once)

    def run(self, case: Case) -> list[str]:
        """Run a case; the calls it made while the fault was there."""
        root = self._place / "data"
        calls = FailingCalls(self._control if case.fault else "")
        stand = Stand(root, self._reactor, calls)
        self._tracebacks.clear()
        self._reactor.calls.clear()  # whatever the stand before has planned
        globalLogPublisher.addObserver(stand_in(self._observe))
        try:
            with patch.object(group, "_syncfs_answers_for", lambda device: case.sync == "syncfs"):
                made = self._run(case, stand)
        except Exception as error:  # noqa: BLE001 - whatever it is, it should not have happened
            stand.wrong.append(f"{type(error).__name__}: {error}")
            made = calls.names
        finally:
            globalLogPublisher.removeObserver(stand_in(self._observe))
            shutil.rmtree(root)
        stand.wrong += [f"logged: {text}" for text in self._tracebacks]
        self._count(case, stand, made)
        return made

    def _observe(self, event: LogEvent) -> None:
        # The event itself is not kept: it would keep the frames of the exception, and what they have open.
        if failure := event.get("log_failure"):
            self._tracebacks.append(failure.getErrorMessage())

    def _count(self, case: Case, stand: Stand, made: Sequence[str]) -> None:
        self._tally.cases[case.scenario] += 1
        self._tally.calls.update(stand.calls.first_failed)
        self._tally.taken += sum(copy.taken is True for copy in stand.copies)
        self._tally.refused += sum(copy.taken is False for copy in stand.copies)
        if stand.wrong:
            self._tally.violations.append("\n  ".join([str(case), *stand.wrong[:5]]))

    def _run(self, case: Case, stand: Stand) -> list[str]:
        stand.start()
        steps = SCENARIOS[case.scenario](stand)
        next(steps)
        before = open_files(self._place)
        was_running = stand.running
        stand.calls.begin(case.fault)
        for _ in steps:
            pass
        made = stand.calls.names
        stand.calls.fail_none()
        self._check_errors(stand, case.fault)
        if not stand.running:
            stand.stop()
            gc.collect()
            stand.start()
        elif was_running and (after := self._left_open(before)):
            stand.wrong.append(f"more files are open: {after}, and before: {before}")
        stand.compare("after the fault", waiting=True)
        stand.compare_relayed("after the fault")
        stand.compare_temporary("after the fault", synced=False)
        if not case.at_once:
            self._go_on(stand, "in the same process")
        ENDS[case.end](stand)
        stand.start()
        if not stand.running:
            stand.wrong.append(f"cannot start again: {stand.no_start}")
            return made
        stand.compare("after the next start", waiting=True)
        stand.compare_relayed("after the next start")
        self._go_on(stand, "after the next start")
        stand.stop()
        return made

    def _left_open(self, before: Sequence[str]) -> Sequence[str]:
        """All open files, if they are more than ``before``. A checkpoint in a thread closes its own soon."""
        deadline = time.monotonic() + PATIENCE
        while len(after := open_files(self._place)) > len(before):
            if time.monotonic() > deadline:
                return after
            time.sleep(0.01)
        return ()

    def _check_errors(self, stand: Stand, fault: Fault | None) -> None:
        """What was told is what went wrong."""
        failed = stand.calls.failed
        if stand.errors and not failed:
            stand.wrong.append(f"nothing failed, but {stand.errors}")
        if fault is None or self._control:
            return
        full = fault.error in FULL
        if fault.error == errno.EDQUOT and "commit" in failed:
            return  # SQLite has no word for a full quota
        if any(isinstance(error, StorageFull) != full for error in stand.errors):
            stand.wrong.append(f"told the wrong thing: {stand.errors!r}")

    def _go_on(self, stand: Stand, when: str) -> None:
        """The disk is well: messages are taken, who waits is served, and all of it is synced."""
        stand.full(*([ALICE] if stand.reports_to else []))
        if not stand.deliver(BOB, CAROL):
            stand.wrong.append(f"{when}: the next message was refused: {stand.errors[-1]}")
        stand.serve_all()
        if not stand.checkpoint():
            stand.wrong.append(f"{when}: the checkpoint failed")
        stand.compare(when)
        stand.compare_relayed(when, synced=True)
        stand.compare_reports(when)
        stand.compare_temporary(when, synced=True)
        stand.compare_synced(when)


def run(matrix: Matrix, cases: Sequence[Case], tally: Tally) -> None:
    """Run cases, until too much is wrong."""
    enough = len(tally.violations) + GIVE_UP
    for case in cases:
        if len(tally.violations) >= enough:
            break
        matrix.run(case)


def fast_directory() -> str | None:
    """Where temporary files cost least: nothing here depends on the disk."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() else None


def main() -> int:
    """The long form; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.faults", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--share", type=int, default=1, metavar="N", help="only one of N cases, chosen by chance (1: all)")
    add("--seed", type=int, default=0, metavar="N", help="another seed, other ends")
    add("--scenario", action="append", choices=SCENARIOS, help="only this one; may be repeated")
    add("--control", choices=[*CONTROLS, *BROKEN], default="", help="what to spoil")
    given = parser.parse_args()
    tally = Tally()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mailserver-faults-", dir=fast_directory()) as place:
        matrix = Matrix(Path(place), tally, given.control if given.control in CONTROLS else "")
        dice = random.Random(given.seed)
        with broken(given.control):
            for scenario in given.scenario or SCENARIOS:
                cases = list(matrix.cases([scenario], given.seed))
                run(matrix, dice.sample(cases, len(cases) // given.share), tally)
                print(f"{scenario}: {tally.cases[scenario]} cases", flush=True)
        matrix.close()
    for violation in tally.violations:
        print(f"VIOLATION: {violation}")
    print("by call:", ", ".join(f"{name} {number}" for name, number in sorted(tally.calls.items())))
    print(
        f"{tally.cases.total()} cases in {time.monotonic() - began:.0f} s, {tally.taken} copies taken, "
        f"{tally.refused} refused: {len(tally.violations)} violations"
    )
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
