"""A session of a line-based protocol: input, output, the running verb, the open request.

The caller gives input to :meth:`LineSession.receive`. :meth:`LineSession.next_event` runs commands until
there is an event for the caller. :meth:`LineSession.take_output` returns the replies, in the order of the
commands. The session reads no input while a request is open, so it answers pipelined commands (RFC 2920, RFC
2449 section 6.6) in order.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, cast

from mailserver.sasl.exchange import Finished
from mailserver.sasl.mechanisms import Channel
from mailserver.sasl.steps import Reason
from mailserver.session.events import CommandRefused, LoginAsked, LoginRefused, OutputFull, SessionRequest
from mailserver.session.login import LoginStep, SASLLogin
from mailserver.session.output import OutputBuffer
from mailserver.session.verbs import NegativeReply, Pieces, Refused, SessionState, Step, Verb
from mailserver.wire.lines import Line, LineBuffer

# Number of rejected senders, recipients and looked-up names since the last message that do not count as
# errors: a mailing list may have many members that no longer exist.
FREE_REFUSALS = 100

_OUTPUT_FULL = OutputFull()
_NO_RESPONSE = {Line.TOO_LONG: Reason.TOO_LONG, Line.BARE_NEWLINE: Reason.MALFORMED}


class LineSession(ABC):
    """One client's session. ``awaited`` is the open request, None if there is none.

    ``commands`` is the number of lines that have run, ``octets`` the number of message octets received.
    ``closed``: close the connection after the output is sent.
    """

    START: ClassVar[SessionState]
    CLOSED: ClassVar[SessionState]
    TOO_MANY_ERRORS: ClassVar[NegativeReply]
    # A good command sets the number of errors to 0.
    ERRORS_IN_A_ROW: ClassVar[bool] = False
    # Octets before the end of a line that are not part of the line.
    PADDING: ClassVar[bytes] = b""

    __slots__ = (
        "_errors",
        "_event",
        "_input",
        "_login",
        "_max_errors",
        "_output",
        "_pieces",
        "_refused_names",
        "_verb",
        "awaited",
        "closed",
        "commands",
        "octets",
        "state",
    )

    def __init__(
        self, login: SASLLogin[Any], max_line: int, max_errors: int, *, strict: bool = False
    ) -> None:
        """``max_line`` and ``strict`` are for the ``LineBuffer``; ``max_errors`` of 0 means no limit."""
        self._input = LineBuffer(max_line, strict=strict)
        self._output = OutputBuffer()
        self._max_errors = max_errors
        self._errors = self._refused_names = self.commands = self.octets = 0
        self.closed = False
        self.awaited: SessionRequest | None = None
        # The running verb, from its line to its last reply.
        self._verb: Verb | None = None
        # The rest of a long reply.
        self._pieces: Pieces | None = None
        # The next event to return.
        self._event: Any = None
        self.state = self.START
        self._login = login

    # ------------------------------------------------------------ for callers

    @abstractmethod
    def greet(self) -> None:
        """Queue the greeting."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """True while a stopping server must wait for this session."""

    def receive(self, data: bytes) -> None:
        """Add input from the client. A closed session ignores it."""
        if not self.closed:
            self._input.feed(data)

    def take_output(self) -> bytes:
        """The replies queued since the last call."""
        return self._output.take()

    @property
    def paused(self) -> bool:
        """True while a request is open."""
        return self.awaited is not None

    @property
    def pending(self) -> bool:
        """True while the input buffer is not empty."""
        return len(self._input) > 0

    @property
    def is_in_command(self) -> bool:
        """True while a command reads its own input, such as the responses of AUTH."""
        return self._verb is not None

    def next_event(self) -> Any:
        """Run until there is an event. Returns None if more input or an answer is needed."""
        while True:
            event = self._event
            if event is not None:
                self._event = None
                return event
            if self.awaited is not None or self.closed:
                return None
            if self._output.full and (self._pieces is not None or len(self._input)):
                return _OUTPUT_FULL
            verb = self._verb
            if verb is None:
                line = self._input.next_line()
                if line is Line.INCOMPLETE:
                    return None
                self._run(line)
            elif self._pieces is not None:
                try:
                    self._output.add(next(self._pieces))
                except StopIteration as end:
                    self._pieces = None
                    self._proceed(verb, end.value)
            elif not self._read_more(verb):
                return None

    def answer(self, answer: Any) -> None:
        """Answer the open request. A closed session ignores it. Raises RuntimeError without a request."""
        awaited, verb = self.awaited, self._verb
        if awaited is None or verb is None:
            if self.closed:
                return
            raise RuntimeError("no answer is awaited")
        try:
            # After any other exception the request is still open: see ``fail``.
            step = verb.answered(self, awaited, answer)
        except Refused as refused:
            self.awaited = None
            self._refuse(refused)
        else:
            self.awaited = None
            self._proceed(verb, step)

    def fail(self) -> None:
        """The last event could not be handled: reply with a temporary failure. The session continues."""
        if self.awaited is not None:
            self.answer(self.awaited.failure)

    def secured(self, channel: Channel) -> None:
        """TLS has begun: forget everything before it (RFC 3207 section 4.2, RFC 2595 section 4)."""
        if self.closed:
            return
        self._input.take_all()
        self.awaited = self._verb = None
        self.state = self.START
        self._login = self._begin(channel)

    def disconnect(self, reason: NegativeReply | None = None) -> None:
        """End the session. ``reason`` is the last reply. An open request is dropped."""
        if not self.closed:
            if reason is not None:
                self._output.add(self._octets(reason))
            self._close()

    # ------------------------------------------------------------ for protocols

    @abstractmethod
    def _begin(self, channel: Channel) -> SASLLogin[Any]:
        """Forget the state of the client, and return the login of a new session."""

    @abstractmethod
    def _read(self, line: bytes | Line) -> tuple[Verb, bytes]:
        """The verb of a command line, and its unparsed argument. Raises :class:`Refused`."""

    @abstractmethod
    def _parse(self, verb: Any, raw: bytes) -> object:
        """Parse the argument. Raises :class:`Refused`."""

    @abstractmethod
    def _logged_in(self, account: str) -> Step:
        """The client has logged in to ``account``."""

    def _octets(self, reply: NegativeReply) -> bytes:
        """The octets of a reply."""
        return reply.octets

    @abstractmethod
    def _login_refusal(self, reason: Reason) -> NegativeReply:
        """The reply to a login that failed."""

    # ------------------------------------------------------------ the table

    def _run(self, line: bytes | Line) -> None:
        self.commands += 1
        try:
            verb, raw = self._read(line)
            if verb.barred is not None:
                raise Refused(verb.barred)
            if self.state not in verb.then:
                raise Refused(verb.wrong_state(self.state))
            argument = self._parse(verb, raw)
            if self.ERRORS_IN_A_ROW:
                self._errors = 0
            step = verb.run(self, argument)
        except Refused as refused:
            self._refuse(refused)
        else:
            self._proceed(verb, step)

    def _read_more(self, verb: Verb) -> bool:
        """Give input to the verb. Returns False if there is not enough."""
        assert verb.reads is not None
        try:
            step = verb.reads(self)
        except Refused as refused:
            self._refuse(refused)
        else:
            if isinstance(step, Line):
                return False
            self._proceed(verb, step)
        return True

    def _proceed(self, verb: Verb, step: Step) -> None:
        if type(step) is bytes:
            if step:
                self._output.add(step)
            self._verb = verb.followed_by
            state = self.state = verb.then[self.state]
            if state is self.CLOSED:
                self._close()
            return
        self._verb = verb
        if step is None:
            return
        if isinstance(step, SessionRequest):
            self.awaited = self._event = step
        else:
            self._pieces = cast(Pieces, step)

    def _refuse(self, refused: Refused) -> None:
        reply = refused.reply
        wrong = reply.wrong
        if refused.by_name:
            self._refused_names += 1
            wrong = self._refused_names > FREE_REFUSALS
        if wrong:
            self._errors += 1
            if 0 < self._max_errors <= self._errors:
                reply = self.TOO_MANY_ERRORS
        self._verb = None
        self._output.add(self._octets(reply))
        if reply.last:
            self._close()
        if wrong or reply.rule:
            self._event = CommandRefused(reply.reason, reply.rule, reply.last)

    def _close(self) -> None:
        self.state = self.CLOSED
        self.closed = True
        self._input.take_all()
        self.awaited = self._verb = self._pieces = self._event = None

    # ------------------------------------------------------------ logins

    def _log_in(self, step: LoginStep) -> Step:
        """Do the next step of a login."""
        match step:
            case bytes():
                self._output.add(step)
                return None
            case Finished(account):
                return self._logged_in(account)
            case request:
                return request

    def _read_response(self) -> Step | Line:
        line = self._input.next_line()
        if line is Line.INCOMPLETE:
            return line
        self.commands += 1
        response = _NO_RESPONSE[line] if isinstance(line, Line) else line.rstrip(self.PADDING)
        return self._log_in(self._login.line(response))

    def _login_answered(self, request: LoginAsked | LoginRefused, answer: Any) -> Step:
        if isinstance(request, LoginRefused):
            raise Refused(self._login_refusal(request.reason))
        return self._log_in(self._login.answer(answer))
