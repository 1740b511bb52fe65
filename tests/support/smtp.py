"""A stand-in for the server around an SMTP session, which answers every event at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import attrs

from mailserver.mail.address import Address, ReversePath, format_path
from mailserver.mail.verdict import (
    BAD_MAILBOX,
    MAIL_SYSTEM,
    MAIL_SYSTEM_FULL,
    MAILBOX_FULL,
    NOT_AUTHORIZED,
    NULL_MX,
    POLICY,
    Accept,
    CannotVerify,
    Defer,
    Destination,
    Forwarded,
    MailWaits,
    Members,
    Moved,
    QueueStarted,
    Refuse,
    Routed,
    Verdict,
)
from mailserver.reception.reception import NOT_FETCHED
from mailserver.sasl.mechanisms import Channel
from mailserver.session.events import CommandRefused, LoginAsked, LoginRefused, OutputFull, TLSWanted
from mailserver.smtp.events import (
    AddressAsked,
    ClientNamed,
    FetchAsked,
    ListAsked,
    LoggedIn,
    MessageAborted,
    MessageChunk,
    MessageEnded,
    MessageStarted,
    MessageWithdrawn,
    NamedClient,
    QueueStartAsked,
    RecipientOffered,
    RolesReversed,
    SenderOffered,
    SMTPEvent,
)
from mailserver.smtp.options import SMTPOptions as Settings
from mailserver.smtp.session import SMTPSession
from tests.support.dialogue_files import DialogueFile, read_dialogue_file
from tests.support.sasl.fake_accounts import FakeAccounts
from tests.support.session_server import NONCE, SessionServer

DIALOGUES = Path(__file__).parent.parent / "dialogues" / "smtp"
SETTINGS = Settings(hostname="mail.example.org", domain="example.org")
TIGHT = "tight"  # by LMTP: this mailbox has no room for any message
NAMES = ("alice", "bob", "rich", "postmaster", TIGHT, "zo\N{LATIN SMALL LETTER E WITH DIAERESIS}")
ZOE = Address(NAMES[-1], "elsewhere.example")
ACCOUNTS = FakeAccounts(
    {
        "alice": "secret",
        "alice@example.org": "secret",
        "bob": "p\N{LATIN SMALL LETTER A WITH ACUTE}ss word",
        "tim": "tanstaaftanstaaf",
    }
)
CLEAR = Channel("postoffice.example.net", nonce=lambda: NONCE)
TLS = attrs.evolve(
    CLEAR,
    secure=True,
    binding=lambda kind: b"binding" if kind == "tls-exporter" else None,
    certificate_names=lambda: ("alice@example.org",),
)


@attrs.frozen
class Started:
    """What the events before a message said of it."""

    reverse_path: ReversePath
    recipients: tuple[Address, ...]
    protocol: str
    helo: str

    def without(self, local: str) -> "Started":
        return attrs.evolve(self, recipients=tuple(one for one in self.recipients if one.local != local))


@attrs.frozen
class Kept:
    """A message that was answered 250."""

    started: Started
    content: bytes

    def __str__(self) -> str:
        to = ",".join(str(recipient) for recipient in self.started.recipients)
        return f"{format_path(self.started.reverse_path)} {to} {self.content!r}"


@attrs.define
class FakeServer(SessionServer):
    """Knows a few names in example.org, and keeps what it takes.

    ``full`` makes the end of every message a failure: "disk", or "mailbox"; ``secure`` begins with TLS.
    Challenges are always the same.
    """

    settings: Settings = SETTINGS
    full: str = ""
    secure: bool = False
    session: SMTPSession = attrs.field(init=False)
    tls: ClassVar = TLS
    kept: list[Kept] = attrs.field(init=False, factory=list)
    refused: list[LoginRefused] = attrs.field(init=False, factory=list)
    aborted: int = attrs.field(init=False, default=0)
    reversed_for: tuple[str, ...] | None = attrs.field(init=False, default=None)
    _sender: SenderOffered | None = attrs.field(init=False, default=None)
    _recipients: list[Address] = attrs.field(init=False, factory=list)
    _started: Started | None = attrs.field(init=False, default=None)
    _content: list[bytes] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.session = SMTPSession(self.settings)
        self.session.secured(TLS if self.secure else CLEAR)

    def greeting(self) -> bytes:
        self.session.greet()
        return self.session.take_output()

    def handle(self, event: SMTPEvent) -> None:
        match event:
            case TLSWanted():
                self.waits_for_tls = True
            case LoginAsked(question=question):
                self.session.answer(ACCOUNTS.answer(question))
            case LoginRefused():
                self.refused.append(event)
                self.session.answer(None)
            case SenderOffered(path):
                self._sender, self._recipients = event, []
                self.session.answer(self.judge_sender(path))
            case RecipientOffered(recipient):
                verdict = self.judge(recipient)
                if isinstance(verdict, Routed):
                    self._recipients.append(recipient)
                self.session.answer(verdict)
            case AddressAsked(name):
                self.session.answer(self.tell(name))
            case ListAsked(name):
                club = Members((Address("alice", "example.org"), Address("bob", "example.org")))
                lists = {"club": club, "choir": Members((*club.addresses, ZOE))}
                self.session.answer(lists.get(name, Refuse(BAD_MAILBOX, "no list")))
            case QueueStartAsked(domain):
                self.session.answer(self.start_queue(domain))
            case FetchAsked(domains):
                self.session.answer(self.find_waiting(domains))
            case RolesReversed(domains):
                self.reversed_for = domains
            case ClientNamed(attributes):
                self.session.answer(self.name_client(attributes))
            case MessageStarted():
                assert self._started is None
                sender, recipients = self._sender, tuple(self._recipients)
                assert sender is not None and recipients
                self._started = Started(sender.reverse_path, recipients, sender.protocol, sender.helo)
                self._content = []
            case MessageChunk(data):
                assert self._started is not None and data
                self._content.append(data)
            case MessageWithdrawn():
                assert self._started is not None
                self._started = None
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
                elif self.settings.lmtp:
                    started = self._started.without(TIGHT)
                    if started.recipients:
                        self.kept.append(Kept(started, b"".join(self._content)))
                    self.session.answer([self.judge_message(one) for one in self._started.recipients])
                else:
                    self.kept.append(Kept(self._started, b"".join(self._content)))
                    self.session.answer(Accept(f"Ok: queued as {len(self.kept)}"))
                self._started = None
            case CommandRefused() | LoggedIn() | OutputFull():
                pass  # feed() has taken the output by now

    def judge_message(self, recipient: Address) -> Verdict:
        if recipient.local == TIGHT:
            return Refuse(MAILBOX_FULL, "mailbox full")
        return Accept(f"Ok: queued as {len(self.kept)}")

    def name_client(self, attributes: Mapping[str, str]) -> NamedClient | Defer | Refuse:
        login = attributes.get("LOGIN", "")
        if attributes.get("ADDR") == "203.0.113.1":
            return Defer(POLICY, "too many connections from your address")
        if login not in ("", "alice"):
            return Refuse(NOT_AUTHORIZED, "no such account here")
        stranger = attrs.evolve(self.settings, xclient=False, xforward=False)
        # Without an address, its permissions are those of the proxy.
        settings = stranger if "ADDR" in attributes else self.settings
        return NamedClient(settings, f"{login}@example.org" if login else "")

    def judge_sender(self, path: ReversePath) -> Verdict:
        user = self.session.user
        if not user or path is None or str(path) == user:
            return Accept("Ok")
        return Refuse(NOT_AUTHORIZED, "not an address of yours")

    def judge(self, recipient: Address) -> Verdict:
        if recipient.domain == "null-mx.example":
            return Refuse(NULL_MX, "the domain null-mx.example does not accept mail (null MX)")
        if recipient.domain != "example.org":
            return Refuse(NOT_AUTHORIZED, "relaying denied")
        if recipient.local == "moved":
            return Moved(Address("there", "elsewhere.example"))
        if recipient.local == "gone":
            return Moved(ZOE)
        if recipient.local == "lent":
            return Routed((Destination(recipient.key, recipient),), announced=ZOE)
        if recipient.local == "sold":
            buyer = Address("buyer", "elsewhere.example")
            return Routed((Destination(recipient.key, recipient),), announced=buyer)
        if recipient.local == "full":
            return Refuse(MAILBOX_FULL, "mailbox full")
        if recipient.key.local not in NAMES:
            return Refuse(BAD_MAILBOX, f"<{recipient}> is no mailbox here")
        return Routed((Destination(recipient.key, recipient),))

    def start_queue(self, domain: str) -> QueueStarted | Refuse:
        if domain == "elsewhere.example":
            return Refuse(NOT_AUTHORIZED, "this server keeps no mail for it")
        return {"idle.example": QueueStarted(0), "busy.example": QueueStarted(1000, more=True)}.get(
            domain, QueueStarted(7)
        )

    def find_waiting(self, domains: tuple[str, ...]) -> MailWaits | Defer | Refuse:
        if "elsewhere.example" in domains:
            return NOT_FETCHED
        if "busy.example" in domains:
            return Defer(MAIL_SYSTEM, "the queue is not available now", "storage")
        return MailWaits(tuple(one for one in domains if one != "idle.example"))

    def tell(self, name: str) -> Verdict:
        if "@" in name and not name.endswith("@example.org"):
            return CannotVerify()
        local = name.partition("@")[0]
        if local == "moved":
            return Moved(Address("there", "elsewhere.example"))
        if local == "gone":
            return Moved(ZOE)
        if local == "lent":
            return Forwarded(ZOE)
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
    "mechanisms",  # those of AUTH
    "starttls",  # can be had: yes, no
    "secure",  # TLS from the start: yes, no
    "plaintext",  # AUTH without TLS: yes, no
    "submission",  # yes, no
    "lmtp",  # yes, no
    "trusted",  # may send without a login: yes, no
    "max_login_failures",
    "queue_starts",  # ETRN can be had: yes, no
    "fetches",  # ATRN can be had: yes, no
    "max_messages",
    "max_recipient_domains",
    "no_soliciting",  # classes
    "old_auth_line",  # yes, no
    "trusted",  # XCLIENT and XFORWARD can be had: yes, no
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
        mechanisms=tuple(dialogue.one("mechanisms", "").split()),
        starttls=dialogue.one("starttls", "no") == "yes",
        plaintext_auth=dialogue.one("plaintext", "no") == "yes",
        submission=dialogue.one("submission", "no") == "yes",
        lmtp=dialogue.one("lmtp", "no") == "yes",
        trusted=dialogue.one("trusted", "yes") == "yes",
        max_login_failures=int(dialogue.one("max_login_failures", "0")),
        queue_starts=dialogue.one("queue_starts", "no") == "yes",
        fetches=dialogue.one("fetches", "no") == "yes",
        max_messages=int(dialogue.one("max_messages", "0")),
        max_recipient_domains=int(dialogue.one("max_recipient_domains", "0")),
        no_soliciting=tuple(dialogue.one("no_soliciting", "").split()),
        old_auth_line=dialogue.one("old_auth_line", "no") == "yes",
        xclient=dialogue.one("trusted", "no") == "yes",
        xforward=dialogue.one("trusted", "no") == "yes",
    )
    return FakeServer(settings, full=dialogue.one("full", ""), secure=dialogue.one("secure", "no") == "yes")
