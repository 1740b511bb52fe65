"""Recipients whose mailbox is full are refused when they are offered, where that is known."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.errors import StorageError
from mailserver.interfaces import IMailboxStore, IRouter
from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import (
    MAIL_SYSTEM,
    MAILBOX_FULL,
    Accept,
    Defer,
    Forwarded,
    Members,
    Moved,
    Refuse,
    Routed,
    WillNotTell,
)

_FULL = Refuse(MAILBOX_FULL, "the mailbox is full")
_BROKEN = Defer(MAIL_SYSTEM, "the mailbox cannot be used now; please try again later")


def _is_there(deferred: Deferred[Any]) -> bool:
    """Whether it has fired, and nobody is in between."""
    return deferred.called and not deferred.paused


@implementer(IRouter)
class QuotaRouter:
    """A router that also looks at the quota of a recipient that leads to a single mailbox.

    What goes to several, or by a list, is taken whatever each of them has room for; some copies wait.
    """

    log = Logger()

    def __init__(self, router: IRouter, store: IMailboxStore) -> None:
        self._router = router
        self._store = store

    def route(self, recipient: Address) -> "Deferred[Routed | Moved | Defer | Refuse]":
        """See :class:`~mailserver.interfaces.IRouter`."""
        routing = self._router.route(recipient)
        # Most answers are there at once, and a callback takes longer than all this.
        if not _is_there(routing):
            return routing.addCallback(self._look)
        answer = self._look(routing.result)
        return routing if answer is routing.result else routing.addCallback(lambda routed: answer)

    def _look(self, routed: object) -> Any:
        """The answer, or a Deferred of it."""
        if not isinstance(routed, Routed) or len(routed.destinations) != 1:
            return routed
        (destination,) = routed.destinations
        if destination.bounces_to is not None:
            return routed
        room = self._store.has_room(destination.mailbox)
        if isinstance(room, bool):
            return routed if room else _FULL
        return room.addCallbacks(
            lambda room: routed if room else _FULL, lambda failure: self._broken(destination.mailbox, failure)
        )

    def _broken(self, mailbox: Address, failure: Failure) -> Defer:
        """The mailbox cannot be looked at: the others of the message still get it."""
        failure.trap(StorageError)
        self.log.error("{mailbox}: mail is deferred: {reason}", mailbox=mailbox, reason=str(failure.value))
        return _BROKEN

    def sender(self, account: Address, reverse_path: ReversePath) -> Deferred[Accept | Refuse]:
        """See :class:`IRouter`."""
        return self._router.sender(account, reverse_path)

    def verify(self, name: str) -> "Deferred[Accept | Forwarded | Moved | Refuse | WillNotTell]":
        """See :class:`~mailserver.interfaces.IRouter`."""
        return self._router.verify(name)

    def expand(self, name: str) -> "Deferred[Members | Refuse | WillNotTell]":
        """See :class:`~mailserver.interfaces.IRouter`."""
        return self._router.expand(name)
