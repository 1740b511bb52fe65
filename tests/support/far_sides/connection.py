"""One connection to a far side, without the protocol: octets come in, and what the script says goes out."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection as TCPConnection
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from tests.support.far_sides.records import Session, TLSFacts, Transaction
from tests.support.far_sides.scripts import (
    Act,
    AwaitOctets,
    BeginTLS,
    Drop,
    Endless,
    Keep,
    Say,
    Silence,
    Usual,
)

if TYPE_CHECKING:
    from tests.support.far_sides.far_side import FarSide

ENDLESS = b"250-and so on\r\n" * 4369


class FarConnection(Protocol):
    """See the module."""

    def __init__(self, far: "FarSide", session: Session) -> None:
        self._far = far
        self._session = session
        self._buffer = b""
        self._acts: deque[tuple[Act, Callable[[], None], Callable[[bytes], None]]] = deque()
        self._waits = False  # for octets, for time, or for the end
        self._deaf = False
        self._read: Callable[[], bool]  # takes what it can out of the buffer; whether that was something
        self._transaction: Transaction | None = None
        self._ending: Transaction | None = None  # whose end is being answered
        self._broken_tls = False

    # ------------------------------------------------------------ the connection

    def connectionMade(self) -> None:
        if isinstance(self.transport, TCPConnection):
            self.transport.setTcpNoDelay(True)  # single octets would wait for 40 ms of real time
        if self._far.implicit:
            self._begin_tls()
        self._at("connect", "", self.greet)

    def greet(self) -> None:
        raise NotImplementedError

    def dataReceived(self, data: bytes) -> None:
        if self._deaf:
            return
        self._buffer += data
        if self._acts and isinstance(self._acts[0][0], AwaitOctets):
            self._acts.popleft()
            self._waits = False
            self._buffer = b""
            self._act()
        self._go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._session.over = True
        self._deaf = self._waits = True

    def _go_on(self) -> None:
        while not self._waits and not self._acts and self._read():
            pass

    def _fault(self, what: str) -> None:
        if not self._broken_tls:
            last = "; ".join(self._session.dialogue[-6:])
            self._far.faults.append(f"{self._far.name}: {what} ({last})")

    def _say(self, text: str) -> None:
        self._session.dialogue.append(f"< {text}")
        self._send(text.encode() + b"\r\n")

    def _send(self, octets: bytes) -> None:
        if self.transport is not None and not self._session.over:
            self.transport.write(octets)

    # ------------------------------------------------------------ the script

    def _at(
        self, step: str, argument: str, usual: Callable[[], None], said: Callable[[bytes], None] | None = None
    ) -> None:
        """Do what is to be done at a step; ``said`` is told what was said in place of the usual."""
        for act in self._far.acts(step, argument, lambda per: self._scope(per, argument)):
            self._acts.append((act, usual, said or (lambda octets: None)))
        self._act()

    def _scope(self, per: str, argument: str) -> object:
        scopes = {"server": None, "connection": self, "argument": argument}
        return scopes.get(per, self._transaction or self._ending)

    def _act(self) -> None:
        while self._acts and not self._waits:
            act, usual, said = self._acts[0]
            if isinstance(act, AwaitOctets):
                self._waits = True
                return
            self._acts.popleft()
            match act:
                case Usual():
                    usual()
                case Say():
                    self._session.dialogue.append(f"< {act.octets.decode('latin-1').strip()}")
                    said(act.octets)
                    self._say_slowly(act.octets, act.pause)
                case Keep():
                    if self._ending is not None:
                        self._ending.kept = True
                case Silence():
                    self._deaf = self._waits = True
                case Drop():
                    self._deaf = self._waits = True
                    self._hang_up()
                case Endless():
                    self._deaf = self._waits = True
                    self._talk()
                case BeginTLS():
                    self._begin_tls()

    def _hang_up(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def _say_slowly(self, octets: bytes, pause: float) -> None:
        if not pause:
            self._send(octets)
            return
        self._waits = True
        self._send(octets[:1])
        if octets[1:]:
            self._far.reactor.callLater(pause, self._say_slowly, octets[1:], pause)
            return
        self._waits = self._session.over
        self._act()
        self._go_on()

    def _talk(self) -> None:
        if not self._session.over:
            self._send(ENDLESS)
            self._far.reactor.callLater(1.0, self._talk)

    def _begin_tls(self) -> None:
        """As ``startTLS``, with our reactor, which need not be the one that everybody imports."""
        raw: Any = self.transport
        assert self._far.tls is not None
        factory = TLSMemoryBIOFactory(self._far.tls, False, Factory(), self._far.reactor)
        tls = TLSMemoryBIOProtocol(factory, self, _connectWrapped=False)
        tls.factory = factory
        raw.protocol = tls
        tls.makeConnection(raw)
        self.transport = tls
        self._buffer = b""
        self._session.hello = ""

    def _look_at_tls(self) -> None:
        handle: Any = getattr(self.transport, "getHandle", lambda: None)()
        if self._session.tls is None and hasattr(handle, "get_cipher_name"):
            facts = handle.get_protocol_version_name(), handle.get_cipher_name(), handle.get_servername()
            version, cipher, name = facts
            self._session.tls = TLSFacts(version, cipher or "", (name or b"").decode())
