"""A whole server without sockets, and its clients: what the model of a maildrop is compared with."""

from collections.abc import Callable
from queue import Empty
from time import monotonic
from typing import Any

import attrs
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from tests.support.e2e.server import PASSWORD
from tests.support.fakes import stand_in
from tests.support.net.fakes import connect
from tests.support.store.pumped import PumpedReactor

SMTP, POP3 = 0, 1  # the order of the listeners
TICK = 0.02  # seconds
# Bodies of messages, with sizes on both sides of what a store reads at once.
BODIES = st.sampled_from(
    [b"", b".\r\n..\r\n.x\r\n", b"\xe4\xff\r\n", b"x" * 998 + b"\r\n", b"line\r\n" * 1000, b".y\r\n" * 70_000]
)
FLAGS = st.sampled_from(["2,", "2,S", "2,FRS"])
BOTH = st.integers(0, 1)
MANY = st.integers(0, 59)  # to choose one of what is there
PATIENCE = 60.0  # seconds
PIECE = 65536  # octets that arrive at once
LOST = Failure(ConnectionLost())


class Reactor(PumpedReactor, MemoryReactorClock):
    """Real threads, ports that nobody can reach, and time that passes while nothing happens."""

    def __init__(self) -> None:
        PumpedReactor.__init__(self)
        MemoryReactorClock.__init__(self)

    def pump_until(self, condition: Callable[[], object]) -> None:
        deadline = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < deadline, f"nothing happened in {PATIENCE} seconds"
            try:
                self._calls.get(timeout=TICK)()
            except Empty:
                self.advance(TICK)

    def linger(self) -> None:
        """Let the threads go on for a moment."""
        end = monotonic() + TICK
        self.pump_until(lambda: monotonic() > end)

    def wait(self, deferred: "Deferred[Any]") -> Any:
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.pump_until(lambda: results)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


@attrs.define(eq=False)
class Message:
    """A message. Its unique-id, and all its octets, are unknown until a session has seen them."""

    content: bytes
    octets: bytes = b""
    uid: bytes = b""
    gone: bool = False


class Client:
    """One client, of either protocol."""

    def __init__(self, reactor: Reactor, listener: int) -> None:
        self._reactor = reactor
        self._said = b""
        self.connection, self.wire = connect(stand_in(reactor.tcpServers[listener][1]))
        assert self.reply().startswith((b"+OK", b"220 "))

    def send(self, octets: bytes) -> None:
        for start in range(0, len(octets), PIECE):
            self._reactor.pump_until(lambda: self.wire.producerState == "producing")
            self.connection.dataReceived(octets[start : start + PIECE])

    def reply(self) -> bytes:
        """The next line, without its CRLF."""
        return self.up_to(b"\r\n")

    def ask(self, command: bytes) -> bytes:
        self.send(command + b"\r\n")
        return self.reply()

    def up_to(self, end: bytes) -> bytes:
        self._reactor.pump_until(lambda: end in self._heard())
        before, _, self._said = self._said.partition(end)
        return before

    def _heard(self) -> bytes:
        self._said += self.wire.said()
        return self._said

    def lose(self) -> None:
        """The connection is lost; both sides notice."""
        self.connection.connectionLost(LOST)


class Sender(Client):
    """Speaks SMTP."""

    def __init__(self, reactor: Reactor) -> None:
        super().__init__(reactor, SMTP)
        assert self.ask(b"HELO client.example").startswith(b"250 ")

    def begin(self, content: bytes) -> None:
        """Everything but the final dot."""
        assert self.ask(b"MAIL FROM:<sender@client.example>").startswith(b"250 ")
        for name in (b"alice", b"bob"):
            assert self.ask(b"RCPT TO:<%s@example.org>" % name).startswith(b"250 ")
        assert self.ask(b"DATA").startswith(b"354 ")
        self.send(content.replace(b"\r\n.", b"\r\n.."))


class Reader(Client):
    """Speaks POP3.

    ``snapshot`` is what the model says of its session, None outside of the transaction state;
    ``marked`` has numbers.
    """

    def __init__(self, reactor: Reactor) -> None:
        super().__init__(reactor, POP3)
        self.snapshot: list[Message] | None = None
        self.marked: set[int] = set()

    def log_in(self) -> bytes:
        """The answer to PASS."""
        assert self.ask(b"USER alice@example.org").startswith(b"+OK")
        return self.ask(b"PASS " + PASSWORD.encode())

    def multi(self, command: bytes) -> bytes:
        """The octets of a multi-line reply, byte-stuffing undone; the reply itself if it is -ERR."""
        first = self.ask(command)
        if not first.startswith(b"+OK"):
            return first
        dot = b".\r\n"
        self._reactor.pump_until(lambda: self._heard().startswith(dot) or b"\r\n" + dot in self._said)
        if self._said.startswith(dot):
            return self.up_to(dot)
        text = self.up_to(b"\r\n" + dot) + b"\r\n"
        return text.replace(b"\r\n.", b"\r\n").removeprefix(b".")

    def lose(self) -> None:
        super().lose()
        self.snapshot = None
        self.marked.clear()

    def present(self) -> dict[int, Message]:
        """What is there and not marked, by number."""
        assert self.snapshot is not None
        numbered = enumerate(self.snapshot, 1)
        return {number: message for number, message in numbered if number not in self.marked}

    def some_number(self, which: int) -> int:
        """A number from none to one too many."""
        assert self.snapshot is not None
        return which % (len(self.snapshot) + 2)

    def to_be_removed(self) -> list[Message]:
        return [self.snapshot[number - 1] for number in sorted(self.marked)] if self.snapshot else []
