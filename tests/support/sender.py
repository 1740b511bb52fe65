r"""Dialogues of the sending session in files, and a caller that plays them.

A file has several dialogues. Each begins with ``--- name``. Directives come first:

    settings: protocol=lmtp tls=required user=alice password=secret token=t plaintext=yes implicit=yes
    mail: from=a@b.example to=c@d.example,e@f.example size=10 8bit binary utf8 tls
          ret=HDRS envid=x notify=NEVER orcpt=x priority=3 by=60 returned traced       (in the same line)
    content: text            (of the mail before it)
    result: ACCEPTED 0.0, REJECTED 1.1            (of the mail before it)
    ends: QUIT               (the name of the cause)
    lost: yes                (the connection is lost at the end)

Then ``S: `` lines, which the server sends, and ``C: `` lines, which the session must send; both get a CRLF.
``R: `` and ``D: `` are the same without CRLF. ``T:`` begins TLS. Escapes are those of ``dialogue_files``. The
caller sends the mails in order, and then QUIT.
"""

from collections.abc import Iterator
from pathlib import Path

import attrs

from mailserver.sasl.client import ClientCredentials
from mailserver.smtp.sender.events import (
    ContentWanted,
    MailDone,
    RecipientResult,
    SenderEvent,
    SessionClosed,
    SessionReady,
    StartTLS,
)
from mailserver.smtp.sender.session import SenderSession
from mailserver.smtp.sender.settings import OutgoingMail, OutgoingRecipient, SenderSettings
from tests.support.dialogue_files import unescape
from tests.support.session_server import HANDSHAKE

SENDER_DIALOGUES = Path(__file__).parent.parent / "dialogues" / "sender"
CONTENT = b"Subject: x\r\n\r\nhello\r\n"


@attrs.define
class SenderDialogue:
    """``steps`` are pairs of what the server sends and what the session must send for it."""

    name: str
    settings: dict[str, str] = attrs.field(factory=dict)
    mails: list[tuple[OutgoingMail, bytes]] = attrs.field(factory=list)
    results: list[str] = attrs.field(factory=list)
    ends: str = "QUIT"
    lost: bool = False
    steps: list[tuple[bytes, bytes]] = attrs.field(factory=list)

    @property
    def sent(self) -> bytes:
        return b"".join(sent for sent, _ in self.steps)

    @property
    def expected(self) -> bytes:
        return b"".join(expected for _, expected in self.steps)


def _words(text: str) -> dict[str, str]:
    return {word.partition("=")[0]: word.partition("=")[2] for word in text.split()}


def outgoing(text: str, content: bytes = CONTENT) -> OutgoingMail:
    words = _words(text)
    recipients = tuple(
        OutgoingRecipient(address, words.get("notify", ""), words.get("orcpt", ""))
        for address in words.get("to", "c@d.example").split(",")
    )
    return OutgoingMail(
        reverse_path=words.get("from", "a@b.example"),
        recipients=recipients,
        size=int(words.get("size", len(content))),
        eight_bit="8bit" in words,
        binary="binary" in words,
        utf8="utf8" in words,
        require_tls="tls" in words,
        priority=int(words.get("priority", 0)),
        deadline=int(words["by"]) if "by" in words else None,
        returned="returned" in words,
        traced="traced" in words,
        ret=words.get("ret", ""),
        envid=words.get("envid", ""),
    )


def sender_settings(words: dict[str, str]) -> SenderSettings:
    user = words.get("user", "")
    return SenderSettings(
        hostname="client.example",
        protocol="lmtp" if words.get("protocol") == "lmtp" else "smtp",
        start_tls={"never": "never", "required": "required"}.get(words.get("tls", ""), "offered"),  # type: ignore[arg-type]
        credentials=ClientCredentials(user, words.get("password", ""), words.get("token", ""))
        if user
        else None,
        plaintext_auth=words.get("plaintext") == "yes",
    )


