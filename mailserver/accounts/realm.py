"""The realm: what an account may do once it has shown who it is."""

from collections.abc import Callable

import attrs
from twisted.cred.checkers import ANONYMOUS
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

from mailserver.interfaces import IMaildrop, IMaildrops, IMailUser
from mailserver.mail.address import Address


@implementer(IMailUser)
@attrs.frozen
class MailUser:
    """Somebody who has logged in."""

    address: Address
    store: IMaildrops

    def open_maildrop(self) -> Deferred[IMaildrop]:
        """See :class:`IMailUser`."""
        return self.store.maildrop(self.address)


@implementer(IRealm)
class MailRealm:
    """Gives out avatars that reach the mailboxes of one store."""

    def __init__(self, store: IMaildrops) -> None:
        self._store = store

    def requestAvatar(
        self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]
    ) -> tuple[type[Interface], MailUser, Callable[[], None]]:
        """See ``twisted.cred.portal.IRealm``."""
        if IMailUser not in interfaces or avatarId == ANONYMOUS:
            raise NotImplementedError("only accounts log in here, and only as IMailUser")
        return IMailUser, MailUser(Address.parse(bytes(avatarId).decode()), self._store), _nothing_to_do


def _nothing_to_do() -> None:
    """The maildrop's lock is given back by whoever opened it."""
