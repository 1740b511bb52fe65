"""The figures of several workers: what the first one adds, and what stays of processes that have ended."""

from collections import Counter
from itertools import count

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailserver.app.figures import AGAIN, FIGURES, PATIENCE, FiguresOfAll, WorkerQuestions
from mailserver.metrics.figures import Counters, WorkerFigures
from mailserver.metrics.live import LiveView
from mailserver.metrics.state import Histogram
from mailserver.threads.durations import Durations
from tests.support.fakes import stand_in
from tests.support.peers import Peer, peers

RECEIVED = ("messages_received_total", ())


class Process:
    """The process of one worker, which counts."""

    def __init__(self, peer: Peer, clock: Clock, began: float = 0.0) -> None:
        self.events: Counter[tuple[str, tuple[str, ...]]] = Counter({RECEIVED: 0})
        self.sessions: Counter[tuple[str, str]] = Counter()
        self.problem = ""
        self.cpu = 0.0
        self._number = peer.number
        self._began = began
        peer._answers.clear()
        live = LiveView(stand_in(clock), "mail.example.org", Durations(), Durations())
        self.questions = WorkerQuestions(peer, self._figures, live, stand_in(clock))
        self.live = live

    def receive(self, number: int) -> None:
        self.events[RECEIVED] += number
        self.sessions["smtp", "none"] += number
        self.cpu += 1.0

    def _figures(self) -> WorkerFigures:
        return WorkerFigures(
            pid=100 + self._number,
            began=self._began,
            cpu=self.cpu,
            problem=self.problem,
            open_sessions={("smtp", "none"): self._number},
            unsynced=self._number,
            counters=Counters(
                events=dict(self.events),
                sessions=dict(self.sessions),
                lookups={("MX", "cached"): 1},
                delivered=self.events[RECEIVED],
                commits=Histogram((1, 2), 0.5),
            ),
        )


class Workers:
    """Three workers, of which each has another number of messages."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._times = count(1.0)
        self.peers = peers(3)
        self.processes = [Process(peer, self.clock) for peer in self.peers]
        for number, process in enumerate(self.processes, 1):
            process.receive(10**number)

    def restart(self, number: int) -> Process:
        """Another process takes the place of a worker."""
        began = next(self._times)
        self.processes[number - 1] = process = Process(self.peers[number - 1], self.clock, began)
        return process

    def ask(self, live: bool = False, seconds: float = 0.0) -> FiguresOfAll:
        found: list[FiguresOfAll] = []
        self.processes[0].questions.ask(live).addCallback(found.append)
        for step in (seconds - 0.1, 0.2) if seconds else ():
            assert found == []
            self.clock.advance(step)
        return found[0]

    @property
    def received(self) -> int:
        return self.ask().known.counters.events[RECEIVED]


@pytest.fixture
def workers() -> Workers:
    return Workers()


def test_the_sums_of_all(workers: Workers) -> None:
    found = workers.ask()
    counters = found.known.counters
    assert counters == Counters(
        events={RECEIVED: 1110},
        sessions={("smtp", "none"): 1110},
        lookups={("MX", "cached"): 3},
        delivered=1110,
        commits=Histogram((3, 6), 1.5),
    )
    assert [(number, one.pid if one else 0) for number, one in found.workers.items()] == [
        (1, 101),
        (2, 102),
        (3, 103),
    ]
    assert (found.problem, found.observed) == ("", [])


def test_a_worker_without_an_answer_keeps_its_last_figures(workers: Workers) -> None:
    workers.ask()
    workers.peers[1].gone = True  # it fails at once
    workers.peers[2]._answers[FIGURES] = lambda question: Deferred()  # it takes too long
    workers.processes[0].receive(1)
    found = workers.ask(seconds=PATIENCE)
    assert found.known.counters.events[RECEIVED] == 1111
    assert [number for number, one in found.workers.items() if one is None] == [2, 3]
    assert found.known.last[3].unsynced == 3
    workers.peers[1].gone = False
    found = workers.ask(seconds=AGAIN)
    assert [number for number, one in found.workers.items() if one is None] == [3]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_sum_decreases_with_a_restart(workers: Workers, number: int) -> None:
    assert workers.received == 1110
    workers.restart(number)
    assert workers.received == 1110
    workers.processes[number - 1].receive(5)
    assert [workers.received for _ in range(3)] == [1115] * 3


def test_no_sum_decreases_with_one_restart_after_the_other(workers: Workers) -> None:
    assert workers.received == 1110
    for more, number in enumerate((2, 1, 3, 1, 1), 1):
        workers.restart(number).receive(1)
        assert workers.received == 1110 + more
    workers.restart(1)
    for peer in workers.peers[1:]:
        peer.gone = True
    assert workers.received == 0  # nobody can tell
    for number in (2, 3):
        workers.peers[number - 1].gone = False
        assert [workers.received for _ in range(2)] == [1115] * 2


def test_the_problem_of_another_worker(workers: Workers) -> None:
    workers.processes[2].problem = "the disk is too slow"
    assert workers.ask().problem == "worker 3: the disk is too slow"


def test_all_workers_observe_for_top(workers: Workers) -> None:
    found = workers.ask(live=True)
    assert len(found.observed) == 3
    for process in workers.processes:
        assert process.live._recent is not None
        process.live.rest()
    assert workers.ask().observed == found.observed, "the last ones"
