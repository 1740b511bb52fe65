"""Recipients whose mailbox is full are refused when they are offered, where that is known."""

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.interfaces import IMailboxStore, IRouter, Quota
from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import (
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


@implementer(IRouter)
class QuotaRouter:
    """A router that also looks at the quota of a recipient that leads to a single mailbox.

    What goes to several, or by a list, is taken whatever each of them has room for; some copies wait.
    """

    def __init__(
        self, router: IRouter, store: IMailboxStore, quotas: Callable[[], Mapping[Address, Quota]]
    ) -> None:
        """``quotas`` has the mailboxes with a quota, by their keys."""
        self._router = router
        self._store = store
        self._quotas = quotas

    def route(self, recipient: Address) -> "Deferred[Routed | Moved | Defer | Refuse]":
        """See :class:`~mailserver.interfaces.IRouter`."""
        if not self._quotas():
            return self._router.route(recipient)
        return Deferred.fromCoroutine(self._route(recipient))

    async def _route(self, recipient: Address) -> Routed | Moved | Defer | Refuse:
        routed = await self._router.route(recipient)
        if isinstance(routed, Routed) and len(routed.destinations) == 1:
            (destination,) = routed.destinations
            has_quota = destination.mailbox.key in self._quotas()
            by_list = destination.bounces_to is not None
            if has_quota and not by_list and not await self._store.has_room(destination.mailbox):
                return Refuse(MAILBOX_FULL, "the mailbox is full")
        return routed

    def sender(self, account: Address, reverse_path: ReversePath) -> Deferred[Accept | Refuse]:
        """See :class:`IRouter`."""
        return self._router.sender(account, reverse_path)

    def verify(self, name: str) -> "Deferred[Accept | Forwarded | Moved | Refuse | WillNotTell]":
        """See :class:`~mailserver.interfaces.IRouter`."""
        return self._router.verify(name)

    def expand(self, name: str) -> "Deferred[Members | Refuse | WillNotTell]":
        """See :class:`~mailserver.interfaces.IRouter`."""
        return self._router.expand(name)
