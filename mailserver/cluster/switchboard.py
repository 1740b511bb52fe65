"""The supervisor's part of the questions between workers: passes frames on, and knows who is ready.

A question to a worker that starts waits until the worker is ready, for at most :data:`PATIENCE`. When a
worker ends, the questions that it has not answered fail.
"""

from collections.abc import Callable, Collection

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailserver.cluster.conversation import Conversation
from mailserver.cluster.frames import SUPERVISOR, Frame, FrameKind, failure
from mailserver.errors import StorageError

PATIENCE = 15.0  # seconds


@attrs.define(eq=False)
class _Line:
    """The line to one worker: ``send`` while it runs, and the frames that wait until it is ready. ``asked``
    has the peers and numbers of the questions that it has not answered."""

    send: Callable[[Frame], None] | None = None
    is_ready: bool = False
    waiting: list[Frame] = attrs.field(factory=list)
    asked: set[tuple[int, int]] = attrs.field(factory=set)
    timers: set[IDelayedCall] = attrs.field(factory=set)


class Switchboard:
    """Connects the workers with these ``numbers``. ``own`` are the questions and answers of the
    supervisor."""

    def __init__(self, numbers: Collection[int], clock: IReactorTime) -> None:
        self._lines = {number: _Line() for number in numbers}
        self._clock = clock
        self.own = Conversation(SUPERVISOR, numbers, lambda frame: self._route(SUPERVISOR, frame))

    def started(self, number: int, send: Callable[[Frame], None]) -> None:
        """A worker runs. ``send`` sends it a frame. It gets no question before it is ready."""
        line = self._lines[number]
        line.send, line.is_ready = send, False

    def ready(self, number: int) -> None:
        """A worker is ready: it gets the questions that have waited."""
        line = self._lines[number]
        line.is_ready = True
        waiting, line.waiting = line.waiting, []
        for frame in waiting:
            self._ask(line, frame)

    def gone(self, number: int) -> None:
        """A worker has ended."""
        line = self._lines[number]
        line.send, line.is_ready = None, False
        asked, line.asked = line.asked, set()
        for peer, question in asked:
            self._fail(number, peer, question, f"worker {number} has ended")
        for other in self._lines.values():
            other.waiting = [frame for frame in other.waiting if frame.peer != number]
            other.asked = {each for each in other.asked if each[0] != number}

    def stop(self) -> None:
        """Questions wait no more."""
        for line in self._lines.values():
            for timer in line.timers:
                timer.cancel()
            line.timers.clear()

    def received(self, number: int, frame: Frame) -> None:
        """Take a frame from a worker."""
        self._route(number, frame)

    def _route(self, source: int, frame: Frame) -> None:
        to, passed = frame.peer, attrs.evolve(frame, peer=source)
        if frame.kind is not FrameKind.QUESTION and source != SUPERVISOR:
            self._lines[source].asked.discard((to, frame.number))
        if to == SUPERVISOR:
            self.own.received(passed)
            return
        line = self._lines.get(to)
        if line is None:
            self._fail(to, source, frame.number, f"there is no worker {to}")
        elif frame.kind is not FrameKind.QUESTION:
            if line.send is not None:
                line.send(passed)
        elif line.is_ready:
            self._ask(line, passed)
        else:
            self._wait(to, line, passed)

    def _ask(self, line: _Line, frame: Frame) -> None:
        assert line.send is not None
        line.asked.add((frame.peer, frame.number))
        line.send(frame)

    def _wait(self, number: int, line: _Line, frame: Frame) -> None:
        line.waiting.append(frame)

        def give_up() -> None:
            line.timers.discard(timer)
            if frame in line.waiting:
                line.waiting.remove(frame)
                self._fail(number, frame.peer, frame.number, f"worker {number} does not start in time")

        timer = self._clock.callLater(PATIENCE, give_up)
        line.timers.add(timer)

    def _fail(self, source: int, peer: int, question: int, text: str) -> None:
        frame = failure(source, question, StorageError(text))
        if peer == SUPERVISOR:
            self.own.received(frame)
        elif (send := self._lines[peer].send) is not None:
            send(frame)
