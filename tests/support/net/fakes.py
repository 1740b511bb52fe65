"""Routing, spool, portal and maildrops that a test holds in its hands; transports that remember."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import attrs
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.config.keys.limits import LimitsSection
from mailserver.errors import MaildropInUse, MessageVanished, StorageError
from mailserver.interfaces import IContent, IMailUser, IMessageReader, IStoredMessage
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.snapshot import Snapshot
from mailserver.mail.verdict import BAD_MAILBOX, NOT_AUTHORIZED, Accept, Destination, Refuse, Routed
from mailserver.net.connection import Connection
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.factory import ConnectionFactory
from mailserver.net.limits import Limits
from mailserver.net.listener_context import ListenerContext
from mailserver.net.pop3 import POP3Factory
from mailserver.net.run_queue import RunQueue
from mailserver.net.smtp import SMTPFactory
from mailserver.policy.rates import SendingRates
from mailserver.policy.senders import SenderOwnership
from mailserver.pop3.options import POP3Options
from mailserver.queue.entries import InMemoryContent
from mailserver.reception.reception import Reception
from mailserver.sasl.steps import FetchKeys, FetchSecret, Granted, Question
from mailserver.smtp.options import SMTPOptions
from tests.support.fakes import stand_in
from tests.support.net.limits import NO_LIMITS
from tests.support.reactor import FakeReactor
from tests.support.sasl.fake_accounts import FakeAccounts


class Wire(StringTransport):
    """A transport that does what a real one does when it is closed, or told to stop reading."""

    connected = True
    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to do: there is no network."""

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True

    def said(self) -> bytes:
        """All that was written since the last call."""
        value = self.value()
        self.clear()
        return value


def connect(factory: ConnectionFactory, host: str = "192.0.2.1") -> tuple[Connection, Wire]:
    """A connection of the factory, on a transport of its own."""
    address = IPv4Address("TCP", host, 40000)
    connection = factory.buildProtocol(address)
    assert isinstance(connection, Connection)
    wire = Wire(peerAddress=address)
    connection.makeConnection(wire)
    return connection, wire


@attrs.define
class FakeRouter:
    """Knows everybody but nobody@; with ``slow``, answers when the test says so."""

    slow: bool = False
    broken: bool = False
    waiting: list[tuple[Deferred[object], object]] = attrs.field(factory=list)
    asked: list[object] = attrs.field(factory=list)

    def route(self, recipient: Address) -> Any:
        if self.broken:
            raise ZeroDivisionError("a mistake in the router")
        self.asked.append(recipient)
        if recipient.local == "nobody":
            return self._answer(Refuse(BAD_MAILBOX, "not here", "routing"))
        return self._answer(Routed((Destination(recipient.key, recipient),)))

    def sender(self, account: Address, reverse_path: Address | None) -> Any:
        if reverse_path is None or reverse_path.key == account:
            return self._answer(Accept("Ok"))
        return self._answer(Refuse(NOT_AUTHORIZED, "not an address of yours", "submission.senders"))

    def verify(self, name: str) -> Any:
        self.asked.append(name)
        return self._answer(Refuse(BAD_MAILBOX, "not here", "routing"))

    expand = verify

    def _answer(self, verdict: object) -> Any:
        if not self.slow:
            return verdict
        deferred: Deferred[object] = Deferred()
        self.waiting.append((deferred, verdict))
        return deferred

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for deferred, verdict in waiting:
            deferred.callback(verdict)


@attrs.define
class FakeIncoming:
    envelope: Envelope
    trace: bytes
    chunks: list[bytes] = attrs.field(factory=list)
    state: str = "open"
    writing: Deferred[None] | None = None
    commits: Deferred[Any] = attrs.field(factory=Deferred)
    fields: bytes | None = None
    together: Sequence[Collection[Address]] | None = None
    aside: Address | None = None
    changed: IContent | None = None

    @property
    def content(self) -> InMemoryContent:
        return InMemoryContent(b"".join(self.chunks))

    def write(self, data: bytes) -> Deferred[None] | None:
        self.chunks.append(data)
        return self.writing

    def commit(
        self,
        fields: bytes = b"",
        together: Sequence[Collection[Address]] | None = None,
        aside: Address | None = None,
        changed: IContent | None = None,
    ) -> Deferred[Any]:
        assert self.state == "open"
        self.fields, self.together, self.aside, self.changed = fields, together, aside, changed
        self.state = "committing"
        return self.commits

    def abandon(self) -> None:
        assert self.state == "open"
        self.state = "abandoned"


