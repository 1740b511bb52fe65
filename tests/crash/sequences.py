"""What the spool does in the sequences whose crash states are looked at: deliveries, removals, retries."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mailserver.errors import MailserverError
from tests.crash.elsewhere import OTHER, far
from tests.crash.recording import Recording, syncing
from tests.crash.stage import FIRST_RETRY, QUOTA, Reactor, Stage, address

LARGE = 70_000  # octets; more than goes into the spool's database


def start(stage: Stage) -> None:
    """Nothing but that, and the next one."""


def one(stage: Stage) -> None:
    stage.deliver("one", "alice")
    stage.checkpoint()
    stage.deliver("two", "alice")


def shared(stage: Stage) -> None:
    stage.deliver("one", "alice", "bob", "carol")
    stage.checkpoint()


def heads(stage: Stage) -> None:
    stage.deliver("one", "alice", "sales/bob", "carol")
    stage.checkpoint()


def large(stage: Stage) -> None:
    stage.deliver("one", "alice", "sales/bob", "carol", size=LARGE)
    stage.deliver("two", "alice", size=LARGE)
    stage.checkpoint()


def together(stage: Stage) -> None:
    stage.deliver("before", "alice")
    stage.deliver_group(
        {"one": ("alice",), "two": ("alice", "bob"), "big": ("bob",), "many": ("carol", "dave")},
        {"big": LARGE},
    )
    stage.checkpoint()


def removed_early(stage: Stage) -> None:
    stage.deliver("one", "alice", "bob")
    stage.deliver("two", "alice")
    stage.remove("alice", "one")
    stage.deliver("three", "alice")


def removed_late(stage: Stage) -> None:
    stage.deliver("one", "alice", "bob")
    stage.deliver("big", "alice", size=LARGE)
    stage.checkpoint()
    stage.remove("alice", "one", "big")
    stage.deliver("two", "alice")
    stage.checkpoint()


def meanwhile(stage: Stage) -> None:
    stage.deliver("one", "alice")
    stage.checkpoint(lambda: stage.deliver("two", "alice", "bob"))
    stage.checkpoint()
    stage.remove("alice", "two")


def flagged(stage: Stage) -> None:
    stage.deliver("one", "alice", "bob")
    stage.flag("alice")
    stage.deliver("two", "alice")
    stage.checkpoint()
    stage.remove("alice", "one")


def full(stage: Stage, size: int = 300) -> None:
    stage.quotas[address("bob")] = QUOTA
    stage.deliver("one", "bob")
    stage.deliver("two", "club/alice", "club/bob", size=size)
    stage.checkpoint()
    stage.run_runner()
    stage.quotas.clear()
    stage.run_runner()
    stage.checkpoint()


def given_up(stage: Stage) -> None:
    stage.quotas[address("bob")] = QUOTA
    stage.deliver("one", "bob")
    stage.deliver("two", "club/alice", "club/bob")
    stage.run_runner(expire_after=FIRST_RETRY)
    stage.checkpoint()


def failing(stage: Stage) -> None:
    stage.deliver("one", "alice", "bob")
    stage.deliver("big", "alice", "bob", size=LARGE)
    stage.failing_checkpoint(1)
    stage.remove("alice", "one")
    stage.deliver("two", "alice", "sales/bob")
    stage.failing_checkpoint(2)
    stage.checkpoint()


def failing_longer(stage: Stage) -> None:
    stage.deliver("one", "alice", "bob")
    stage.failing_checkpoint(1, longer=True)
    stage.checkpoint()
    stage.deliver("two", "alice")


A, B, C, LATER, LOST, NO, NEVER = (
    str(far(name).mailbox) for name in ("a", "b", "c", "later", "lost", "no", "never")
)
CHIEF = far("chief").mailbox


def relayed(stage: Stage) -> None:
    stage.deliver("one", A, "alice")
    stage.deliver("two", B, f"c@{OTHER}", size=LARGE)
    stage.deliver("three", A, B, "bob", "sales/carol", size=LARGE)
    stage.run_runner()
    stage.checkpoint()


def deferred(stage: Stage) -> None:
    stage.deliver("one", LATER, LOST, A)
    stage.deliver("two", LOST, LATER, size=LARGE)
    stage.run_runner()


def refused(stage: Stage) -> None:
    stage.deliver("one", A, NO)
    stage.deliver("two", NO, B, "alice", sender=CHIEF, size=LARGE)
    stage.run_runner()
    stage.run_runner()


def expired(stage: Stage) -> None:
    stage.deliver("one", NEVER, A)
    stage.deliver("two", NEVER, sender=CHIEF)
    stage.run_runner(expire_after=2 * FIRST_RETRY, warn_after=FIRST_RETRY)
    stage.run_runner(expire_after=2 * FIRST_RETRY, warn_after=FIRST_RETRY)


def confirmed(stage: Stage) -> None:
    stage.deliver("one", A, "alice", notify="SUCCESS")
    stage.deliver("two", B, sender=CHIEF, notify="SUCCESS,FAILURE", size=LARGE)
    stage.run_runner()


def administered(stage: Stage) -> None:
    stage.deliver("one", A, B, NEVER)
    stage.deliver("two", A, NEVER, C, size=LARGE)
    stage.administer("hold", B, C)
    stage.administer("expire", NEVER)
    stage.administer("remove", A, C)
    stage.administer("release", B)
    stage.run_runner()


def migrated(stage: Stage) -> None:
    stage.deliver("one", LATER, A, size=LARGE)
    stage.deliver("two", NO, "alice", size=LARGE)
    stage.run_runner()
    stage.deliver("three", A, NO, size=LARGE)
    stage.migrate()
    stage.run_runner()


RELAYS: dict[str, Callable[[Stage], None]] = {
    work.__name__: work for work in (relayed, deferred, refused, expired, confirmed, administered, migrated)
}

WORKLOADS: dict[str, Callable[[Stage], None]] = {
    "start": start,
    "one": one,
    "shared": shared,
    "heads": heads,
    "large": large,
    "together": together,
    "removed-early": removed_early,
    "removed-late": removed_late,
    "meanwhile": meanwhile,
    "flagged": flagged,
    "full": full,
    "full-and-large": partial(full, size=LARGE),
    "given-up": given_up,
    "failing": failing,
    "failing-longer": failing_longer,
    **RELAYS,
}


def record(name: str, place: Path, reactor: Reactor, *, syncfs: bool, killed_at: int = 0) -> Recording:
    """The steps of a workload in a new folder. With ``killed_at`` the process ends before that call,
    counted from 1, and another one goes on."""
    data = Path(tempfile.mkdtemp(dir=place)) / "data"
    with syncing(syncfs):
        stage = Stage(data, reactor)
        if not killed_at:
            stage.start()
            WORKLOADS[name](stage)
            stage.end()
            calls = len(stage.calls.made)
            return Recording(name, syncfs, stage.calls.steps, stage.sent, calls)
        stage.calls.die_at(killed_at)
        try:
            stage.start()
            WORKLOADS[name](stage)
        except (OSError, MailserverError, LookupError):
            assert stage.calls.dead
        stage.die()
        start = len(stage.calls.steps)
        stage.quotas.clear()
        stage.start()
        stage.deliver("after", "alice", "erin")
        if name in RELAYS:
            stage.run_runner()
        stage.checkpoint()
        stage.deliver("last", "erin")
        stage.end()
        name = f"{name}, killed at {killed_at}"
        return Recording(name, syncfs, stage.calls.steps, stage.sent, 0, start)
