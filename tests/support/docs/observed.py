"""What the sessions really say: every reply to every command in the dialogues, and in some more for SMTP."""

import re
from collections.abc import Iterable
from functools import cache

import attrs

from mailserver.mail.verdict import (
    AUTHENTICATION_FAILED,
    DIRECTORY_FAILED,
    NOT_AUTHORIZED,
    SPF_FAILED,
    Defer,
    Refuse,
    Status,
)
from mailserver.pop3.events import ReadFailure
from mailserver.session.events import LoginAsked
from mailserver.smtp.events import (
    MessageChunk,
    MessageEnded,
    MessageStarted,
    RecipientOffered,
    SenderOffered,
    SMTPEvent,
)
from mailserver.smtp.states import SMTPState
from tests.support import pop3 as pop3_fakes
from tests.support import smtp as smtp_fakes
from tests.support.smtp import SETTINGS, FakeServer

_REPLY = re.compile(rb"(\d{3})[ -](\d\.\d{1,3}\.\d{1,3} )?")

Replies = set[tuple[str, str]]


class FailingServer(FakeServer):
    """Everything that it is asked breaks, but the sender a@b.example and the recipient bob."""

    def handle(self, event: SMTPEvent) -> None:
        match event:
            case MessageStarted() | MessageChunk():
                super().handle(event)
            case SenderOffered(path) if str(path) == "a@b.example":
                super().handle(event)
            case RecipientOffered(recipient) if recipient.local == "bob":
                super().handle(event)
            case _:
                self.session.fail()


class BusyServer(FakeServer):
    """Its client has done too much of everything, but for the sender a@b.example."""

    def handle(self, event: SMTPEvent) -> None:
        if isinstance(event, LoginAsked) or getattr(event, "reverse_path", None) is not None:
            super().handle(event)
        else:
            self.session.answer(Defer(NOT_AUTHORIZED, "too much"))


class CheckingServer(FakeServer):
    """SPF fails for the recipient alice; each message gets the verdict."""

    verdict: Defer | Refuse

    def handle(self, event: SMTPEvent) -> None:
        match event:
            case RecipientOffered(recipient) if recipient.local == "alice":
                self.session.answer(Refuse(SPF_FAILED, "SPF check failed"))
            case MessageEnded():
                self.session.answer(self.verdict)
            case _:
                super().handle(event)


def checking(kind: type[Defer | Refuse], status: Status) -> CheckingServer:
    server = CheckingServer()
    server.verdict = kind(status, "no")
    return server


def code(said: bytes) -> str:
    """The code of the first reply, with the enhanced one if there is one."""
    match = _REPLY.match(said)
    assert match is not None, said
    return f"{match[1].decode()} {(match[2] or b'').decode()}".strip()


def verb(line: bytes) -> str:
    return line.strip().replace(b"\t", b" ").partition(b" ")[0].upper().decode("latin-1")


def _answers(server: FakeServer, steps: Iterable[bytes]) -> Replies:
    found = set()
    before = b""
    for sent in steps:
        text = server.session.state is SMTPState.TEXT
        said = server.feed(sent)
        # a reply to more than one command cannot be told apart
        if said and (text or sent.count(b"\n") == 1 or verb(sent) == "BDAT"):
            responds = before.startswith(b"334")
            found.add(("DATA" if text else "AUTH" if responds else verb(sent), code(said)))
        before = said
    return found


LOGIN = b"AUTH PLAIN AGFsaWNlAHNlY3JldA=="


def _more() -> Iterable[tuple[FakeServer, tuple[bytes, ...]]]:
    """What the dialogues of SMTP do not come to."""
    lookups, few_hops = attrs.evolve(SETTINGS, verify="always"), attrs.evolve(SETTINGS, hop_limit=1)
    logins = attrs.evolve(SETTINGS, mechanisms=("PLAIN",), plaintext_auth=True)
    hello, mail = b"EHLO c.example", b"MAIL FROM:<a@b.example>"
    to_bob = (hello, mail, b"RCPT TO:<bob@example.org>", b"DATA")
    yield FakeServer(), (hello, b"MAIL FROM:<a@b@c>", "MAIL FROM:<zoë@b.example>".encode(), b"RSET now")
    yield FakeServer(), (b"NOOP \x01", b"HELP \x01", b"EXPN club", b"SEND x", b"SOML x", b"SAML x")
    yield FailingServer(lookups), (b"VRFY bob", b"EXPN club", hello, b"MAIL FROM:<c@b.example>")
    yield FailingServer(logins), (hello, LOGIN)
    yield FailingServer(), (hello, mail, b"RCPT TO:<alice@example.org>")
    yield FailingServer(), (*to_bob, b".")
    yield BusyServer(lookups), (b"VRFY bob", b"EXPN club", hello, b"MAIL FROM:<>", mail, b"RCPT TO:<bob>")
    yield FailingServer(attrs.evolve(SETTINGS, queue_starts=True)), (hello, b"ETRN example.net")
    yield FakeServer(attrs.evolve(logins, fetches=True)), (hello, LOGIN, b"ATRN example.net")
    yield FakeServer(full="mailbox"), (hello, mail, b"RCPT TO:<full@example.org>", *to_bob[2:], b".")
    yield FakeServer(few_hops), (*to_bob, b"Received: x\r\n.")
    last = (*to_bob[:3], b"BDAT 0 LAST")
    yield FailingServer(), last
    for kind, status in (
        (Refuse, NOT_AUTHORIZED),
        (Refuse, AUTHENTICATION_FAILED),
        (Defer, DIRECTORY_FAILED),
    ):
        yield checking(kind, status), last
        yield checking(kind, status), (hello, mail, b"RCPT TO:<alice@example.org>", *to_bob[2:], b".")
    yield FakeServer(full="mailbox"), last
    yield FakeServer(full="disk"), last
    yield FakeServer(few_hops), (*last[:3], b"BDAT 13 LAST\r\nReceived: x")
    yield FakeServer(attrs.evolve(SETTINGS, submission=True)), (hello, b"BDAT 0")


@cache
def smtp_replies(lmtp: bool = False) -> Replies:
    """Pairs of verb and code; a reply to a response counts as one of AUTH, that at the end of a message
    as one of DATA."""
    found: Replies = set()
    for path in smtp_fakes.DIALOGUES.glob("*.txt"):
        dialogue = smtp_fakes.read_dialogue(path)
        server = smtp_fakes.server_for(dialogue)
        if server.settings.lmtp != lmtp:
            continue
        server.greeting()
        found |= _answers(server, [sent for sent, _ in dialogue.steps[1:]])
    for server, lines in () if lmtp else _more():
        found |= _answers(server, [line + b"\r\n" for line in lines])
    return found


@cache
def pop3_replies() -> Replies:
    """Pairs of verb and first line; a reply to a response counts as one of AUTH."""
    found = set()
    for path in pop3_fakes.DIALOGUES.glob("*.txt"):
        before = b""
        for sent, said in pop3_fakes.read_dialogue(path).steps[1:]:
            # The page has the replies in English.
            if said and sent.count(b"\n") == 1 and said.partition(b"\r\n")[0].isascii():
                responds = before.startswith(b"+ ")
                found.add(("AUTH" if responds else verb(sent), said.partition(b"\r\n")[0].decode()))
            before = said
    message = pop3_fakes.maildrop_of([b"Subject: x\r\n"])
    vanished = pop3_fakes.FakeServer(message, failures={0: ReadFailure.REMOVED}).logged_in()
    found.add(("TOP", vanished.feed(b"TOP 1 0\r\n").decode().removesuffix("\r\n")))
    return found
