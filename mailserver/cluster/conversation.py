"""The questions and answers of one process: matches answers to questions, and answers those of others."""

import itertools
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.cluster.frames import Frame, FrameKind, answer, content, failure, question
from mailserver.cluster.interfaces import IPeers, Responder
from mailserver.errors import MailserverError, StorageError
from mailserver.events.base import report
from mailserver.events.cluster import QuestionFailed


@implementer(IPeers)
class Conversation:
    """The peers of the process with ``number``. ``send`` sends a frame to the peer that it names."""

    def __init__(self, number: int, others: Collection[int], send: Callable[[Frame], None]) -> None:
        self.number = number
        self.others = others
        self._send = send
        self._responders: dict[str, Responder] = {}
        self._open: dict[int, Deferred[Any]] = {}
        # An answer to a process that had this number before must not match a question of this one.
        self._numbers = itertools.count(time.time_ns())
        self._lost: StorageError | None = None

    def serve(self, subject: str, answer: Responder) -> None:
        """See :class:`IPeers`."""
        self._responders[subject] = answer

    def ask(self, worker: int, subject: str, value: Any = None) -> "Deferred[Any]":
        """See :class:`IPeers`."""
        if self._lost is not None:
            return fail(self._lost)
        number = next(self._numbers)
        frame = question(worker, number, subject, value)

        def forget(_: Deferred[Any]) -> None:
            del self._open[number]

        asked = self._open[number] = Deferred[Any](forget)
        self._send(frame)
        return asked

    def ask_others(self, subject: str, value: Any = None) -> "Deferred[list[Any]]":
        """See :class:`IPeers`."""
        return answers([self.ask(each, subject, value) for each in self.others])

    def tell(self, worker: int, subject: str, value: Any = None) -> None:
        """See :class:`IPeers`."""
        self.ask(worker, subject, value).addErrback(lambda failure: failure.trap(MailserverError) and None)

    # ------------------------------------------------------------ frames

    def received(self, frame: Frame) -> None:
        """Take a frame; its ``peer`` is the one that it comes from."""
        if frame.kind is FrameKind.QUESTION:
            self._answer(frame)
            return
        asked = self._open.pop(frame.number, None)
        if asked is None:
            return  # nobody waits for it any more
        if frame.kind is FrameKind.ANSWER:
            asked.callback(content(frame))
        else:
            asked.errback(content(frame))

    def _answer(self, frame: Frame) -> None:
        subject, value = content(frame)
        responder = self._responders.get(subject, _unknown)
        maybeDeferred(responder, value).addCallback(
            lambda result: self._send(answer(frame.peer, frame.number, result))
        ).addErrback(self._failed, frame, subject)

    def _failed(self, reason: Failure, frame: Frame, subject: str) -> None:
        error = reason.value
        if not isinstance(error, MailserverError):
            report(QuestionFailed(subject=subject, peer=frame.peer), reason)
            error = StorageError(f"worker {self.number} cannot answer; see the log")
        self._send(failure(frame.peer, frame.number, error))

    def lost(self, error: StorageError) -> None:
        """No frame comes any more: all questions fail, also those to come."""
        self._lost = error
        waiting, self._open = self._open, {}
        for asked in waiting.values():
            asked.errback(error)


def _unknown(value: Any) -> Any:
    raise StorageError("the worker does not know this question")


def answers(asked: Sequence["Deferred[Any]"]) -> "Deferred[list[Any]]":
    """All answers, or the first failure, when all questions are over."""
    return DeferredList(asked, consumeErrors=True).addCallback(_all_or_failure)


def _all_or_failure(results: Sequence[tuple[bool, Any]]) -> Any:
    return next((result for good, result in results if not good), [result for _, result in results])
