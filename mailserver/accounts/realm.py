"""The realm of twisted.cred: its avatars open the mailboxes of accounts."""

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
    """The avatar of an account that has logged in."""

    address: Address
    store: IMaildrops

    def open_maildrop(self) -> Deferred[IMaildrop]:
        """See :class:`IMailUser`."""
        return self.store.maildrop(self.address)


@implementer(IRealm)
class MailRealm:
    """Returns avatars for the mailboxes of one store."""

    def __init__(self, store: IMaildrops) -> None:
        self._store = store

    def requestAvatar(
        self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]
    ) -> tuple[type[Interface], MailUser, Callable[[], None]]:
        """See ``twisted.cred.portal.IRealm``."""
        if IMailUser not in interfaces or avatarId == ANONYMOUS:
            raise NotImplementedError("only accounts can log in, and only as IMailUser")
        return IMailUser, MailUser(Address.parse(bytes(avatarId).decode()), self._store), _nothing_to_do


def _nothing_to_do() -> None:
    """The session that opened the maildrop releases its lock."""
