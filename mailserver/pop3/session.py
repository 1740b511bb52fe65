"""The server's side of a POP3 session (RFC 1939), without socket, clock or disk.

Bytes go in by :meth:`Session.receive`; :meth:`Session.next_event` runs as many commands as it can
and returns what somebody else must do or decide; :meth:`Session.take_output` has the replies, in
the order of the commands. While an answer is awaited nothing more is read, so pipelined commands
(RFC 2449 section 6.6) are answered in order by construction. Messages are marked here and removed
elsewhere, when :class:`Leaving` is told: a session that ends in any other way removes nothing.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from mailserver.pop3 import replies
from mailserver.pop3.capabilities import capability_lines
from mailserver.pop3.events import (
    Event,
    Leaving,
    LoginFailure,
    LoginTried,
    MessageWanted,
    OutputFull,
)
from mailserver.pop3.maildrop import Maildrop, Message
from mailserver.pop3.replies import Refused
from mailserver.pop3.settings import Settings
from mailserver.pop3.text import TopCutter
from mailserver.pop3.verbs import COMMAND_LINE, VERBS, ArgumentError, State
from mailserver.wire.dots import DotEncoder
from mailserver.wire.lines import Line, LineBuffer
from mailserver.wire.outbox import Outbox

_Awaited = TypeVar("_Awaited", LoginTried, MessageWanted, Leaving)


class Session:
    """One client's session.

    ``closed`` is true once the connection is to be closed, after the output is sent. Answers that
    come later are ignored, so that whoever gives them need not look first.
    """

    __slots__ = (
        "_awaiting",
        "_commands",
        "_cutter",
        "_encoder",
        "_errors",
        "_failures",
        "_input",
        "_maildrop",
        "_output",
        "_settings",
        "_user",
        "closed",
        "state",
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._input = LineBuffer(COMMAND_LINE)
        self._output = Outbox()
        self._commands = 0
        self._awaiting: LoginTried | MessageWanted | Leaving | None = None
        self._user: str | None = None
        self._failures = 0
        self._errors = 0
        self._maildrop: Maildrop | None = None
        self._encoder: DotEncoder | None = None
        self._cutter: TopCutter | None = None
        self.state = State.AUTHORIZATION
        self.closed = False

    # ------------------------------------------------------------ the outside

    def greet(self) -> None:
        """Queue the greeting."""
        self._say(replies.ok(f"{self._settings.hostname} POP3 server ready"))

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
        return self._awaiting is not None

    @property
    def progress(self) -> int:
        """Grows with each command."""
        return self._commands

    @property
    def pending(self) -> bool:
        """True while input is buffered that has not been run, be it part of a line."""
        return len(self._input) > 0

    @property
    def wants_text(self) -> bool:
        """True while a message is awaited and more of it is of use; false once TOP has enough."""
        return isinstance(self._awaiting, MessageWanted) and not (self._cutter and self._cutter.done)

    def next_event(self) -> Event | None:
        """Go on until there is something to tell; None if more input or an answer is needed."""
        while self._awaiting is None and not self.closed:
            if self._output.full and self.pending:
                return OutputFull()
            line = self._input.next_line()
            if line is Line.INCOMPLETE:
                return None
            event = self._run(line)
            if event is not None:
                self._awaiting = event
                return event
        return None

    def shut_down(self) -> None:
        """End the session from this side, without a word; nothing is removed."""
        self._close()

    # ------------------------------------------------------------ answers

    def logged_in(self, messages: Sequence[Message]) -> None:
        """The login succeeded; the maildrop is locked and has these messages, which stay as they are."""
        if tried := self._answered(LoginTried):
            self._user = None
            self._maildrop = Maildrop(messages)
            self.state = State.TRANSACTION
            self._say(replies.welcome(tried.user, self._maildrop.count, self._maildrop.octets))

    def login_failed(self, reason: LoginFailure) -> None:
        """The login failed; wrong credentials are counted, the server's own troubles are not."""
        if self._answered(LoginTried):
            self._user = None
            self._say(replies.LOGIN_FAILED[reason])
            if reason is LoginFailure.BAD_CREDENTIALS:
                self._failures += 1
                if self._failures == self._settings.max_login_failures:
                    self._close()

    def send_text(self, data: bytes) -> None:
        """The next octets of the message, cut anywhere, not byte-stuffed."""
        if self.closed:
            return
        if not isinstance(self._awaiting, MessageWanted):
            raise RuntimeError("no message is awaited")
        encoder = self._encoder or self._begin_text(self._awaiting)
        self._say(encoder.feed(self._cutter.feed(data) if self._cutter else data))

    def end_text(self) -> None:
        """The message is complete, or :attr:`wants_text` is false."""
        if wanted := self._answered(MessageWanted):
            encoder = self._encoder or self._begin_text(wanted)
            self._say(encoder.finish())
            self._encoder = self._cutter = None

    def text_failed(self, gone: bool) -> None:
        """The message cannot be had: it is ``gone``, or cannot be read for now.

        If part of it was sent already the session closes without the final dot, so that the client
        cannot take the part for the whole.
        """
        if wanted := self._answered(MessageWanted):
            if self._encoder is not None:
                self._close()
            else:
                self._cutter = None
                self._say(replies.text_failed(wanted.index + 1, gone=gone))

    def left(self, failed: frozenset[int]) -> None:
        """What was marked is removed, except for the indexes in ``failed``; the lock is released."""
        if leaving := self._answered(Leaving):
            assert self._maildrop is not None
            remaining = [index + 1 for index in leaving.marked if index in failed]
            if remaining:
                self._say(replies.not_removed(remaining))
            else:
                self._say(replies.farewell(self._settings.hostname, self._maildrop.count))
            self._close()

    # ------------------------------------------------------------ commands

    def _run(self, line: bytes | Line) -> LoginTried | MessageWanted | Leaving | None:
        self._commands += 1
        if isinstance(line, Line):
            self._not_understood(replies.LINE_TOO_LONG)
            return None
        name, _, raw = line.partition(b" ")
        verb = VERBS.get(name.upper())
        if verb is None:
            self._not_understood(replies.UNKNOWN_COMMAND)
            return None
        if self.state not in verb.states:
            self._say(verb.wrong_state)
            return None
        try:
            argument = verb.parse(raw)
        except ArgumentError:
            self._not_understood(verb.malformed)
            return None
        self._errors = 0
        try:
            return _HANDLERS[verb.name](self, argument)
        except Refused as refused:
            self._say(refused.reply)
            return None

    def _not_understood(self, reply: bytes) -> None:
        self._errors += 1
        if self._errors == self._settings.max_errors:
            self._say(replies.TOO_MANY_ERRORS)
            self._close()
        else:
            self._say(reply)

    def _user_given(self, name: str) -> None:
        # Refused here, a password need not even cross the network.
        if not self._settings.user_login_allowed:
            raise Refused(replies.NEEDS_TLS)
        self._user = name
        self._say(replies.SEND_PASSWORD)

    def _pass_given(self, password: str) -> LoginTried:
        if self._user is None:
            raise Refused(replies.USER_FIRST)
        return LoginTried(self._user, password)

    def _capa_given(self, argument: None) -> None:
        lines = capability_lines(self._settings, self.state)
        self._say(replies.multi_line("capability list follows", lines))

    def _stat_given(self, argument: None) -> None:
        self._say(replies.ok(f"{self._drop.count} {self._drop.octets}"))

    def _list_given(self, number: int | None) -> None:
        if number is None:
            heading = replies.total(self._drop.count, self._drop.octets)
            self._say(replies.multi_line(heading, self._drop.sizes()))
        else:
            self._say(replies.ok(f"{number} {self._drop.message(number).size}"))

    def _uidl_given(self, number: int | None) -> None:
        if number is None:
            self._say(replies.multi_line("unique-id listing follows", self._drop.uids()))
        else:
            self._say(replies.ok(f"{number} {self._drop.message(number).uid}"))

    def _retr_given(self, number: int) -> MessageWanted:
        return MessageWanted(self._drop.index(number), None)

    def _top_given(self, argument: tuple[int, int]) -> MessageWanted:
        number, lines = argument
        index = self._drop.index(number)
        self._cutter = TopCutter(lines)
        return MessageWanted(index, lines)

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

    def _quit_given(self, argument: None) -> Leaving | None:
        if self.state is State.TRANSACTION:
            self.state = State.UPDATE
            return Leaving(self._drop.marked)
        self._say(replies.farewell(self._settings.hostname))
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

    def _begin_text(self, wanted: MessageWanted) -> DotEncoder:
        """Say +OK; a message counts as accessed when RETR succeeds, and not by TOP (RFC 1460)."""
        if wanted.lines is None:
            number = wanted.index + 1
            self._drop.accessed(number)
            self._say(replies.ok(f"{self._drop.message(number).size} octets"))
        else:
            self._say(replies.ok("top of message follows"))
        self._encoder = DotEncoder()
        return self._encoder

    def _answered(self, kind: type[_Awaited]) -> _Awaited | None:
        """The event that is answered by now; None if the session has ended meanwhile."""
        if self.closed:
            return None
        awaiting = self._awaiting
        if not isinstance(awaiting, kind):
            raise RuntimeError(f"no answer to {kind.__name__} is awaited")
        self._awaiting = None
        return awaiting

    def _close(self) -> None:
        self.closed = True
        self._input.take_all()
        self._awaiting = self._maildrop = self._encoder = self._cutter = None


_HANDLERS: dict[str, Callable[..., LoginTried | MessageWanted | Leaving | None]] = {
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
