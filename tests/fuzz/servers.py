"""The fake servers, with all fixed that is random in a login, so that proofs can be computed before it."""

import attrs

from mailserver.pop3.events import POP3Event
from mailserver.pop3.login import APOP, POP3Login
from mailserver.pop3.session import POP3Session
from mailserver.sasl.mechanisms import Channel
from mailserver.sasl.steps import Denied, Granted, Question, Reason, ScramKeys
from mailserver.session.events import LoginAsked
from mailserver.session.events import TLSWanted as Pop3TLSWanted
from mailserver.session.events import TLSWanted as SmtpTLSWanted
from mailserver.smtp.events import SMTPEvent
from mailserver.smtp.session import SMTPSession
from tests.fuzz.known import BINDING, CERTIFICATE_NAMES, NONCE, PASSWORDS
from tests.support import pop3 as pop3_fakes
from tests.support import smtp as smtp_fakes
from tests.support.sasl.fake_accounts import FakeAccounts


def channel(hostname: str, secure: bool) -> Channel:
    """A connection whose nonce is always the same; with TLS the client has shown a certificate."""
    if not secure:
        return Channel(hostname, nonce=lambda: NONCE)
    return Channel(
        hostname,
        secure=True,
        binding=lambda kind: BINDING if kind == "tls-exporter" else None,
        certificate_names=lambda: CERTIFICATE_NAMES,
        nonce=lambda: NONCE,
    )


@attrs.frozen
class Accounts(FakeAccounts):
    """With ``down`` they cannot be asked."""

    down: bool = False

    def answer(self, question: Question) -> Granted | Denied | ScramKeys | str | None:
        return Denied(Reason.TEMPORARY) if self.down else super().answer(question)


@attrs.define
class SmtpServer(smtp_fakes.FakeServer):
    """``discarded`` counts the octets lost behind STARTTLS, after which TLS begins at once."""

    down: bool = False
    discarded: int = attrs.field(init=False, default=0)
    passwords: dict[str, str] = attrs.field(init=False, default=PASSWORDS)

    def __attrs_post_init__(self) -> None:
        self.session = SMTPSession(self.settings)
        self.session.secured(channel(self.settings.hostname, self.secure))

    def feed(self, data: bytes) -> bytes:
        """Give the session some input; return all that it says."""
        return self._feed(data)

    def handle(self, event: SMTPEvent) -> None:
        match event:
            case SmtpTLSWanted(discarded):
                self.discarded += discarded
                self.session.secured(channel(self.settings.hostname, True))
            case LoginAsked(question=question):
                self.session.answer(Accounts(self.passwords, self.down).answer(question))
            case _:
                super().handle(event)


@attrs.define
class Pop3Server(pop3_fakes.FakeServer):
    """The same."""

    discarded: int = attrs.field(init=False, default=0)

    @property
    def passwords(self) -> dict[str, str]:
        return self.accounts

    @property
    def timestamp(self) -> str:
        return f"<{NONCE}@{self.settings.hostname}>" if APOP in self.settings.mechanisms else ""

    def __attrs_post_init__(self) -> None:
        self.session = POP3Session(self.settings)
        # Not by secured(): the timestamp is made before, and lasts.
        connection = channel(self.settings.hostname, self.secure)
        self.session._login = POP3Login(self.settings, connection, self.timestamp)

    def feed(self, data: bytes) -> bytes:
        """Give the session some input; return all that it says."""
        return self._feed(data)

    def handle(self, event: POP3Event) -> None:
        if isinstance(event, Pop3TLSWanted):
            self.discarded += event.discarded
            self.session.secured(channel(self.settings.hostname, True))
        else:
            super().handle(event)
