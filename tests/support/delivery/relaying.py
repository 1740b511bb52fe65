"""An engine for other servers whose connections are scripts: no network, and the time of a ``Clock``."""

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from mailserver.config.keys.queue import QueueSection
from mailserver.config.keys.relay import RelaySection
from mailserver.config.keys.top_level import Config
from mailserver.delivery.smtp.content import MessageContent
from mailserver.delivery.smtp.engine import SMTPDelivery
from mailserver.dns.records import MX
from mailserver.errors import HostUnusable
from mailserver.interfaces import QueuedMessage
from mailserver.mail.handling import USUAL, Handling
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import QueuedRecipient
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSRequirement
from mailserver.mail.verdict import Status
from mailserver.queue.entries import InMemoryContent
from mailserver.smtp.sender.events import CloseCause, Fate, RecipientResult, SessionClosed
from mailserver.smtp.sender.extensions import ServerExtensions
from mailserver.smtp.sender.replies import ServerReply
from mailserver.smtp.sender.settings import OutgoingMail, SenderSettings
from tests.support.fakes import stand_in
from tests.support.reactor import FakeReactor
from tests.support.resolvers import FakeResolver

TEXT = b"Subject: test\r\n\r\nHello\r\n"
ALL = ServerExtensions(pipelining=True, eight_bit=True, utf8=True)


def result(fate: Fate, code: int = 0, text: str = "") -> RecipientResult:
    """The result of one recipient; with a code, the server has decided."""
    reply = ServerReply(code, (text,)) if code else None
    return RecipientResult(fate, Status(0, 0), text, reply)


ACCEPTED = result(Fate.ACCEPTED, 250, "2.0.0 ok")
UNTRIED = result(Fate.UNTRIED, 0, "the connection is lost")

Results = Sequence[RecipientResult]
# What a connection does with a message: its results, and whether the session ends then.
Step = tuple[Results, CloseCause | None]


@attrs.define(eq=False)
class ScriptedConnection:
    """Answers each message with the next step, after the last one with success."""

    label: str
    steps: list[Step | BaseException]
    extensions: ServerExtensions = ALL
    tls_problem: str | None = ""
    messages: int = 0
    ended: SessionClosed | None = None
    sent: list[tuple[OutgoingMail, bytes]] = attrs.field(factory=list)
    held: bool = False
    waiting: Deferred[Any] | None = None
    quits: int = 0
    host: RelayHost | None = None

    @property
    def idle(self) -> bool:
        return self.ended is None and self.waiting is None

    def send(self, mail: OutgoingMail, content: MessageContent) -> Deferred[Results]:
        assert self.idle
        self.messages += 1
        self.sent.append((mail, _octets(content)))
        self.waiting = waiting = Deferred[Any]()
        if not self.held:
            self.answer()
        return waiting

    def answer(self) -> None:
        """Answer the message under way."""
        waiting, self.waiting = self.waiting, None
        assert waiting is not None
        step = self.steps.pop(0) if self.steps else ([ACCEPTED] * len(self.sent[-1][0].recipients), None)
        if isinstance(step, BaseException):
            waiting.errback(step)
            return
        results, cause = step
        if cause is not None:
            self.end(cause)
        waiting.callback(tuple(results))

    def end(self, cause: CloseCause = CloseCause.LOST) -> None:
        self.ended = SessionClosed(cause, "the end")

    def quit(self) -> None:
        if self.ended is None:
            self.quits += 1
            self.end(CloseCause.QUIT)

    def give_up(self, text: str) -> None:
        if self.waiting is not None:
            count = len(self.sent[-1][0].recipients)
            self.steps[:0] = [([result(Fate.UNTRIED, 0, text)] * count, CloseCause.LOST)]
            self.answer()


def _octets(content: MessageContent) -> bytes:
    if content.whole is not None:
        return content.whole
    pieces: list[bytes] = []
    while not pieces or pieces[-1]:
        content.read().addCallback(pieces.append)
    return b"".join(pieces)


@attrs.define
class Dialled:
    """A call of the dialler."""

    host: RelayHost
    settings: SenderSettings
    requirement: TLSRequirement
    answer: Deferred[ScriptedConnection]


