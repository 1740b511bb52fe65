"""Mailboxes that move to other names while several workers serve."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs

from mailserver.app.renaming import FLUSH, Renaming
from mailserver.app.tasks import Tasks
from mailserver.cluster.alone import Alone
from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.events.accounts import AccountProblem
from mailserver.threads.pool import Threads
from tests.support.fakes import stand_in
from tests.support.peers import Peer, peers
from tests.support.queue.spools import SpoolReactor, Spools
from tests.support.store.messages import ALICE, CAROL, MESSAGE


@pytest.fixture
def reactor() -> Iterator[SpoolReactor]:
    reactor = SpoolReactor()
    yield reactor
    reactor.stop()


def run(request: Request) -> "Deferred[CommandOutcome]":
    """Alice becomes carol."""
    line = json.dumps([(str(ALICE), str(CAROL))]) if request.get("rehearse") else "renamed"
    return succeed(CommandOutcome((line,)))


class Workers:
    """Two workers. Worker 2 has received a message for alice, and has not synced it."""

    def __init__(self, root: Path, reactor: SpoolReactor) -> None:
        self.peers: list[Peer] = peers(2)
        self.tasks = Tasks()
        self.first, self.other = (Spools(root, reactor, peers=peer.started) for peer in self.peers)
        for spools in (self.first, self.other):
            spools.open()
        self.other.wait(self.other.deliver(MESSAGE, ALICE))
        self.renaming = self.make(self.first, self.peers[0])
        self.make(self.other, self.peers[1])

    def make(self, spools: Spools, peer: Any) -> Renaming:
        threads = Threads(stand_in(spools.reactor))
        return Renaming(run, spools.store, spools.maildrops, spools.spool, threads, self.tasks, peer)

    def restart_other(self) -> None:
        """Worker 2 is killed, and recovers its spool."""
        self.other.reopen(Spools.leave)

    def boxes(self) -> dict[str, int]:
        """The mailboxes, each with the number of its messages."""
        found = sorted(self.first.root.glob("mail/*/*"))
        return {path.name: len(list(path.glob("new/*"))) for path in found}

    def close(self) -> None:
        for spools in (self.other, self.first):
            spools.close()


@pytest.fixture
def workers(tmp_path: Path, reactor: SpoolReactor) -> Iterator[Workers]:
    workers = Workers(tmp_path / "data", reactor)
    yield workers
    workers.close()


@pytest.mark.parametrize("asks", [True, False])
def test_the_recovery_of_another_worker_writes_nothing_to_the_old_mailbox(
    workers: Workers, asks: bool
) -> None:
    """If nobody asks it, it does."""
    renaming = workers.renaming if asks else workers.make(workers.first, Alone())
    assert workers.first.wait(renaming.run({"command": "rename"})).lines == ("renamed",)
    assert workers.boxes() == {"carol": 1}
    workers.restart_other()
    assert workers.boxes() == ({"carol": 1} if asks else {"alice": 1, "carol": 1})


def test_without_an_answer_the_mailbox_moves_at_the_next_start(workers: Workers) -> None:
    workers.peers[1].gone = True
    with pytest.raises(CommandFailed, match="renamed; but its mail is moved only at the next start of the"):
        workers.first.wait(workers.renaming.run({"command": "rename"}))
    assert workers.boxes().get("alice") == 1
    drop = workers.first.wait(workers.first.maildrops.maildrop(ALICE))  # it is not locked any more
    drop.release()


@pytest.mark.parametrize("answers", [True, False])
def test_the_moves_of_a_start_wait_for_the_other_workers(workers: Workers, answers: bool) -> None:
    workers.peers[1].gone = not answers
    finish = partial(workers.first.store.move, ALICE, CAROL)
    with capturedLogs() as events:
        workers.renaming.open(finish)
        workers.first.wait(workers.tasks.finish())
    problems = [event for event in events if isinstance(event.get("log_event"), AccountProblem)]
    assert len(problems) == (not answers)
    assert workers.boxes() == ({"carol": 1} if answers else {"alice": 1})
    assert [subject for subject, _ in workers.peers[1].asked] == ([FLUSH] if answers else [])
    workers.peers[1].gone = False
    workers.restart_other()
    assert workers.boxes() == ({"carol": 1} if answers else {"alice": 1})


def test_with_one_worker_they_are_made_at_once(workers: Workers) -> None:
    made: list[bool] = []
    workers.make(workers.first, Alone()).open(lambda: made.append(True))
    assert made
