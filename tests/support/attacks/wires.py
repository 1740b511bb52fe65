"""Connections whose surroundings answer only when the test lets them."""

from twisted.internet.defer import Deferred

from mailserver.mail.address import Address
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.pop3 import POP3Factory
from mailserver.net.smtp import SMTPFactory
from mailserver.pop3.options import POP3Options
from mailserver.reception.reception import Reception
from tests.support.fakes import stand_in
from tests.support.net.fakes import (
    FakeAuthenticator,
    FakeMaildrop,
    FakeRouter,
    FakeSpool,
    connect,
    context,
)
from tests.support.reactor import FakeReactor
from tests.support.smtp import SETTINGS


class SlowSmtp:
    """An SMTP connection with a slow router and a slow spool, after its greeting."""

    def __init__(self) -> None:
        self.router = FakeRouter(slow=True)
        self.spool = FakeSpool()
        reactor = FakeReactor()
        reception = Reception(stand_in(self.router), stand_in(self.spool), hostname=SETTINGS.hostname)
        factory = SMTPFactory(
            context(reactor),
            lambda ip: SETTINGS,
            lambda: reception,
            stand_in(FakeAuthenticator()),
            stand_in(reactor),
        )
        self.connection, self.wire = connect(factory)
        self.wire.said()

    def codes(self) -> list[bytes]:
        """What has been said since the last call: the beginning of each reply."""
        return [line[:9].rstrip() for line in self.wire.said().splitlines() if line[3:4] == b" "]


class SlowPop3:
    """A POP3 connection to a maildrop of two messages that is slow to open, after its greeting."""

    def __init__(self) -> None:
        self.maildrop = FakeMaildrop([b"Subject: 1\r\n\r\n", b"Subject: 2\r\n\r\n"])
        self.opening: Deferred[FakeMaildrop] = Deferred()
        authenticator = FakeAuthenticator(self.maildrop, opening=self.opening)
        options = POP3Options(hostname="mail.example.org", plaintext_auth=True)
        reactor = FakeReactor()
        logins: ExpiringTable[Address, float] = ExpiringTable(10, 1000, reactor.seconds)
        factory = POP3Factory(
            context(reactor), lambda ip: options, stand_in(authenticator), stand_in(reactor), logins
        )
        self.connection, self.wire = connect(factory)
        self.wire.said()
