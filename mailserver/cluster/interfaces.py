"""The contracts between the processes of one server.

The processes that serve clients are the *workers*, with the numbers 1 to N. The first worker runs the queue,
the control socket and all changes of accounts; the others only serve clients. Their parent process is the
*supervisor*. With ``workers = 1`` the only process is worker 1, and there is no supervisor.
"""

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

Responder = Callable[[Any], Any]
"""Answers a question with a value, or with a Deferred. A value must be one that ``pickle`` can copy."""

FIRST = 1
"""The number of the worker that has the queue."""


class IPeers(Interface):
    """The other workers of this server, as one of them sees them. For the thread of the reactor."""

    number: int = Attribute("the number of this worker, from 1")
    others: Collection[int] = Attribute("the numbers of all other workers, in order")

    def serve(subject: str, answer: Responder) -> None:
        """Answer the questions about ``subject`` from now on. Call this before the worker is ready."""

    def ask(worker: int, subject: str, value: Any = None) -> "Deferred[Any]":
        """Ask another worker. A question to a worker that starts waits until it is ready.

        Fails with the exception of the answer if that is a :class:`~mailserver.errors.MailserverError`, and
        with :class:`~mailserver.errors.StorageError` if there is no answer: the worker has ended meanwhile,
        it does not start in time, or its answer has failed by a bug. The question may have had its effect
        nevertheless."""

    def ask_others(subject: str, value: Any = None) -> "Deferred[list[Any]]":
        """Ask all other workers. When all questions are over, fires with the answers, in the order of
        ``others``, or fails as :meth:`ask` does if one of them has failed."""

    def tell(worker: int, subject: str, value: Any = None) -> None:
        """Ask, and ignore the answer. A failure is ignored, too."""
