"""A stand-in for the server around an SMTP session, which answers every event at once."""

from pathlib import Path

import attrs

from mailserver.mail.address import Address, format_path
from mailserver.mail.verdict import (
    BAD_MAILBOX,
    MAIL_SYSTEM_FULL,
    MAILBOX_FULL,
    NOT_AUTHORIZED,
    Accept,
    Defer,
    Destination,
    Forwarded,
    Members,
    Moved,
    Refuse,
    Routed,
    Verdict,
    WillNotTell,
)
from mailserver.smtp.events import (
    AddressAsked,
    Event,
    ListAsked,
    MessageAborted,
    MessageChunk,
    MessageEnded,
    MessageStarted,
    OutputFull,
    RecipientOffered,
)
from mailserver.smtp.session import Session
from mailserver.smtp.settings import Settings
from tests.dialogue_files import DialogueFile, read_dialogue_file

DIALOGUES = Path(__file__).parent.parent / "dialogues" / "smtp"
SETTINGS = Settings(hostname="mail.example.org", domain="example.org")
NAMES = ("alice", "bob", "rich", "postmaster")


@attrs.frozen
class Kept:
    """A message that was answered 250."""

    started: MessageStarted
    content: bytes

    def __str__(self) -> str:
        to = ",".join(str(recipient) for recipient in self.started.recipients)
        return f"{format_path(self.started.reverse_path)} {to} {self.content!r}"


@attrs.define
class FakeServer:
    """Knows a few names in example.org, and keeps what it takes.

    ``full`` makes the end of every message a failure: "disk", or "mailbox".
    """

    settings: Settings = SETTINGS
    full: str = ""
    session: Session = attrs.field(init=False)
    kept: list[Kept] = attrs.field(init=False, factory=list)
    aborted: int = attrs.field(init=False, default=0)
    _started: MessageStarted | None = attrs.field(init=False, default=None)
    _content: list[bytes] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.session = Session(self.settings)

    def greeting(self) -> bytes:
        self.session.greet()
        return self.session.take_output()

    def feed(self, data: bytes) -> bytes:
        """Give the session some input; return all that it says."""
        self.session.receive(data)
        said = b""
        while (event := self.session.next_event()) is not None:
            said += self.session.take_output()
            self.handle(event)
        return said + self.session.take_output()

    def handle(self, event: Event) -> None:
        match event:
            case RecipientOffered(recipient):
                self.session.answer(self.judge(recipient))
            case AddressAsked(name):
                self.session.answer(self.tell(name))
            case ListAsked(name):
                club = Members((Address("alice", "example.org"), Address("bob", "example.org")))
                self.session.answer(club if name == "club" else Refuse(BAD_MAILBOX, "no list"))
            case MessageStarted():
                assert self._started is None
                self._started, self._content = event, []
            case MessageChunk(data):
                assert self._started is not None and data
                self._content.append(data)
            case MessageAborted():
                assert self._started is not None
                self._started = None
                self.aborted += 1
            case MessageEnded():
                assert self._started is not None
                if self.full == "mailbox":
                    self.session.answer(Refuse(MAILBOX_FULL, "mailbox full"))
                elif self.full:
                    self.session.answer(Defer(MAIL_SYSTEM_FULL, "no room"))
                else:
                    self.kept.append(Kept(self._started, b"".join(self._content)))
                    self.session.answer(Accept(f"Ok: queued as {len(self.kept)}"))
                self._started = None
            case OutputFull():
                pass  # feed() has taken the output by now

    def judge(self, recipient: Address) -> Verdict:
        if recipient.domain != "example.org":
            return Refuse(NOT_AUTHORIZED, "relaying denied")
        if recipient.local == "moved":
            return Moved(Address("there", "elsewhere.example"))
        if recipient.local == "sold":
            buyer = Address("buyer", "elsewhere.example")
            return Routed((Destination(recipient.key, recipient),), announced=buyer)
        if recipient.local == "full":
            return Refuse(MAILBOX_FULL, "mailbox full")
        if recipient.local.lower() not in NAMES:
            return Refuse(BAD_MAILBOX, f"<{recipient}> is no mailbox here")
        return Routed((Destination(recipient.key, recipient),))

    def tell(self, name: str) -> Verdict:
        if "@" in name and not name.endswith("@example.org"):
            return WillNotTell()
        local = name.partition("@")[0]
        if local == "moved":
            return Moved(Address("there", "elsewhere.example"))
        if local == "sold":
            return Forwarded(Address("buyer", "elsewhere.example"))
        known = local in NAMES
        return Accept(f"<{local}@example.org>") if known else Refuse(BAD_MAILBOX, "not known here")


DIRECTIVES = (
    "max_message_size",
    "max_recipients",
    "max_line_length",
    "bare_newline",
    "verify",
    "strict",
    "full",
    "keeps",
    "ends",
    "max_errors",
)


def read_dialogue(path: Path) -> DialogueFile:
    return read_dialogue_file(path, DIRECTIVES)


def server_for(dialogue: DialogueFile) -> FakeServer:
    """A server as the directives describe it."""
    settings = Settings(
        hostname="mail.example.org",
        domain="example.org",
        max_message_size=int(dialogue.one("max_message_size", "1000000")),
        max_line_length=int(dialogue.one("max_line_length", "0")),
        max_recipients=int(dialogue.one("max_recipients", "100")),
        bare_newline="normalize" if dialogue.one("bare_newline", "") == "normalize" else "reject",
        verify="always" if dialogue.one("verify", "") == "always" else "authenticated",
        strict_syntax=dialogue.one("strict", "no") == "yes",
        max_errors=int(dialogue.one("max_errors", "0")),
    )
    return FakeServer(settings, full=dialogue.one("full", ""))
