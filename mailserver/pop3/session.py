"""The server's side of a POP3 session (RFC 1939), without socket, clock or disk.

Bytes go in by :meth:`Session.receive`; :meth:`Session.next_event` runs as many commands as it can
and returns what somebody else must do or decide; :meth:`Session.take_output` has the replies, in
the order of the commands. While an answer is awaited nothing more is read, so pipelined commands
(RFC 2449 section 6.6) are answered in order by construction. Messages are marked here and removed
elsewhere, when :class:`Leaving` is told: a session that ends in any other way removes nothing.
"""

from collections.abc import Callable
from typing import Any

from mailserver.mail.snapshot import Snapshot
from mailserver.pop3 import events, replies
from mailserver.pop3.capabilities import capability_lines
from mailserver.pop3.events import Event, Unopened, Unreadable
from mailserver.pop3.login import Login, Step
from mailserver.pop3.maildrop import Lines, Maildrop
from mailserver.pop3.options import POP3Options
from mailserver.pop3.replies import Refused
from mailserver.pop3.text import TopCutter
from mailserver.pop3.verbs import COMMAND_LINE, MAX_LINE, VERBS, ArgumentError, State
from mailserver.sasl.mechanisms import Channel
from mailserver.sasl.steps import Reason
from mailserver.session.events import CommandRefused, LoginAsked, LoginRefused, Request
from mailserver.wire.dots import DotEncoder
from mailserver.wire.foreign import is_http
from mailserver.wire.lines import Line, LineBuffer
from mailserver.wire.outbox import Outbox


