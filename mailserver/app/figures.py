"""The figures of all workers: the first worker asks the others, and adds them.

A worker that does not answer in time keeps its last figures. What the first worker knows is also kept by the
others, so that no sum decreases when it ends and another process takes its place.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, TimeoutError
from twisted.python.failure import Failure

from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.errors import MailserverError
from mailserver.interfaces import IReactor
from mailserver.metrics.figures import KnownFigures, WorkerFigures
from mailserver.metrics.live import LiveView, Observed
from mailserver.metrics.state import WorkerState

FIGURES = "figures"
KEEP = "keep figures"
PATIENCE = 5.0  # seconds until the last figures of a worker are taken
AGAIN = 0.5  # seconds, for a worker that did not answer the last question

_Process = tuple[int, float]


@attrs.frozen
class FiguresQuestion:
    """``process`` is that of the first worker. ``live``: for ``mailserver top``."""

    process: _Process
    live: bool


@attrs.frozen
class FiguresAnswer:
    """``kept`` is what an earlier process of the first worker knew."""

    figures: WorkerFigures
    observed: Observed | None
    kept: KnownFigures | None = None


@attrs.frozen
class FiguresOfAll:
    """``known`` has the figures of all workers. ``answers`` has those of the workers that have answered, None
    for the others. ``observed`` has the first worker first."""

    known: KnownFigures
    answers: Mapping[int, FiguresAnswer | None]
    observed: Sequence[Observed]

    @property
    def problem(self) -> str:
        """The reason why a worker other than the first one accepts no mail."""
        for number, answer in self.answers.items():
            if number != FIRST and answer is not None and answer.figures.problem:
                return f"worker {number}: {answer.figures.problem}"
        return ""

    @property
    def workers(self) -> dict[int, WorkerState | None]:
        """All workers, for the state of the server."""
        return {number: None if answer is None else _state(answer) for number, answer in self.answers.items()}


def _state(answer: FiguresAnswer) -> WorkerState:
    figures, observed = answer.figures, answer.observed
    received = 0 if observed is None else observed.counts.get("messages_received", 0)
    return WorkerState(figures.pid, figures.cpu, sum(figures.open_sessions.values()), received)


class WorkerQuestions:
    """Asks the other workers for their figures, and answers the first one. ``own`` returns those of this
    worker."""

    def __init__(
        self, peers: IPeers, own: Callable[[], WorkerFigures], live: LiveView, reactor: IReactor
    ) -> None:
        self._peers = peers
        self._own = own
        self._live = live
        self._reactor = reactor
        self._one = DeferredLock()
        self._known = KnownFigures()
        self._observed: dict[int, Observed] = {}
        self._has_answers = False
        self._silent: set[int] = set()
        self._kept: tuple[_Process, KnownFigures] | None = None
        peers.serve(FIGURES, self._answer)
        peers.serve(KEEP, self._keep)

    def ask(self, live: bool = False) -> "Deferred[FiguresOfAll]":
        """Ask all workers. It never fails."""
        return self._one.run(lambda: Deferred.fromCoroutine(self._ask(live)))

    async def _ask(self, live: bool) -> FiguresOfAll:
        own = self._figures(live)
        question = FiguresQuestion(own.figures.process, live)
        answers: dict[int, FiguresAnswer | None] = {FIRST: own}
        for number, answer in zip(self._peers.others, await self._asked(question), strict=True):
            answers[number] = answer
        self._silent = {number for number, one in answers.items() if one is None}
        self._learn({number: one for number, one in answers.items() if one is not None})
        if self._has_answers:
            for number in self._peers.others:
                self._peers.tell(number, KEEP, (own.figures.process, self._known))
        return FiguresOfAll(self._known, answers, [self._observed[one] for one in sorted(self._observed)])

    async def _asked(self, question: FiguresQuestion) -> list[FiguresAnswer | None]:
        asked = []
        for number in self._peers.others:
            seconds = AGAIN if number in self._silent else PATIENCE
            answer = self._peers.ask(number, FIGURES, question).addTimeout(seconds, self._reactor)
            asked.append(answer.addErrback(_no_answer))
        return [answer for _, answer in await DeferredList(asked)]

    def _learn(self, answers: Mapping[int, FiguresAnswer]) -> None:
        for number, answer in answers.items():
            self._known = self._known.took(number, answer.figures)
            if answer.observed is not None:
                self._observed[number] = answer.observed
        if not self._has_answers and len(answers) > 1:
            self._has_answers = True
            if kept := [one.kept for one in answers.values() if one.kept is not None]:
                self._known = self._known.after(max(kept, key=lambda one: one.last[FIRST].cpu))

    # ------------------------------------------------------------ this worker

    def _figures(self, live: bool) -> FiguresAnswer:
        if live:
            self._live.watch()
        return FiguresAnswer(self._own(), self._live.observed() if live else None)

    def _answer(self, question: FiguresQuestion) -> FiguresAnswer:
        answer = self._figures(question.live)
        if self._kept is not None and self._kept[0] != question.process:
            return attrs.evolve(answer, kept=self._kept[1])
        return answer

    def _keep(self, kept: tuple[_Process, KnownFigures]) -> None:
        self._kept = kept


def _no_answer(failure: Failure) -> None:
    failure.trap(MailserverError, TimeoutError)
