"""Crash states: what a power cut may leave, what recovery makes of it, and whether that was promised.

    python -m tests.crash.states [--states N] [--seed N] [--workload NAME]... [--jobs N] [--control NAME]
                                 [--whole-renames] [--ordered]

The real spool and store do some work, and every call that changes the disk is recorded. For each moment of
that sequence, a model of a disk (``disk_model``, which says what it assumes) gives states that a power cut
may leave; each is made in a folder, a server is started on it, and what its mailboxes then hold is compared
with what had been answered by that moment. It is started a second time, which must change nothing; and of
some the first start is itself cut short, in the same way. Further sequences have a process that was killed
somewhere and started again, so that the next one inherits what was never synced.

With ``--control`` something is spoilt on purpose, and states must be found that break the promise.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.logger import globalLogBeginner

from mailserver.errors import MailserverError
from tests.crash.broken import BROKEN, broken
from tests.crash.disk_model import FOLDER, Committed, Disk, Loss, Noted, Step, Synced, Tree
from tests.crash.outcomes import Databases, Ledger, Outcome, materialise, problems, start
from tests.crash.recording import Recording, syncing
from tests.crash.sequences import WORKLOADS, record
from tests.crash.stage import Reactor

AGAIN = 8
"""Of so many starts one is cut short, too."""
TRIES = 20
"""So often a state that was seen before may turn up before a moment counts as exhausted."""
GIVE_UP = 3
"""Violations after which nothing more is tried."""

# ---------------------------------------------------------------- controls


def _without(unwanted: Callable[[Step], bool]) -> Callable[[list[Step]], list[Step]]:
    return lambda steps: [step for step in steps if not unwanted(step)]


def _earlier(
    moves: Callable[[Step], bool], before: Callable[[Step], bool]
) -> Callable[[list[Step]], list[Step]]:
    """Some steps are made as much earlier as those of another kind stand before them."""

    def spoil(steps: list[Step]) -> list[Step]:
        done: list[Step] = []
        for step in steps:
            place = len(done)
            while moves(step) and place and before(done[place - 1]):
                place -= 1
            done.insert(place, step)
        return done

    return spoil


def _retires(step: Step) -> bool:
    return isinstance(step, Committed) and any("DELETE FROM entry" in text for text, _ in step.statements)


def _is(what: str) -> Callable[[Step], bool]:
    return lambda step: isinstance(step, Noted) and step.what == what


CONTROLS: dict[str, Callable[[list[Step]], list[Step]]] = {
    "no-sync": _without(lambda step: isinstance(step, Synced)),
    "no-file-sync": _without(lambda step: isinstance(step, Synced) and isinstance(step.target, int)),
    "no-folder-sync": _without(lambda step: isinstance(step, Synced) and isinstance(step.target, str)),
    "retired-first": _earlier(_retires, lambda step: isinstance(step, Synced)),
    "answered-first": _earlier(_is("answered"), lambda step: not _is("begun")(step)),
    "removed-first": _earlier(_is("removed"), lambda step: not _is("removing")(step)),
}
"""What is spoilt: calls that are not counted as made, and steps that are made too early."""


# ---------------------------------------------------------------- the search


@attrs.frozen
class Options:
    """How to search."""

    seed: int = 0
    states: int = 20_000
    workloads: Sequence[str] = tuple(WORKLOADS)
    syncfs: Sequence[bool] = (True, False)
    kills: int = 3  # of each workload
    control: str = ""
    split: bool = True
    ordered: bool = False
    job: int = 0
    jobs: int = 1

    def spoil(self, steps: list[Step]) -> list[Step]:
        return CONTROLS[self.control](steps) if self.control in CONTROLS else steps

    def disk(self, tree: Tree) -> Disk:
        return Disk(tree, split=self.split, ordered=self.ordered)


@attrs.define
class Tally:
    """What has been tried and found."""

    states: Counter[str] = attrs.field(factory=Counter)
    again: Counter[str] = attrs.field(factory=Counter)
    moments: int = 0
    exhausted: int = 0
    violations: list[str] = attrs.field(factory=list)

    def add(self, other: "Tally") -> None:
        """Of another process, which had the same moments."""
        self.states += other.states
        self.again += other.again
        self.moments, self.exhausted = other.moments, max(self.exhausted, other.exhausted)
        self.violations += other.violations


@attrs.define(eq=False)
class Moment:
    """A power cut after some step of a recording."""

    recording: Recording
    after: int
    what: str
    disk: Disk
    ledger: Ledger
    losses: Iterator[Loss]
    number: int = 0

    def next(self, seen: set[Any]) -> tuple[Loss, Tree] | None:
        """A state that was not seen before; None if there seems to be none."""
        for loss in itertools.islice(self.losses, TRIES):
            tree = self.disk.tree(loss)
            key = self.recording.title, self.ledger.key(), tree.key()
            if key not in seen:
                seen.add(key)
                self.number += 1
                return loss, tree
        return None

    def __str__(self) -> str:
        return f"{self.recording.title} {self.after}.{self.number}: power cut after {self.what}"


class Search:
    """Looks for states that break the promise. ``place`` is a folder for it alone, in memory at best."""

    def __init__(self, options: Options, place: Path) -> None:
        self._options = options
        self._place = place
        self._data = place / "state"
        self._databases = Databases(place)
        self._dice = random.Random(f"{options.seed}")
        self.tally = Tally()

    # Recordings and moments

    def recordings(self) -> Iterator[Recording]:
        """Each workload whole, and killed at some of its calls."""
        reactor = Reactor()
        try:
            for name, syncfs in itertools.product(self._options.workloads, self._options.syncfs):
                whole = record(name, self._place, reactor, syncfs=syncfs)
                yield whole
                count = min(self._options.kills, whole.calls)
                for killed_at in sorted(self._dice.sample(range(1, whole.calls + 1), count)):
                    yield record(name, self._place, reactor, syncfs=syncfs, killed_at=killed_at)
        finally:
            reactor.stop()

    def moments(self, recording: Recording) -> Iterator[Moment]:
        """After each step."""
        disk, ledger = self._options.disk(Tree({"tmp": FOLDER})), Ledger()
        what = "nothing"
        for number, step in enumerate([None, *self._options.spoil(recording.steps)]):
            if isinstance(step, Noted):
                ledger.note(step)
            if step is not None:
                disk.do(step)
                what = f"{step.what} {step.message} {step.box}" if isinstance(step, Noted) else step.what
            if number >= recording.start:
                dice = random.Random(f"{self._options.seed} {recording.title} {number}")
                now = disk.copy()
                yield Moment(recording, number, what, now, ledger.copy(), now.losses(dice))

    # States

    def run(self) -> Tally:
        """Take one state of each moment, again and again, until there are enough."""
        moments = [moment for recording in self.recordings() for moment in self.moments(recording)]
        self.tally.moments = len(moments)
        self._dice.shuffle(moments)
        seen: set[Any] = set()
        count = 0
        while moments:
            left = []
            for moment in moments:
                state = moment.next(seen)
                if state is None:
                    self.tally.exhausted += 1
                    continue
                left.append(moment)
                count += 1
                if count % self._options.jobs == self._options.job:
                    self._examine(moment, *state)
                if count >= self._options.states or len(self.tally.violations) >= GIVE_UP:
                    return self.tally
            moments = left
        return self.tally

    def _examine(self, moment: Moment, loss: Loss, tree: Tree) -> None:
        self.tally.states[moment.recording.name.partition(",")[0]] += 1
        wrong, outcome, steps = self._start(moment, tree)
        if wrong:
            return self._violated(moment, moment.disk, loss, wrong)
        dice = random.Random(f"{self._options.seed} {moment}")
        if steps and dice.randrange(AGAIN) == 0:
            self._cut_short(moment, loss, tree, steps, outcome, dice)
        return None

    def _start(self, moment: Moment, tree: Tree) -> tuple[list[str], Outcome | None, list[Step]]:
        """Start on a state, and once more: what is wrong, what there is, and what the first start did."""
        materialise(tree, self._data, self._databases)
        with syncing(moment.recording.syncfs):
            try:
                outcome, steps = start(self._data, tree)
                wrong = list(problems(outcome, moment.ledger, moment.recording.sent))
                if not wrong and start(self._data, tree)[0] != outcome:
                    wrong.append("the next start changes something")
            except (MailserverError, OSError) as error:
                return [f"it does not start: {error!r}"], None, []
        return wrong, outcome, self._options.spoil(steps)

    def _cut_short(
        self,
        moment: Moment,
        loss: Loss,
        tree: Tree,
        steps: list[Step],
        first: Outcome | None,
        dice: random.Random,
    ) -> None:
        """A power cut during the start, too."""
        self.tally.again[moment.recording.name.partition(",")[0]] += 1
        disk = self._options.disk(tree)
        after = dice.randrange(len(steps)) + 1
        for step in steps[:after]:
            disk.do(step)
        again = next(itertools.islice(disk.losses(dice), dice.randrange(3), None), Loss())
        wrong, outcome, _ = self._start(moment, disk.tree(again))
        if not wrong and outcome != first:
            wrong = ["the end is another than that of a start that was not cut short"]
        if wrong:
            told = [
                *moment.disk.describe(loss),
                f"then a power cut in recovery after {steps[after - 1].what}",
            ]
            self.tally.violations.append("\n  ".join([str(moment), *told, *disk.describe(again), *wrong]))

    def _violated(self, moment: Moment, disk: Disk, loss: Loss, wrong: list[str]) -> None:
        """Find the least that needs to be lost, and tell it."""
        found = True
        while found:
            found = False
            for smaller in loss.smaller():
                if less := self._start(moment, disk.tree(smaller))[0]:
                    loss, wrong, found = smaller, less, True
                    break
        self.tally.violations.append("\n  ".join([str(moment), *disk.describe(loss), *wrong]))


def folder() -> str:
    """A new folder, in memory where that can be had: what is tried here is not this machine's disk."""
    shared = Path("/dev/shm")
    return tempfile.mkdtemp(prefix="mailserver-states-", dir=shared if os.access(shared, os.W_OK) else None)


