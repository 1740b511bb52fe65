"""The only process of a server: there is nobody to ask."""

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mailserver.cluster.interfaces import FIRST, IPeers, Responder
from mailserver.errors import StorageError


@implementer(IPeers)
class Alone:
    """The peers of a server with one worker."""

    number = FIRST
    others = ()

    def serve(self, subject: str, answer: Responder) -> None:
        """See :class:`IPeers`. Nobody asks."""

    def ask(self, worker: int, subject: str, value: Any = None) -> "Deferred[Any]":
        """See :class:`IPeers`."""
        return fail(StorageError(f"there is no worker {worker}"))

    def ask_others(self, subject: str, value: Any = None) -> "Deferred[list[Any]]":
        """See :class:`IPeers`."""
        return succeed([])

    def tell(self, worker: int, subject: str, value: Any = None) -> None:
        """See :class:`IPeers`."""


ALONE = Alone()
