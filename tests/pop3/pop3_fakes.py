"""A stand-in for the server around a POP3 session, which answers every event at once."""

import re
from collections.abc import Iterable
from pathlib import Path

import attrs

from mailserver.pop3.events import Event, Leaving, LoginFailure, LoginTried, MessageWanted
from mailserver.pop3.session import Session
from mailserver.pop3.settings import Settings
from tests.dialogue_files import DialogueFile, read_dialogue_file, unescape

DIALOGUES = Path(__file__).parent.parent / "dialogues" / "pop3"

SETTINGS = Settings(hostname="dewey", user_login_allowed=True)


@attrs.frozen
class FakeMessage:
    uid: str
    content: bytes

    @property
    def size(self) -> int:
        """Octets as sent: a message without a CRLF at its end gets one."""
        whole = not self.content or self.content.endswith(b"\r\n")
        return len(self.content) + (0 if whole else 2)


def message_of(octets: int) -> bytes:
    """Any message of exactly this size, CRLF at its end."""
    head = b"Subject: short\r\n\r\n"
    return head + b"x" * (octets - len(head) - 2) + b"\r\n"


def maildrop_of(contents: Iterable[bytes]) -> tuple[FakeMessage, ...]:
    return tuple(FakeMessage(f"uid-{number}", text) for number, text in enumerate(contents, 1))


@attrs.define
class FakeServer:
    """Answers every event at once and always in the same way, and remembers what it was told.

    Indexes in ``undeletable``, ``gone`` and ``unreadable`` count from 0. ``removed`` is None until
    the session asks for a removal.
    """

    messages: tuple[FakeMessage, ...] = ()
    accounts: dict[str, str] = attrs.field(factory=lambda: {"mrose": "secret"})
    settings: Settings = SETTINGS
    trouble: LoginFailure | None = None
    undeletable: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()
    unreadable: frozenset[int] = frozenset()
    piece: int = 7
    session: Session = attrs.field(init=False)
    removed: tuple[int, ...] | None = attrs.field(init=False, default=None)
    events: list[Event] = attrs.field(init=False, factory=list)

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
            self.events.append(event)
            self.answer(event)
        return said + self.session.take_output()

    def answer(self, event: Event) -> None:
        match event:
            case LoginTried(user, password):
                if self.trouble is not None:
                    self.session.login_failed(self.trouble)
                elif self.accounts.get(user) == password:
                    self.session.logged_in(self.messages)
                else:
                    self.session.login_failed(LoginFailure.BAD_CREDENTIALS)
            case MessageWanted(index) if index in self.gone | self.unreadable:
                self.session.text_failed(gone=index in self.gone)
            case MessageWanted(index):
                content = self.messages[index].content
                start = 0
                while start < len(content) and self.session.wants_text:
                    self.session.send_text(content[start : start + self.piece])
                    start += self.piece
                self.session.end_text()
            case Leaving(marked):
                failed = frozenset(marked) & self.undeletable
                self.removed = tuple(index for index in marked if index not in failed)
                self.session.left(failed)

    def logged_in(self) -> "FakeServer":
        """Itself, with the session in the TRANSACTION state."""
        self.greeting()
        assert self.feed(b"USER mrose\r\nPASS secret\r\n").startswith(b"+OK")
        return self


DIRECTIVES = (
    "hostname", "version", "tls", "account", "trouble",  # the server
    "messages", "message", "undeletable", "gone", "unreadable",  # the maildrop, in numbers from 1
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
        settings=Settings(
            hostname=dialogue.one("hostname", "dewey"),
            version=dialogue.one("version", ""),
            user_login_allowed=dialogue.one("tls", "yes") == "yes",
        ),
        trouble=LoginFailure[trouble] if trouble else None,
        undeletable=indexes("undeletable"),
        gone=indexes("gone"),
        unreadable=indexes("unreadable"),
    )