def search(options: Options) -> Tally:
    """All that one process does."""
    place = folder()
    try:
        with broken(options.control):
            return Search(options, Path(place)).run()
    finally:
        shutil.rmtree(place)


def _job(options: Options) -> Tally:
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    return search(options)


def main() -> int:
    """The long form; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.states", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--states", type=int, default=20_000, metavar="N", help="how many states to try (20000)")
    add("--seed", type=int, default=0, metavar="N", help="another seed, another choice of states")
    add("--workload", action="append", choices=WORKLOADS, help="only this one; may be repeated")
    add(
        "--kills",
        type=int,
        default=3,
        metavar="N",
        help="sequences with a killed process for each workload (3)",
    )
    add("--jobs", type=int, default=2, metavar="N", help="processes at the same time (2)")
    add(
        "--control",
        choices=[*CONTROLS, *BROKEN],
        default="",
        help="what to spoil; states must break the promise then",
    )
    add("--whole-renames", action="store_true", help="a rename is never kept by half")
    add("--ordered", action="store_true", help="the changes of a folder are kept in their order")
    given = parser.parse_args()
    os.environ["PYTHONHASHSEED"] = "0"  # of the processes: the order of sets is that of some syncs
    options = Options(
        seed=given.seed, states=given.states, workloads=given.workload or tuple(WORKLOADS), kills=given.kills,
        control=given.control, split=not given.whole_renames, ordered=given.ordered, jobs=given.jobs,
    )  # fmt: skip
    began = time.monotonic()
    tally = Tally()
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for each in pool.map(_job, [attrs.evolve(options, job=job) for job in range(given.jobs)]):
            tally.add(each)
    seconds = time.monotonic() - began
    for violation in tally.violations:
        print(f"VIOLATION: {violation}")
    print("by workload:", ", ".join(f"{name} {number}" for name, number in sorted(tally.states.items())))
    states, again = tally.states.total(), tally.again.total()
    print(
        f"{states} states of {tally.moments} moments ({tally.exhausted} of them exhausted), "
        f"and {again} starts cut short, in {seconds:.0f} s ({(states + again) / seconds:.0f}/s): "
        f"{len(tally.violations)} violations"
    )
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
