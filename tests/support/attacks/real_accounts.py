"""The accounts as they are, behind a port whose surroundings are the test's."""

from collections.abc import Collection
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed

from mailserver.accounts.authenticator import Authenticator
from mailserver.accounts.directory import Account
from mailserver.accounts.keyring import KeyRing
from mailserver.accounts.realm import MailRealm
from mailserver.mail.address import Address
from tests.support.accounts.people import Bench, bench, directory
from tests.support.net.fakes import FakeMaildrop, POP3Port, SMTPPort


class Maildrops:
    """Everybody has an empty one."""

    def maildrop(self, address: Address) -> "Deferred[FakeMaildrop]":
        return succeed(FakeMaildrop([]))


def put_behind(accounts: Collection[Account], *ports: SMTPPort | POP3Port, **more: Any) -> Bench:
    """Put the accounts behind the ports; ``more`` is for the bench."""
    stand = bench(list(accounts), **more)
    of_all = directory(*accounts)
    for port in ports:
        port.authenticator = port.factory.authenticator = Authenticator(  # type: ignore[assignment, attr-defined]
            Portal(MailRealm(Maildrops()), [stand.checker]),  # type: ignore[arg-type]
            KeyRing(of_all, b"dummy" * 8, stand.hashing),
            lambda: of_all,
        )
    return stand
