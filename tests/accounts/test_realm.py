"""The realm, behind the portal of twisted.cred."""

from typing import Any

import pytest
from twisted.cred.checkers import ANONYMOUS
from twisted.cred.credentials import ICredentials, UsernamePassword
from twisted.cred.portal import Portal

from mailserver.accounts.cred import NamedPassword, ProvenName
from mailserver.accounts.realm import MailRealm
from mailserver.interfaces import IMailUser
from mailserver.mail.address import Address
from tests.support.accounts.people import account, bench


class Store:
    def maildrop(self, mailbox: Address) -> str:
        return f"maildrop of {mailbox}"


@pytest.mark.parametrize(
    "credentials",
    [UsernamePassword(b"alice", b"wonderland"), NamedPassword("alice", "wonderland"), ProvenName("alice")],
)
def test_the_portal_gives_out_mail_users(credentials: ICredentials) -> None:
    checker = bench([account("alice", "wonderland")]).checker
    portal = Portal(MailRealm(Store()), [checker])  # type: ignore[arg-type]
    found: list[Any] = []
    portal.login(credentials, None, IMailUser).addBoth(found.append)
    interface, avatar, logout = found[0]
    assert interface is IMailUser and IMailUser.providedBy(avatar)
    assert avatar.address == Address("alice", "example.org")
    assert avatar.open_maildrop() == "maildrop of alice@example.org"  # type: ignore[comparison-overlap]
    logout()


@pytest.mark.parametrize(("avatar", "wanted"), [(ANONYMOUS, IMailUser), (b"alice@example.org", object)])
def test_nobody_else_gets_in(avatar: Any, wanted: Any) -> None:
    with pytest.raises(NotImplementedError):
        MailRealm(Store()).requestAvatar(avatar, None, wanted)  # type: ignore[arg-type]