@attrs.define
class FakeSpool:
    """Remembers what came; a message is committed when the test fires its ``commits``."""

    messages: list[FakeIncoming] = attrs.field(factory=list)
    slow_writes: bool = False

    def receive(self, envelope: Envelope, trace: bytes) -> FakeIncoming:
        message = FakeIncoming(envelope, trace)
        if self.slow_writes:
            message.writing = Deferred()
        self.messages.append(message)
        return message


@implementer(IStoredMessage)
@attrs.frozen
class LargeMessage:
    """In pieces of 1,000 octets, each of which has to be waited for if it is ``slow``."""

    data: bytes
    size: int
    slow: bool = False

    def open(self) -> "Reader":
        return Reader(self.chunks(), self.slow)

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), 1000):
            yield self.data[start : start + 1000]


@implementer(IMessageReader)
@attrs.define
class Reader:
    pieces: Iterator[bytes]
    slow: bool
    closed: bool = False

    def read_nowait(self) -> bytes | None:
        return None if self.slow else self.read()

    def read(self) -> bytes:
        return next(self.pieces, b"")

    def close(self) -> None:
        self.closed = True


@attrs.define
class FakeMaildrop:
    contents: list[bytes]
    messages: Snapshot = attrs.field(init=False)
    released: int = 0
    removing: Deferred[frozenset[int]] | None = None
    removed: list[int] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.messages = Snapshot([f"uid-{i}" for i in range(len(self.contents))], map(len, self.contents))

    def read(self, index: int) -> Deferred[object]:
        text = self.contents[index]
        if not text:
            return fail(MessageVanished("gone"))
        return succeed(text if len(text) < 10000 else LargeMessage(text, len(text)))

    def remove(self, indexes: Iterable[int]) -> Deferred[frozenset[int]]:
        self.removed += indexes
        return self.removing or succeed(frozenset())

    def release(self) -> None:
        self.released += 1


@implementer(IMailUser)
@attrs.frozen
class FakeUser:
    address: Address
    opening: Deferred[FakeMaildrop]

    def open_maildrop(self) -> Deferred[FakeMaildrop]:  # type: ignore[override]
        return self.opening


ACCOUNTS = FakeAccounts({"alice": "secret"})


@attrs.define
class FakeAuthenticator:
    """alice has the password secret; her maildrop is what the test puts there."""

    maildrop: FakeMaildrop = attrs.field(factory=lambda: FakeMaildrop([]))
    in_use: bool = False
    broken: bool = False
    opening: Deferred[FakeMaildrop] | None = None
    checking: Deferred[FakeUser] | None = None
    removed: bool = False
    asked: list[Question] = attrs.field(factory=list)

    def admits(self, user: FakeUser) -> bool:
        return not self.removed

    def log_in(self, question: Question, client_ip: str) -> Deferred[FakeUser]:
        self.asked.append(question)
        if self.checking is not None:
            return self.checking
        if self.broken:
            return fail(StorageError("broken"))
        if not isinstance(ACCOUNTS.answer(question), Granted):
            return fail(UnauthorizedLogin())
        opening = self.opening or (fail(MaildropInUse("in use")) if self.in_use else succeed(self.maildrop))
        return succeed(FakeUser(Address("alice", "example.org"), opening))

    def keys(self, question: FetchKeys | FetchSecret, client_ip: str) -> Deferred[object]:
        return succeed(ACCOUNTS.answer(question))

    def normal(self, name: str) -> str:
        return name.casefold()


def context(reactor: FakeReactor, settings: LimitsSection = NO_LIMITS, **more: object) -> ListenerContext:
    """A port with limits, none if there are no settings."""
    return ListenerContext(Limits(settings, reactor.seconds), RunQueue(reactor), **more)  # type: ignore[arg-type]


# ------------------------------------------------------------ ports

