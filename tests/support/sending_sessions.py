"""Sending sessions in the states that tests need, and shorthands for what they say."""

import attrs

from mailserver.smtp.sender.events import ContentWanted, Fate, MailDone
from mailserver.smtp.sender.session import SenderSession
from mailserver.smtp.sender.settings import OutgoingMail
from tests.support.sender import outgoing, sender_settings

PIPELINING = b"250-d.example\r\n250 PIPELINING\r\n"
CHUNKING = b"250-d.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
MAIL = outgoing("to=c@d.example,e@d.example")
LARGE = attrs.evolve(MAIL, size=100_000)


def events_of(session: SenderSession) -> list:
    found = []
    while (event := session.next_event()) is not None:
        found.append(event)
    return found


def say(session: SenderSession, text: bytes) -> list:
    session.receive(text)
    return events_of(session)


def ready(ehlo: bytes = PIPELINING, settings: str = "") -> SenderSession:
    """A session that is ready for a message."""
    session = SenderSession(sender_settings(dict(word.split("=") for word in settings.split())))
    say(session, b"220 d.example\r\n" + ehlo)
    session.take_output()
    assert session.idle
    return session


def in_content(ehlo: bytes = PIPELINING, mail: OutgoingMail = MAIL, settings: str = "") -> SenderSession:
    """A session whose caller writes the content."""
    session = ready(ehlo, settings)
    session.send(mail)
    wanted = say(session, b"250 ok\r\n250 ok\r\n250 ok\r\n" + (b"" if b"CHUNKING" in ehlo else b"354 go\r\n"))
    assert wanted == [ContentWanted()]
    session.take_output()
    return session


def fates(event: MailDone) -> list[Fate]:
    return [result.fate for result in event.results]