def read_sender_dialogues(path: Path) -> Iterator[SenderDialogue]:
    dialogue = SenderDialogue("")
    for number, line in enumerate(path.read_text().splitlines(), 1):
        kind, _, rest = line.partition(":")
        rest = rest.removeprefix(" ")
        if line.startswith("---"):
            if dialogue.steps:
                yield dialogue
            dialogue = SenderDialogue(f"{path.stem}: {line[3:].strip()}")
        elif not line or line.startswith("#"):
            continue
        elif kind in "SRT":
            octets = HANDSHAKE if kind == "T" else unescape(rest) + (b"\r\n" if kind == "S" else b"")
            if dialogue.steps and not dialogue.steps[-1][1]:
                octets = dialogue.steps.pop()[0] + octets
            dialogue.steps.append((octets, b""))
        elif kind in "CD":
            sent, expected = dialogue.steps.pop()
            dialogue.steps.append((sent, expected + unescape(rest) + (b"\r\n" if kind == "C" else b"")))
        elif kind == "settings":
            dialogue.settings = _words(unescape(rest).decode())
        elif kind == "mail":
            dialogue.mails.append((outgoing(rest), CONTENT))
        elif kind == "content":
            mail, _ = dialogue.mails.pop()
            content = unescape(rest)
            dialogue.mails.append((attrs.evolve(mail, size=len(content)), content))
        elif kind == "result":
            dialogue.results.append(rest)
        elif kind in ("ends", "lost"):
            setattr(dialogue, kind, rest if kind == "ends" else True)
        else:
            raise AssertionError(f"{path}:{number}: {line}")
    yield dialogue


def show_result(result: RecipientResult) -> str:
    reports = " reports" if result.reports else ""
    return f"{result.fate.name} {result.status.subject}.{result.status.detail}{reports}"


class SenderCaller:
    """Answers every event of a session at once, and keeps them. ``piece``: the size of pieces of content."""

    def __init__(self, dialogue: SenderDialogue, piece: int = 65536) -> None:
        self.session = SenderSession(sender_settings(dialogue.settings))
        self.mails = list(dialogue.mails)
        self.events: list[SenderEvent] = []
        self.piece = piece
        self.waits_for_tls = False
        self._content = b""
        if dialogue.settings.get("implicit"):
            self.session.tls_started()

    def feed(self, data: bytes) -> bytes:
        """Give the session some input, with TLS begun where it comes; return all that it sends."""
        said = b""
        for at, piece in enumerate(data.split(HANDSHAKE)):
            if at:
                assert self.waits_for_tls or self.session.closed
                self.waits_for_tls = False
                self.session.tls_started(lambda kind: b"binding" if kind == "tls-exporter" else None)
            self.session.receive(piece)
            said += self.pump()
        return said

    def pump(self) -> bytes:
        while (event := self.session.next_event()) is not None:
            self.events.append(event)
            self.handle(event)
        return self.session.take_output()

    def handle(self, event: SenderEvent) -> None:
        match event:
            case StartTLS():
                self.waits_for_tls = True
            case ContentWanted():
                for start in range(0, len(self._content), self.piece):
                    self.session.write(self._content[start : start + self.piece])
                self.session.end()
            case SessionReady() | MailDone():
                if self.session.closed:
                    return
                if self.mails and self.session.idle:
                    mail, self._content = self.mails.pop(0)
                    self.session.send(mail)
                else:
                    self.session.quit()

    def lose(self) -> None:
        self.session.connection_lost()
        self.pump()

    @property
    def results(self) -> list[str]:
        done = [event for event in self.events if isinstance(event, MailDone)]
        return [", ".join(map(show_result, one.results)) for one in done]

    @property
    def end(self) -> str:
        """The cause of the end, "" while the session lives."""
        closed = [event for event in self.events if isinstance(event, SessionClosed)]
        assert len(closed) == int(self.session.closed)
        return closed[0].cause.name if closed else ""