LOST = Failure(ConnectionLost())
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256")
SMTP_OPTIONS = SMTPOptions(
    hostname="mail.example.org", domain="example.org", mechanisms=MECHANISMS, plaintext_auth=True
)
POP3_OPTIONS = POP3Options(hostname="mail.example.org", mechanisms=MECHANISMS, plaintext_auth=True)


class Port:
    """A port whose surroundings are the test's. Without ``limits`` there are none."""

    greeting: bytes
    hello = b""
    factory: ConnectionFactory

    def __init__(
        self, reactor: FakeReactor | None, limits: LimitsSection, context_options: dict[str, Any]
    ) -> None:
        self.reactor = reactor or FakeReactor()
        self.authenticator = FakeAuthenticator()
        self.context = context(self.reactor, limits, **context_options)
        self.limits = self.context.limits

    def client(self, first: bytes = b"", host: str = "192.0.2.1") -> tuple[Connection, Wire]:
        """A client that has been greeted, and has said ``first``; what it was answered is still there."""
        connection, wire = connect(self.factory, host)
        assert wire.said() == self.greeting
        if first:
            connection.dataReceived(first)
        return connection, wire

    def caller(self, first: bytes = b"", host: str = "192.0.2.1") -> tuple[Connection, Wire]:
        """As :meth:`client`, with everything said that comes before a login."""
        connection, wire = self.client(self.hello, host)
        wire.said()
        if first:
            connection.dataReceived(first)
        return connection, wire

    def stop(self, grace: float = 5.0) -> list[None]:
        """Stop the port; the list gets an item when everybody is gone."""
        done: list[None] = []
        self.factory.stop(grace).addCallback(done.append)
        return done

    @property
    def is_clean(self) -> bool:
        """Nobody is here, and nobody has left anything."""
        open_connections = (
            self.factory.connections or self.factory.before_header or self.limits.connections.total
        )
        return not open_connections and not self.reactor.getDelayedCalls()


class SMTPPort(Port):
    """See :class:`Port`. ``settings`` are attributes of its options, the rest those of its context."""

    greeting = b"220 mail.example.org ESMTP mailserver ready\r\n"
    hello = b"EHLO c.example\r\n"

    def __init__(
        self,
        reactor: FakeReactor | None = None,
        limits: LimitsSection = NO_LIMITS,
        settings: dict[str, Any] | None = None,
        **context_options: Any,
    ) -> None:
        super().__init__(reactor, limits, context_options)
        self.options = attrs.evolve(SMTP_OPTIONS, **settings or {})
        self.router = FakeRouter()
        self.spool = FakeSpool()
        router, spool = stand_in(self.router), stand_in(self.spool)
        checks = SendingRates(self.limits), SenderOwnership(router)
        reception = Reception(router, spool, checks, hostname=self.options.hostname)
        self.factory = SMTPFactory(
            self.context,
            lambda ip: self.options,
            lambda: reception,
            stand_in(self.authenticator),
            stand_in(self.reactor),
        )


class POP3Port(Port):
    """As :class:`SMTPPort`."""

    greeting = b"+OK mail.example.org POP3 server ready\r\n"

    def __init__(
        self,
        reactor: FakeReactor | None = None,
        limits: LimitsSection = NO_LIMITS,
        settings: dict[str, Any] | None = None,
        **context_options: Any,
    ) -> None:
        super().__init__(reactor, limits, context_options)
        self.options = attrs.evolve(POP3_OPTIONS, **settings or {})
        logins: ExpiringTable[Address, float] = ExpiringTable(10, 1000, self.reactor.seconds)
        self.factory = POP3Factory(
            self.context,
            lambda ip: self.options,
            stand_in(self.authenticator),
            stand_in(self.reactor),
            logins,
        )


@attrs.define
class Journal:
    """What has been logged."""

    events: list[dict[str, Any]] = attrs.field(factory=list)

    def lines(self, *rules: str) -> list[str]:
        """The text of each event, or of those with one of these rules."""
        return [formatEvent(event) for event in self.events if not rules or event.get("rule") in rules]

    @property
    def failures(self) -> list[Failure]:
        """The tracebacks."""
        return [event["log_failure"] for event in self.events if event.get("log_failure") is not None]
