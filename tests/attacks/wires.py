"""Connections whose surroundings answer only when the test lets them."""

from twisted.internet.defer import Deferred

from mailserver.net.pop3 import POP3Factory
from mailserver.net.smtp import SMTPFactory
from mailserver.pop3.settings import Settings as Pop3Settings
from tests.fake_reactor import FakeReactor
from tests.net.net_fakes import FakeMaildrop, FakePortal, FakeRouter, FakeSpool, connect
from tests.smtp.smtp_fakes import SETTINGS


class SlowSmtp:
    """An SMTP connection with a slow router and a slow spool, after its greeting."""

    def __init__(self) -> None:
        self.router = FakeRouter(slow=True)
        self.spool = FakeSpool()
        factory = SMTPFactory(
            lambda ip: SETTINGS, self.router, self.spool, FakeReactor(), lambda: 300.0, lambda: 7200.0
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
        portal = FakePortal(self.maildrop, opening=self.opening)
        settings = Pop3Settings(hostname="mail.example.org", user_login_allowed=True)
        factory = POP3Factory(lambda ip: settings, portal, FakeReactor(), lambda: 660.0)  # type: ignore[arg-type]
        self.connection, self.wire = connect(factory)
        self.wire.said()
