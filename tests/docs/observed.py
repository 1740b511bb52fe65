"""What the sessions really say: every reply to every command in the dialogues, and in some more for SMTP."""

import re
from collections.abc import Iterable
from functools import cache

import attrs

from mailserver.smtp.events import Event, MessageChunk, MessageStarted, RecipientOffered
from mailserver.smtp.verbs import Phase
from tests.pop3 import pop3_fakes
from tests.smtp import smtp_fakes
from tests.smtp.smtp_fakes import SETTINGS, FakeServer

_REPLY = re.compile(rb"(\d{3})[ -](\d\.\d{1,3}\.\d{1,3} )?")

Replies = set[tuple[str, str]]


class FailingServer(FakeServer):
    """Everything that it is asked breaks, but the recipient bob."""

    def handle(self, event: Event) -> None:
        known = isinstance(event, RecipientOffered) and event.recipient.local == "bob"
        if known or isinstance(event, MessageStarted | MessageChunk):
            super().handle(event)
        else:
            self.session.fail()


def code(said: bytes) -> str:
    """The code of the first reply, with the enhanced one if there is one."""
    match = _REPLY.match(said)
    assert match is not None, said
    return f"{match[1].decode()} {(match[2] or b'').decode()}".strip()


def verb(line: bytes) -> str:
    return line.strip().partition(b" ")[0].upper().decode("latin-1")


def _answers(server: FakeServer, steps: Iterable[bytes]) -> Replies:
    found = set()
    for sent in steps:
        text = server.session.phase is Phase.TEXT
        said = server.feed(sent)
        # a reply to more than one command cannot be told apart
        if said and (text or sent.count(b"\n") == 1):
            found.add(("DATA" if text else verb(sent), code(said)))
    return found


def _more() -> Iterable[tuple[FakeServer, tuple[bytes, ...]]]:
    """What the dialogues of SMTP do not come to."""
    tells, few_hops = attrs.evolve(SETTINGS, verify="always"), attrs.evolve(SETTINGS, hop_limit=1)
    hello, mail = b"EHLO c.example", b"MAIL FROM:<a@b.example>"
    to_bob = (hello, mail, b"RCPT TO:<bob@example.org>", b"DATA")
    yield FakeServer(), (hello, b"MAIL FROM:<a@b@c>", "MAIL FROM:<zoë@b.example>".encode(), b"RSET now")
    yield FakeServer(), (b"NOOP \x01", b"HELP \x01", b"EXPN club", b"SEND x", b"SOML x", b"SAML x")
    yield FailingServer(tells), (b"VRFY bob", b"EXPN club", hello, mail, b"RCPT TO:<alice@example.org>")
    yield FailingServer(), (*to_bob, b".")
    yield FakeServer(full="mailbox"), (hello, mail, b"RCPT TO:<full@example.org>", *to_bob[2:], b".")
    yield FakeServer(few_hops), (*to_bob, b"Received: x\r\n.")


@cache
def smtp_replies() -> Replies:
    """Pairs of verb and code; the reply at the end of a message counts as one of DATA."""
    found: Replies = set()
    for path in smtp_fakes.DIALOGUES.glob("*.txt"):
        dialogue = smtp_fakes.read_dialogue(path)
        server = smtp_fakes.server_for(dialogue)
        server.greeting()
        found |= _answers(server, [sent for sent, _ in dialogue.steps[1:]])
    for server, lines in _more():
        found |= _answers(server, [line + b"\r\n" for line in lines])
    return found


@cache
def pop3_replies() -> Replies:
    """Pairs of verb and first line."""
    found = set()
    for path in pop3_fakes.DIALOGUES.glob("*.txt"):
        for sent, said in pop3_fakes.read_dialogue(path).steps[1:]:
            if said and sent.count(b"\n") == 1:
                found.add((verb(sent), said.partition(b"\r\n")[0].decode()))
    message = pop3_fakes.maildrop_of([b"Subject: x\r\n"])
    vanished = pop3_fakes.FakeServer(message, gone=frozenset({0})).logged_in()
    found.add(("TOP", vanished.feed(b"TOP 1 0\r\n").decode().removesuffix("\r\n")))
    return found
