"""The core of a sending session: input, output, events, and the commands whose reply is awaited.

A row of :class:`ClientCommand` describes a command: how long to wait for its reply, and the handler of the
reply. A handler never changes the state. It returns the trigger of a transition, or None if the state stays.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

from mailserver.smtp.sender.events import CloseCause, SenderEvent, SessionClosed
from mailserver.smtp.sender.extensions import NO_EXTENSIONS, ServerExtensions
from mailserver.smtp.sender.replies import BadReply, ReplyReader, ServerReply
from mailserver.smtp.sender.states import SenderState, Trigger, next_state

# RFC 5321 section 4.5.3.2 has no time for a TLS handshake. A block of content: section 4.5.3.2.5.
HANDSHAKE_TIMEOUT = 60.0
BLOCK_TIMEOUT = 180.0


@attrs.frozen(eq=False)
class ClientCommand:
    """One row. ``name`` is for people, as in "the reply to MAIL". ``timeout``: seconds to wait for the reply
    (RFC 5321 section 4.5.3.2).

    ``final``: the reply decides on the message, also if it is a 421, which ends the session in other places.
    """

    name: str
    timeout: float
    replied: Callable[[Any, ServerReply], Trigger | None]
    final: bool = False


class ClientCore(ABC):
    """The core of a session. ``replies`` is the number of replies that were read."""

    __slots__ = (
        "_awaited",
        "_events",
        "_output",
        "_planned",
        "_reader",
        "closed",
        "extensions",
        "replies",
        "state",
    )

    def __init__(self, first: ClientCommand) -> None:
        self._reader = ReplyReader()
        self._output: list[bytes] = []
        self._events: deque[SenderEvent] = deque()
        # The commands whose reply is awaited, and those that are not sent yet.
        self._awaited: deque[ClientCommand] = deque((first,))
        self._planned: deque[tuple[ClientCommand, bytes]] = deque()
        self.state = SenderState.GREETING
        self.extensions: ServerExtensions = NO_EXTENSIONS
        self.replies = 0
        self.closed = False

    # ------------------------------------------------------------ for callers

    def receive(self, data: bytes) -> None:
        """Add input from the server. A closed session ignores it."""
        if not self.closed:
            self._reader.feed(data)

    def take_output(self) -> bytes:
        """The octets to send since the last call."""
        if not self._output:
            return b""
        data = b"".join(self._output)
        self._output.clear()
        return data

    def next_event(self) -> SenderEvent | None:
        """The next event; None if the session waits for input or for the caller."""
        while not self._events:
            if self.closed:
                return None
            if self.state is SenderState.HANDSHAKE:
                if len(self._reader):
                    self._violated("the server sends octets without TLS after it has accepted STARTTLS")
                    continue
                return None
            try:
                reply = self._reader.next_reply()
            except BadReply as error:
                self._violated(f"the server sends {error}")
                continue
            if reply is None:
                return None
            self.replies += 1
            self._read(reply)
        return self._events.popleft()

    @property
    def timeout(self) -> float | None:
        """Seconds to wait for what is expected next (RFC 5321 section 4.5.3.2); None if nothing is.

        The time begins anew when :attr:`replies` grows, and when the connection accepts output.
        """
        if self.state is SenderState.HANDSHAKE:
            return HANDSHAKE_TIMEOUT
        if self.state is SenderState.CONTENT:
            return BLOCK_TIMEOUT
        return self._awaited[0].timeout if self._awaited else None

    @property
    def awaits(self) -> str:
        """What :attr:`timeout` is for, in words that continue "waiting for"; "" if nothing is expected."""
        if self.state is SenderState.HANDSHAKE:
            return "the TLS handshake"
        if self.state is SenderState.CONTENT:
            return "the server to read the content"
        return self._awaited[0].name if self._awaited else ""

    def connection_lost(self, text: str = "the connection is lost") -> None:
        """The connection is gone, or the caller gives up after :attr:`timeout` and will close it.

        ``text`` is for :class:`SessionClosed` and for the results of the message.
        """
        cause = CloseCause.QUIT if self.state is SenderState.LEAVING else CloseCause.LOST
        self._close(cause, text)

    # ------------------------------------------------------------ for the parts

    @abstractmethod
    def _closing(self, text: str, reply: ServerReply | None) -> None:
        """The session ends: decide the message that is under way."""

    @abstractmethod
    def _unexpected(self, reply: ServerReply) -> None:
        """A reply while none is awaited. The session must end."""

    def _send(self, command: ClientCommand, line: bytes) -> None:
        """Send a command now. ``line`` is without CRLF."""
        self._output.append(line + b"\r\n")
        self._awaited.append(command)

    def _send_planned(self) -> None:
        """Send the planned commands: all of them (RFC 2920), or the next one."""
        while self._planned and (self.extensions.pipelining or not self._awaited):
            self._send(*self._planned.popleft())

    def _go(self, trigger: Trigger) -> None:
        self.state = next_state(self.state, trigger)

    def _read(self, reply: ServerReply) -> None:
        if not self._awaited:
            if reply.code == 421:
                self._ended_by(reply)
            else:
                self._unexpected(reply)
            return
        if reply.code == 421 and not self._awaited[0].final:
            # The replies to other commands that were sent will not come.
            self._ended_by(reply)
            return
        trigger = self._awaited.popleft().replied(self, reply)
        if self.closed:
            return
        if trigger is not None:
            self._go(trigger)
        self._send_planned()
        if reply.code == 421 and not self._awaited:
            self._ended_by(reply)

    def _ended_by(self, reply: ServerReply) -> None:
        self._close(CloseCause.REFUSED, f"the server has ended the session: {reply}", reply)

    def _violated(self, text: str, reply: ServerReply | None = None) -> None:
        self._close(CloseCause.PROTOCOL, text, reply)

    def _close(
        self, cause: CloseCause, text: str, reply: ServerReply | None = None, *, quit: bool = False
    ) -> None:
        """End the session. ``quit``: with QUIT, whose reply is not awaited."""
        if self.closed:
            return
        self._closing(text, reply)
        if quit:
            self._output.append(b"QUIT\r\n")
        self._go(Trigger.CLOSED)
        self.closed = True
        self._awaited.clear()
        self._reader = ReplyReader()
        self._events.append(SessionClosed(cause, text, reply))
