"""One more table for the handlers of SMTP: that of LMTP, where each recipient has a verdict (RFC 2033)."""

import attrs

from mailserver.mail.verdict import MAILBOX_FULL, Accept, Defer, Destination, Routed, Verdict
from mailserver.sasl.mechanisms import Channel
from mailserver.session.verbs import Step
from mailserver.smtp.events import MessageEnded, RecipientOffered, SenderOffered
from mailserver.smtp.login import SMTPLogin
from mailserver.smtp.session import SMTPSession
from mailserver.smtp.states import SMTPState
from mailserver.smtp.verbs import END_OF_TEXT, VERBS
from mailserver.smtp.verdicts import reply_for
from tests.support.smtp import SETTINGS


def replies_for(session: SMTPSession, ended: MessageEnded, verdicts: tuple[Verdict, ...]) -> Step:
    return b"".join([reply_for(verdict).octets for verdict in verdicts])


ROWS = {name.encode(): verb for name, verb in VERBS.items() if name not in ("HELO", "EHLO")}
ROWS[b"LHLO"] = attrs.evolve(VERBS["EHLO"], syntax="LHLO host", names_client=False)
ROWS[b"DATA"] = attrs.evolve(VERBS["DATA"], followed_by=attrs.evolve(END_OF_TEXT, answered=replies_for))


class LMTPSession(SMTPSession):
    __slots__ = ()

    def _begin(self, channel: Channel) -> SMTPLogin:
        login = super()._begin(channel)
        self._table = ROWS
        return login


def test_each_recipient_has_its_reply() -> None:
    session = LMTPSession(SETTINGS)
    rcpt = b"RCPT TO:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\n"
    text = b"Subject: x\r\n\r\n.\r\n"
    session.receive(
        b"EHLO c\r\nDATA\r\nLHLO c\r\nMAIL FROM:<>\r\nDATA\r\n" + rcpt + b"DATA\r\n" + text + b"QUIT\r\n"
    )
    while (event := session.next_event()) is not None:
        match event:
            case SenderOffered():
                session.answer(Accept("Ok"))
            case RecipientOffered(recipient):
                session.answer(Routed((Destination(recipient.key, recipient),)))
            case MessageEnded():
                session.answer((Accept("Ok: queued as 1"), Defer(MAILBOX_FULL, "mailbox full")))
    replies = [line[:9] for line in session.take_output().decode().splitlines() if line[3] == " "]
    assert replies == [
        "500 5.5.2", "503 5.5.1", "250 HELP", "250 2.1.0", "503 5.5.1", "250 2.1.5", "250 2.1.5", "354 End d",
        "250 2.0.0", "452 4.2.2", "221 2.0.0",
    ]  # fmt: skip
    assert session.state is SMTPState.CLOSED
