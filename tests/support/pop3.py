"""A stand-in for the server around a POP3 session, which answers every event at once."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import attrs

from mailserver.mail.retention import Retention
from mailserver.mail.snapshot import Snapshot
from mailserver.pop3.events import (
    MaildropWanted,
    MessageWanted,
    OpenFailure,
    POP3Event,
    ReadFailure,
    UpdateWanted,
)
from mailserver.pop3.options import POP3Options
from mailserver.pop3.session import POP3Session
from mailserver.sasl.mechanisms import Channel
from mailserver.sasl.steps import Denied, Reason
from mailserver.session.events import CommandRefused, LoginAsked, LoginRefused, OutputFull, TLSWanted
from mailserver.store.content import sent_size, surrogate_size
from tests.support.dialogue_files import DialogueFile, read_dialogue_file, unescape
from tests.support.fakes import stand_in
from tests.support.sasl.fake_accounts import FakeAccounts
from tests.support.session_server import NONCE, SessionServer

DIALOGUES = Path(__file__).parent.parent / "dialogues" / "pop3"

SETTINGS = POP3Options(hostname="dewey", plaintext_auth=True)
TLS = Channel(
    "dewey",
    secure=True,
    nonce=lambda: NONCE,
    binding=lambda kind: b"binding" if kind == "tls-exporter" else None,
    certificate_names=lambda: ("mrose",),
)


@attrs.frozen
class FakeMessage:
    uid: str
    content: bytes

    @property
    def size(self) -> int:
        """Octets as sent: a message without a CRLF at its end gets one."""
        return sent_size(len(self.content), self.content[-2:])

    @property
    def surrogate(self) -> int | None:
        return surrogate_size([self.content])


def message_of(octets: int) -> bytes:
    """Any message of exactly this size, CRLF at its end."""
    head = b"Subject: short\r\n\r\n"
    return head + b"x" * (octets - len(head) - 2) + b"\r\n"


def maildrop_of(contents: Iterable[bytes]) -> tuple[Any, ...]:
    return tuple(FakeMessage(f"uid-{number}", text) for number, text in enumerate(contents, 1))


@attrs.define
class FakeServer(SessionServer):
    """Answers every event at once and always in the same way, and remembers what it was told.

    Indexes in ``undeletable`` and ``failures`` count from 0. ``removed`` is None until
    the session asks for a removal. ``secure`` begins with TLS. Challenges and timestamps are always the
    same. The account is removed while the message with the number ``revoked_at`` is read.
    """

    messages: tuple[FakeMessage, ...] = ()
    accounts: dict[str, str] = attrs.field(factory=lambda: {"mrose": "secret"})
    settings: POP3Options = SETTINGS
    trouble: OpenFailure | Reason | None = None
    undeletable: frozenset[int] = frozenset()
    failures: dict[int, ReadFailure] = attrs.field(factory=dict)
    secure: bool = False
    revoked_at: int = 0
    piece: int = 7
    session: POP3Session = attrs.field(init=False)
    tls: ClassVar = TLS
    removed: tuple[int, ...] | None = attrs.field(init=False, default=None)
    greeted: bytes = attrs.field(init=False, default=b"")
    events: list[POP3Event] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.session = POP3Session(self.settings)
        if self.session._login.timestamp:
            self.session._login.timestamp = f"<{NONCE}@{self.settings.hostname}>"
        clear = Channel(self.settings.hostname, nonce=lambda: NONCE)
        self.session.secured(TLS if self.secure else clear)

    def greeting(self) -> bytes:
        self.session.greet()
        self.greeted = self.session.take_output()
        return self.greeted

    def handle(self, event: POP3Event) -> None:
        self.events.append(event)
        match event:
            case TLSWanted():
                self.waits_for_tls = True
            case LoginAsked(question=question):
                broken = isinstance(self.trouble, Reason)
                answer = Denied(self.trouble) if broken else FakeAccounts(self.accounts).answer(question)  # type: ignore[arg-type]
                self.session.answer(answer)
            case LoginRefused():
                self.session.answer(None)
            case MaildropWanted():
                if isinstance(self.trouble, OpenFailure):
                    self.session.answer(self.trouble)
                else:
                    self.session.answer(Snapshot.of(stand_in(self.messages)))
            case MessageWanted(index) if index in self.failures:
                self.session.answer(self.failures[index])
            case MessageWanted(index):
                if index + 1 == self.revoked_at:
                    self.session.revoke()
                content = self.messages[index].content
                start = 0
                while start < len(content) and self.session.wants_text:
                    self.session.send_text(content[start : start + self.piece])
                    start += self.piece
                self.session.answer(b"")
            case UpdateWanted(marked):
                failed = frozenset(marked) & self.undeletable
                self.removed = tuple(index for index in marked if index not in failed)
                self.session.answer(failed)
            case CommandRefused() | OutputFull():
                pass  # nothing is asked

    def logged_in(self) -> "FakeServer":
        """Itself, with the session in the TRANSACTION state."""
        self.greeting()
        assert self.feed(b"USER mrose\r\nPASS secret\r\n").startswith(b"+OK")
        return self


TROUBLES = {**{one.name: one for one in OpenFailure}, "ACCOUNTS": Reason.TEMPORARY}

DIRECTIVES = (
    "hostname", "version", "account", "trouble",  # the server
    "plaintext",  # logins without TLS: yes, no
    "mechanisms", "starttls", "login_delay", "expire", "account_expire", "language", "max_login_failures",
    "secure",  # TLS from the start: yes, no
    "messages", "message", "undeletable", "gone", "unreadable", "broken",  # the maildrop, in numbers from 1
    "revoked_at",  # the number of a message
    "ends", "removes",  # what must come out: closed or open, and the numbers
)  # fmt: skip


def stuffed(content: bytes) -> bytes:
    """The lines of a message as they must come over the wire, without the final dot."""
    lines = content.removesuffix(b"\r\n").split(b"\r\n")
    return b"".join((b"." if line[:1] == b"." else b"") + line + b"\r\n" for line in lines)


def read_dialogue(path: Path) -> DialogueFile:
    """Read a dialogue in which ``S: <message 1>`` stands for the lines of that message."""
    dialogue = read_dialogue_file(path, DIRECTIVES)
    messages = server_for(dialogue).messages

    def lines(match: re.Match[bytes]) -> bytes:
        return stuffed(messages[int(match[1]) - 1].content)

    steps = [(sent, re.sub(rb"(?m)^<message (\d+)>\r\n", lines, said)) for sent, said in dialogue.steps]
    return attrs.evolve(dialogue, steps=tuple(steps))


def server_for(dialogue: DialogueFile) -> FakeServer:
    """A server as the directives describe it."""

    def indexes(name: str) -> frozenset[int]:
        return frozenset(int(number) - 1 for number in dialogue.one(name, "").split())

    contents = [message_of(int(size)) for size in dialogue.one("messages", "").split()]
    contents += [unescape(text) for text in dialogue.directives.get("message", [])]
    accounts = [unescape(line).decode() for line in dialogue.directives.get("account", ["mrose secret"])]
    trouble = dialogue.one("trouble", "")
    return FakeServer(
        messages=maildrop_of(contents),
        accounts=dict(line.split(" ", 1) for line in accounts),
        settings=POP3Options(
            hostname=dialogue.one("hostname", "dewey"),
            version=dialogue.one("version", ""),
            plaintext_auth=dialogue.one("plaintext", "yes") == "yes",
            mechanisms=tuple(dialogue.one("mechanisms", "").split()),
            starttls=dialogue.one("starttls", "no") == "yes",
            login_delay=int(dialogue.one("login_delay", "0")),
            expire=Retention(*map(int, dialogue.one("expire", "").split())),
            account_expire={
                name: Retention(int(days))
                for name, days in (line.split() for line in dialogue.directives.get("account_expire", []))
            },
            language=dialogue.one("language", "en"),  # type: ignore[arg-type]
            max_login_failures=int(dialogue.one("max_login_failures", "3")),
        ),
        trouble=TROUBLES[trouble] if trouble else None,  # type: ignore[arg-type]
        undeletable=indexes("undeletable"),
        revoked_at=int(dialogue.one("revoked_at", "0")),
        secure=dialogue.one("secure", "no") == "yes",
        failures={
            **dict.fromkeys(indexes("gone"), ReadFailure.REMOVED),
            **dict.fromkeys(indexes("unreadable"), ReadFailure.TEMPORARY),
            **dict.fromkeys(indexes("broken"), ReadFailure.PERMANENT),
        },
    )
