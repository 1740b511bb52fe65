"""Workers of one server in one process: each sees the others through its own :class:`Peer`."""

import pickle
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from zope.interface import implementer

from mailserver.cluster.conversation import answers
from mailserver.cluster.interfaces import IPeers, Responder
from mailserver.errors import StorageError


def _copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@implementer(IPeers)
class Peer:
    """One of the workers in ``group``, which has all of them by number. Values are copied as between
    processes. A worker that is ``gone`` gives no answer."""

    def __init__(self, number: int, group: "dict[int, Peer]") -> None:
        self.number = number
        self.gone = False
        self.asked: list[tuple[str, Any]] = []
        self.group = group
        self._answers: dict[str, Responder] = {}
        group[number] = self

    @property
    def others(self) -> list[int]:
        """See :class:`IPeers`."""
        return sorted(number for number in self.group if number not in (0, self.number))

    def started(self) -> "Peer":
        """A new process has this number: this peer, which answers nothing yet."""
        self.gone = False
        self._answers.clear()
        return self

    def serve(self, subject: str, answer: Responder) -> None:
        """See :class:`IPeers`."""
        assert subject not in self._answers
        self._answers[subject] = answer

    def ask(self, worker: int, subject: str, value: Any = None) -> "Deferred[Any]":
        """See :class:`IPeers`."""
        peer = self.group[worker]
        assert peer is not self
        if peer.gone:
            return fail(StorageError(f"worker {worker} has ended"))
        peer.asked.append((subject, value))
        return maybeDeferred(peer._answers[subject], _copied(value)).addCallback(_copied)

    def ask_others(self, subject: str, value: Any = None) -> "Deferred[list[Any]]":
        """See :class:`IPeers`."""
        asked = [self.ask(one, subject, value) for one in self.others]
        return answers(asked)

    def tell(self, worker: int, subject: str, value: Any = None) -> None:
        """See :class:`IPeers`."""
        self.ask(worker, subject, value).addErrback(lambda failure: None)


def peers(count: int) -> "list[Peer]":
    """The workers 1 to ``count``."""
    group: dict[int, Peer] = {}
    return [Peer(number, group) for number in range(1, count + 1)]