class Session:
    """``awaited`` is the request that waits for its answer, None if there is none.

    ``commands`` counts the lines that were run. ``closed`` is true once the connection is to be closed, after
    the output is sent.
    """

    __slots__ = (
        "_cutter",
        "_encoder",
        "_errors",
        "_input",
        "_lines",
        "_login",
        "_maildrop",
        "_next",
        "_options",
        "_output",
        "_user",
        "awaited",
        "closed",
        "commands",
        "state",
    )

    def __init__(self, options: POP3Options) -> None:
        self._options = options
        self._input = LineBuffer(MAX_LINE)
        self._output = Outbox()
        self.commands = 0
        self.awaited: Request | None = None
        self._next: Event | None = None
        self._login = Login(options, Channel(options.hostname), "")
        self._user: str | None = None
        self._errors = 0
        self._maildrop: Maildrop | None = None
        self._encoder: DotEncoder | None = None
        self._cutter: TopCutter | None = None
        self._lines: Lines | None = None
        self.state = State.AUTHORIZATION
        self.closed = False

    # ------------------------------------------------------------ the outside

    def greet(self) -> None:
        """Queue the greeting."""
        self._say(replies.greeting(self._options.hostname, self._login.timestamp))

    def receive(self, data: bytes) -> None:
        """Take in what the client sent; after the end it is ignored."""
        if not self.closed:
            self._input.feed(data)

    def take_output(self) -> bytes:
        """The replies queued since the last call."""
        return self._output.take()

    @property
    def paused(self) -> bool:
        """True while an answer is awaited."""
        return self.awaited is not None

    @property
    def progress(self) -> int:
        """Grows with each command."""
        return self.commands

    @property
    def pending(self) -> bool:
        """True while input is buffered that has not been run, be it part of a line."""
        return len(self._input) > 0

    @property
    def wants_text(self) -> bool:
        """True while a message is awaited and more of it is of use; false once TOP has enough."""
        return isinstance(self.awaited, events.MessageWanted) and not (self._cutter and self._cutter.done)

    def next_event(self) -> Event | None:
        """Go on until there is something to tell; None if more input or an answer is needed."""
        event, self._next = self._next, None
        if event is not None:
            return event
        while self.awaited is None and not self.closed:
            if self._output.full and (self.pending or self._lines):
                return events.OutputFull()
            if self._lines:
                self._say(self._lines.take())
                if self._lines.over:
                    self._lines = None
                continue
            line = self._input.next_line()
            if line is Line.INCOMPLETE:
                return None
            event = self._run(line)
            if event is not None:
                return self._await(event)
        return None

    def shut_down(self) -> None:
        """End the session from this side, without a word; nothing is removed."""
        self._close()

    def answer(self, answer: Any) -> None:
        """Answer the request that is awaited. A session that is closed ignores it."""
        awaited = self.awaited
        if awaited is None:
            if self.closed:
                return
            raise RuntimeError("no answer is awaited")
        # If that raises, it is still awaited: see ``fail``.
        event = _ANSWERED[type(awaited)](self, awaited, answer)
        self.awaited = None
        self._next = self._await(event)

    def fail(self) -> None:
        """An event could not be handled: the client is told to try again later, and the session goes on."""
        if self.awaited is not None:
            self.answer(self.awaited.failure)

    def _await(self, event: Event | None) -> Event | None:
        if isinstance(event, Request) and not self.closed:
            self.awaited = event
        return event

    def secured(self, channel: Channel) -> None:
        """TLS has begun: nothing that was said before counts (RFC 2595 section 4)."""
        self._input.take_all()
        self.awaited = None
        self._login = Login(self._options, channel, self._login.timestamp)
        self._user = None

    def _login_answered(self, asked: LoginAsked, answer: Any) -> Event | None:
        return self._log_in(self._login.answer(answer))

    def _login_refused(self, refused: LoginRefused, answer: None) -> Event | None:
        self._say(replies.LOGIN_FAILED[refused.reason])
        if self._login.failed_too_often(refused.reason):
            self._close()
            return CommandRefused("too many failed logins", "limits.auth_failures", ended=True)
        nothing = refused.reason not in (Reason.CREDENTIALS, Reason.TEMPORARY)
        return CommandRefused("not understood") if nothing else None

    def _maildrop_opened(self, wanted: events.MaildropWanted, answer: Snapshot | Unopened) -> None:
        if isinstance(answer, Unopened):
            self._say(replies.NOT_OPENED[answer])
            return
        self._maildrop = Maildrop(answer)
        self.state = State.TRANSACTION
        self._say(replies.welcome(self._login.name, self._maildrop.count, self._maildrop.octets))

    def send_text(self, data: bytes) -> None:
        """The next octets of the message that is awaited, cut anywhere, not byte-stuffed."""
        if self.closed:
            return
        if not isinstance(self.awaited, events.MessageWanted):
            raise RuntimeError("no message is awaited")
        encoder = self._encoder or self._begin_text(self.awaited)
        self._say(encoder.feed(self._cutter.feed(data) if self._cutter else data))

    def _message_read(self, wanted: events.MessageWanted, answer: bytes | Unreadable) -> None:
        if isinstance(answer, bytes):
            self.send_text(answer)
            assert self._encoder is not None
            self._say(self._encoder.finish())
        elif self._encoder is not None:
            # Without the final dot, so that the client cannot take the part for the whole.
            self._close()
        else:
            self._say(replies.text_failed(wanted.index + 1, gone=answer is Unreadable.GONE))
        self._encoder = self._cutter = None

    def _left(self, leaving: events.Leaving, failed: frozenset[int]) -> None:
        remaining = [index + 1 for index in leaving.marked if index in failed]
        if remaining:
            self._say(replies.not_removed(remaining))
        else:
            self._say(replies.farewell(self._options.hostname, self._drop.count))
        self._close()

    # ------------------------------------------------------------ commands

    def _run(self, line: bytes | Line) -> Event | None:
        self.commands += 1
        if self._login.under_way:
            return self._log_in(self._login.line(Reason.TOO_LONG if isinstance(line, Line) else line))
        if isinstance(line, Line):
            return self._not_understood(replies.LINE_TOO_LONG)
        name, _, raw = line.partition(b" ")
        verb = VERBS.get(name.upper())
        if verb is None and is_http(line):
            self._say(replies.HTTP)
            self._close()
            return CommandRefused("it speaks HTTP", ended=True)
        if verb is None:
            long = len(line) + 2 > COMMAND_LINE
            return self._not_understood(replies.LINE_TOO_LONG if long else replies.UNKNOWN_COMMAND)
        if len(line) + 2 > verb.max_line:
            return self._not_understood(replies.LINE_TOO_LONG)
        if self.state not in verb.states:
            self._say(verb.wrong_state)
            return None
        try:
            argument = verb.parse(raw)
        except ArgumentError:
            return self._not_understood(verb.malformed)
        self._errors = 0
        try:
            return _HANDLERS[verb.name](self, argument)
        except Refused as refused:
            self._say(refused.reply)
            if refused.reply is replies.NEEDS_TLS:
                return CommandRefused("no login without TLS", "pop3.plaintext_auth")
            return None

    def _not_understood(self, reply: bytes) -> CommandRefused:
        self._errors += 1
        if self._errors == self._options.max_errors:
            self._say(replies.TOO_MANY_ERRORS)
            self._close()
            return CommandRefused("too many wrong commands", ended=True)
        self._say(reply)
        return CommandRefused("not understood")

    def _stls_given(self, argument: None) -> events.TLSWanted:
        if self._login.channel.secure:
            raise Refused(replies.TLS_ALREADY)
        if not self._options.starttls:
            raise Refused(replies.NO_TLS)
        self._say(replies.START_TLS)
        # What came behind it in the clear may be anybody's (CVE-2011-0411).
        return events.TLSWanted(len(self._input.take_all()))

    def _user_given(self, name: str) -> None:
        # Refused here, a password need not even cross the network.
        if not self._login.allowed:
            raise Refused(replies.NEEDS_TLS)
        self._user = name
        self._say(replies.SEND_PASSWORD)

    def _pass_given(self, password: str) -> Event | None:
        if self._user is None:
            raise Refused(replies.USER_FIRST)
        name, self._user = self._user, None
        return self._log_in(self._login.by_password(name, password))

    def _apop_given(self, argument: tuple[str, str]) -> Event | None:
        return self._log_in(self._login.by_digest(*argument))

    def _auth_given(self, argument: tuple[str, bytes | None] | None) -> Event | None:
        if argument is None:
            lines = "".join([f"{name}\r\n" for name in self._login.mechanisms])
            self._say(replies.multi_line("mechanism list follows", lines.encode()))
            return None
        return self._log_in(self._login.by_mechanism(*argument))

    def _log_in(self, step: Step) -> Event | None:
        """Do what the login wants next."""
        if isinstance(step, bytes):
            self._say(step)
            return None
        return step

    def _capa_given(self, argument: None) -> None:
        lines = capability_lines(self._options, self._login, self.state)
        self._say(replies.multi_line("capability list follows", lines))

    def _stat_given(self, argument: None) -> None:
        self._say(replies.ok(f"{self._drop.count} {self._drop.octets}"))

    def _list_given(self, number: int | None) -> None:
        if number is None:
            self._say(replies.ok(replies.total(self._drop.count, self._drop.octets)))
            self._lines = self._drop.sizes()
        else:
            self._say(replies.ok(f"{number} {self._drop.size(number)}"))

    def _uidl_given(self, number: int | None) -> None:
        if number is None:
            self._say(replies.ok("unique-id listing follows"))
            self._lines = self._drop.uids()
        else:
            self._say(replies.ok(f"{number} {self._drop.uid(number)}"))

    def _retr_given(self, number: int) -> events.MessageWanted:
        return events.MessageWanted(self._drop.index(number), None)

    def _top_given(self, argument: tuple[int, int]) -> events.MessageWanted:
        number, lines = argument
        index = self._drop.index(number)
        self._cutter = TopCutter(lines)
        return events.MessageWanted(index, lines)

    def _dele_given(self, number: int) -> None:
        self._drop.mark(number)
        self._say(replies.ok(f"message {number} deleted"))

    def _last_given(self, argument: None) -> None:
        self._say(replies.ok(str(self._drop.last)))

    def _noop_given(self, argument: None) -> None:
        self._say(replies.ok())

    def _rset_given(self, argument: None) -> None:
        self._drop.reset()
        self._say(replies.ok(f"maildrop has {replies.total(self._drop.count, self._drop.octets)}"))

    def _quit_given(self, argument: None) -> events.Leaving | None:
        if self.state is State.TRANSACTION:
            self.state = State.UPDATE
            return events.Leaving(self._drop.marked)
        self._say(replies.farewell(self._options.hostname))
        self._close()
        return None

    # ------------------------------------------------------------ small things

    @property
    def _drop(self) -> Maildrop:
        """The maildrop, which there is wherever the verb table lets a command ask for it."""
        assert self._maildrop is not None
        return self._maildrop

    def _say(self, reply: bytes) -> None:
        self._output.add(reply)

    def _begin_text(self, wanted: events.MessageWanted) -> DotEncoder:
        """Say +OK; a message counts as accessed when RETR succeeds, and not by TOP (RFC 1460)."""
        if wanted.lines is None:
            self._say(replies.ok(f"{self._drop.retrieved(wanted.index)} octets"))
        else:
            self._say(replies.ok("top of message follows"))
        self._encoder = DotEncoder()
        return self._encoder

    def _close(self) -> None:
        self.closed = True
        self._input.take_all()
        self.awaited = self._next = self._maildrop = self._encoder = self._cutter = self._lines = None


_HANDLERS: dict[str, Callable[..., Event | None]] = {
    "STLS": Session._stls_given,
    "AUTH": Session._auth_given,
    "APOP": Session._apop_given,
    "USER": Session._user_given,
    "PASS": Session._pass_given,
    "STAT": Session._stat_given,
    "LIST": Session._list_given,
    "RETR": Session._retr_given,
    "DELE": Session._dele_given,
    "NOOP": Session._noop_given,
    "RSET": Session._rset_given,
    "LAST": Session._last_given,
    "TOP": Session._top_given,
    "UIDL": Session._uidl_given,
    "CAPA": Session._capa_given,
    "QUIT": Session._quit_given,
}

# What becomes of the answer to a request.
_ANSWERED: dict[type[Request], Callable[[Session, Any, Any], Event | None]] = {
    LoginAsked: Session._login_answered,
    LoginRefused: Session._login_refused,
    events.MaildropWanted: Session._maildrop_opened,
    events.MessageWanted: Session._message_read,
    events.Leaving: Session._left,
    events.TLSWanted: lambda session, wanted, channel: session.secured(channel),
}
