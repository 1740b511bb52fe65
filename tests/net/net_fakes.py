"""Routing, spool, portal and maildrops that a test holds in its hands; transports that remember."""

from collections.abc import Iterable, Iterator

import attrs
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from mailserver.errors import MaildropInUse, MessageVanished
from mailserver.interfaces import IContent, IMailUser, MessageInfo
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.verdict import BAD_MAILBOX, Destination, Refuse, Routed
from mailserver.net.connection import Connection, ConnectionFactory


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

    def route(self, recipient: Address) -> Deferred[object]:
        if self.broken:
            raise ZeroDivisionError("a mistake in the router")
        if recipient.local == "nobody":
            return self._answer(Refuse(BAD_MAILBOX, "not here"))
        return self._answer(Routed((Destination(recipient.key, recipient),)))

    def verify(self, name: str) -> Deferred[object]:
        return self._answer(Refuse(BAD_MAILBOX, "not here"))

    def _answer(self, verdict: object) -> Deferred[object]:
        if not self.slow:
            return succeed(verdict)
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
    commits: Deferred[None] = attrs.field(factory=Deferred)

    def write(self, data: bytes) -> Deferred[None] | None:
        self.chunks.append(data)
        return self.writing

    def commit(self) -> Deferred[None]:
        assert self.state == "open"
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


@implementer(IContent)
@attrs.frozen
class LargeContent:
    data: bytes
    size: int

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), 1000):
            yield self.data[start : start + 1000]


@attrs.define
class FakeMaildrop:
    contents: list[bytes]
    messages: list[MessageInfo] = attrs.field(init=False)
    released: int = 0
    removing: Deferred[frozenset[int]] | None = None
    removed: list[int] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.messages = [MessageInfo(f"uid-{i}", len(text)) for i, text in enumerate(self.contents)]

    def read(self, index: int) -> Deferred[object]:
        text = self.contents[index]
        if not text:
            return fail(MessageVanished("gone"))
        return succeed(text if len(text) < 10000 else LargeContent(text, len(text)))

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

    def open_maildrop(self) -> Deferred[FakeMaildrop]:
        return self.opening


@attrs.define
class FakePortal:
    """alice has the password secret; her maildrop is what the test puts there."""

    maildrop: FakeMaildrop
    in_use: bool = False
    opening: Deferred[FakeMaildrop] | None = None

    def login(self, credentials: object, mind: object, *interfaces: object) -> Deferred[object]:
        if (credentials.username, credentials.password) != (b"alice", b"secret"):  # type: ignore[attr-defined]
            return fail(UnauthorizedLogin())
        opening = self.opening or (fail(MaildropInUse("in use")) if self.in_use else succeed(self.maildrop))
        return succeed((IMailUser, FakeUser(Address("alice", "example.org"), opening), lambda: None))