@attrs.define
class ScriptedDialler:
    """Connects as ``scripts`` say, by host name: a list of connections or errors, the last one for ever.

    A host without a script takes all mail. ``held``: a test answers the ``dialled`` calls itself.
    """

    scripts: dict[str, list[Any]] = attrs.field(factory=dict)
    held: bool = False
    dialled: list[Dialled] = attrs.field(factory=list)
    made: list[ScriptedConnection] = attrs.field(factory=list)
    down: set[str] = attrs.field(factory=set)

    def is_down(self, host: RelayHost) -> bool:
        return host.name in self.down

    def mark_down(self, host: RelayHost) -> None:
        self.down.add(host.name)

    def dial(
        self, host: RelayHost, settings: SenderSettings, requirement: TLSRequirement, source: object = ()
    ) -> Deferred[Any]:
        if self.held:
            self.dialled.append(Dialled(host, settings, requirement, Deferred()))
            return self.dialled[-1].answer
        script = self.scripts.get(host.name) or [[]]
        what = script.pop(0) if len(script) > 1 else script[0]
        answer: Deferred[Any] = (
            fail(what) if isinstance(what, Exception) else succeed(self.connection(host, what))
        )
        self.dialled.append(Dialled(host, settings, requirement, answer))
        return answer

    def connection(self, host: RelayHost, what: Any = ()) -> ScriptedConnection:
        """A new connection; ``what`` is one, or its steps."""
        label = host.label(host.addresses[0] if host.addresses else "")
        made = what if isinstance(what, ScriptedConnection) else ScriptedConnection(label, list(what))
        made.host = host
        self.made.append(made)
        return made

    @property
    def names(self) -> list[str]:
        """The names of the hosts that were dialled, in order."""
        return [one.host.name for one in self.dialled]


def unusable(text: str, reply: str = "", **more: Any) -> HostUnusable:
    return HostUnusable(text, text.partition(":")[0].partition(" ")[0], reply, **more)


class Relay:
    """The engine with all around it. ``options`` are keys of the section [relay]."""

    def __init__(
        self,
        records: dict[Any, Any] | None = None,
        scripts: dict[str, list[Any]] | None = None,
        *,
        policy: Any = None,
        throttle: Sequence[Any] = (),
        queue: QueueSection | None = None,
        held: bool = False,
        **options: Any,
    ) -> None:
        self.reactor = FakeReactor()
        self.resolver = FakeResolver(records or two_hosts(), self.reactor)
        self.dialler = ScriptedDialler(scripts or {}, held)
        self.config = Config(
            hostname="mail.example.org",
            relay=RelaySection(**options),
            throttle=tuple(throttle),
            queue=queue or QueueSection(),
        )
        self.engine = SMTPDelivery(
            self.config,
            stand_in(self.reactor),
            stand_in(self.dialler),
            self.resolver,
            (lambda configured: policy) if policy is not None else (lambda configured: configured),
            now=lambda: 1e9 + self.reactor.seconds(),
        )

    def reload(self, **options: Any) -> None:
        """Put another section [relay] in force."""
        config = attrs.evolve(self.config, relay=RelaySection(**options))
        Deferred.fromCoroutine(self.engine.prepare(config)).addCallback(lambda commit: commit())

    def start(
        self,
        *recipients: "str | QueuedRecipient",
        text: bytes = TEXT,
        domain: str = "example.net",
        content: Any = None,
        handling: Handling = USUAL,
        sender: str = "alice@example.org",
    ) -> list[Any]:
        """Begin an attempt. The list gets the outcomes in the order of the recipients, or a Failure."""
        queued = [
            one if isinstance(one, QueuedRecipient) else recipient(one, number, domain)
            for number, one in enumerate(recipients or ("bob",))
        ]
        message = QueuedMessage(
            1, "m1", 0.0, sender, len(text), content or InMemoryContent(text), handling=handling
        )
        results: list[Any] = []

        def done(outcomes: Any) -> None:
            results.extend(outcomes[one] for one in queued if one in outcomes)

        self.engine.deliver(message, queued).addCallbacks(done, results.append)
        return results

    def outcome(self, name: "str | QueuedRecipient" = "bob", **more: Any) -> DeliveryOutcome:
        """The outcome for one recipient, of an attempt that is over at once."""
        [found] = self.start(name, **more)
        if isinstance(found, DeliveryOutcome):
            return found
        found.raiseException()
        raise AssertionError


def recipient(
    name: str, number: int = 0, domain: str = "example.net", head: bytes = b"", **more: Any
) -> QueuedRecipient:
    address = f"{name}@{domain}"
    values: dict[str, Any] = {"reverse_path": "alice@example.org", **more}
    return QueuedRecipient(
        number, f"smtp:{domain}", address, address, head=head, attempts=0, next=0.0, history=(), **values
    )


def two_hosts(domain: str = "example.net") -> dict[Any, Any]:
    """The records of a domain with two hosts, mx1 before mx2."""
    return {
        (domain, "MX"): [MX(10, f"mx1.{domain}"), MX(20, f"mx2.{domain}")],
        (f"mx1.{domain}", "A"): ["198.41.0.4"],
        (f"mx2.{domain}", "A"): ["199.9.14.201"],
    }
