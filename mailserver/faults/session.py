"""The joint: a session behind rules, which the caller uses in place of the session.

The session gets one command at a time. Before a command runs, the rules are asked; then its reply is
collected, changed, and sent. What a rule does is a list of steps: octets go to the output, :class:`Pause` and
:class:`Ending` are events that the caller performs. A long reply without a rule is passed on in pieces.
"""

import re
from collections.abc import Callable
from typing import Any

import attrs

from mailserver.faults.acts import Ending, Plan
from mailserver.faults.moments import (
    AUTH_STEP,
    CONNECT,
    DOT,
    GREETING,
    POP3,
    REMOVED,
    SMTP,
    STORED,
    TLS,
)
from mailserver.faults.replies import ScriptedReplies, Unit
from mailserver.faults.script import Script
from mailserver.faults.transcript import Transcript
from mailserver.mail.verdict import MAIL_SYSTEM, Defer
from mailserver.pop3.events import MaildropWanted, UpdateWanted
from mailserver.sasl.mechanisms import Channel
from mailserver.session.core import LineSession
from mailserver.session.events import LoginAsked, OutputFull, TLSWanted
from mailserver.session.verbs import NegativeReply, Refused
from mailserver.smtp.chunks import ChunkCommand
from mailserver.smtp.events import LoggedIn, MessageEnded, MessageWithdrawn, RolesReversed
from mailserver.smtp.states import SMTPState

MAX_LINE = 65536  # octets; a longer line is given to the session in pieces, and no rule sees it
LONG_REPLIES = ("RETR", "TOP", "LIST", "UIDL")  # passed on in pieces if no rule changes them
END_OF_TEXT = b"\n.\r\n"
_SPACE = re.compile(r"[ \t]")

_NOT_STORED = Defer(MAIL_SYSTEM, "not stored, by a rule")
_OUTPUT_FULL = OutputFull()


class ScriptedSession(ScriptedReplies):
    """A session behind rules. Attributes that are not here are those of the session."""

    def __init__(self, session: LineSession, script: Script, transcript: Transcript) -> None:
        super().__init__(session, script, transcript)
        self._chunk = 0  # octets that are left of a chunk
        self._skipped = 0  # octets of a chunk that is not given to the session
        self._passing = False  # a line that is too long is arriving

    # Any: the attributes of the sessions of two protocols.
    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    # ------------------------------------------------------------ for callers

    def connecting(self) -> Plan | None:
        """What a rule does about the connection, None for nothing."""
        return self._find(CONNECT)

    def starting_tls(self) -> Plan | None:
        """What a rule does about the TLS handshake, None for nothing."""
        return self._find(TLS)

    def greet(self) -> None:
        """See :meth:`~mailserver.session.core.LineSession.greet`."""
        self._begin(GREETING, "", self._session.greet)

    @property
    def closed(self) -> bool:
        """True if the session is over and everything is sent."""
        if self._ending is not None:
            return self._ending is Ending.CLOSE
        is_done = self._unit is None and not self._steps and not self._acting
        return self._session.closed and is_done

    @property
    def awaited(self) -> Any:
        """The open request of the session. While a rule acts there is none."""
        return None if self._acting or self._steps or self._ending else self._session.awaited

    @property
    def paused(self) -> bool:
        """True while a request is open."""
        return self.awaited is not None

    @property
    def pending(self) -> bool:
        """True while there is input that the session has not read."""
        is_over = self._ending is not None or self._session.closed
        return not is_over and (bool(self._input) or self._session.pending)

    def receive(self, data: bytes) -> None:
        """See :meth:`~mailserver.session.core.LineSession.receive`."""
        if not (self._ending or self.closed):
            self._input += data

    def take_rest(self) -> bytes:
        """See :meth:`~mailserver.smtp.session.SMTPSession.take_rest`."""
        rest, self._input = self._input, b""
        return rest

    def take_output(self) -> bytes:
        """See :meth:`~mailserver.session.core.LineSession.take_output`."""
        self._collect()
        return self._output.take()

    def answer(self, answer: Any) -> None:
        """See :meth:`~mailserver.session.core.LineSession.answer`."""
        if isinstance(answer, Channel):
            self._tls_begun()
        self._session.answer(answer)

    def secured(self, channel: Channel) -> None:
        """See :meth:`~mailserver.session.core.LineSession.secured`."""
        self._tls_begun()
        self._session.secured(channel)

    def fail(self) -> None:
        """See :meth:`~mailserver.session.core.LineSession.fail`."""
        self._session.fail()

    def disconnect(self, reason: NegativeReply | None = None) -> None:
        """See :meth:`~mailserver.session.core.LineSession.disconnect`. What a rule has begun is dropped."""
        if self._ending is not None:
            return
        self._steps.clear()
        self._unit = None
        self._acting = False
        self._session.disconnect(reason)
        self._collect()

    def next_event(self) -> Any:
        """See :meth:`~mailserver.session.core.LineSession.next_event`. ``Pause`` and ``Ending`` are events,
        too: perform them before the next call. The session is over after an ``Ending``."""
        self._acting = False
        while self._ending is None:
            if self._steps:
                event = self._step(self._steps.popleft())
                if event is not None:
                    return event
                continue
            if self._output.full:
                return _OUTPUT_FULL
            event = self._session.next_event()
            self._collect()
            if event is not None:
                if (event := self._noticed(event)) is not None:
                    return event
            elif self._session.awaited is not None:
                return None
            elif self._unit is not None and (not self._chunk or self._session.closed):
                self._finish(self._unit)
            elif self._session.closed or not self._feed():
                return None
        return None

    # ------------------------------------------------------------ commands

    def _begin(self, moment: str, argument: str, run: Callable[[], object]) -> bool:
        """Begin a command. ``run`` gives it to the session. Returns False if a rule takes its place."""
        unit = Unit(moment, argument)
        plan = unit.plan = self._find(moment, argument)

        def begin() -> None:
            self._unit = unit
            if self._script.restyle is not None:
                unit.facts = self._reply_facts(argument)
            elif plan is None and moment in LONG_REPLIES:
                unit.is_passed_on = not self._places(unit)
            run()

        if plan is None:
            begin()
            return True
        self._queue(plan.before)
        if plan.runs:
            self._steps.append(begin)
        return plan.runs

    def _feed(self) -> bool:
        """Give the next command, or the next part of a message, to the session."""
        data = self._input
        if not data:
            return False
        if self._skipped:
            taken, self._input = data[: self._skipped], data[self._skipped :]
            self._skipped -= len(taken)
            return True
        if self._session.state is SMTPState.TEXT:
            return self._feed_text()
        if self._chunk:
            return self._feed_chunk()
        end = data.find(b"\n") + 1
        if self._passing or (end or len(data)) > MAX_LINE:
            self._passing = not end
            end = end or len(data)
            self._session.receive(data[:end])
        elif not end:
            return False
        else:
            self._command(data[:end])
        self._input = data[end:]
        return True

    def _command(self, line: bytes) -> None:
        is_response = self._session.is_in_command
        shown = self._transcript.command(line, self._now(), tls=self._tls, in_login=is_response)
        verb, argument = _split(line)
        self._shown_verb = _split(shown)[0].upper()
        moment = AUTH_STEP if is_response else verb.upper()
        size = _chunk_size(argument) if moment == "BDAT" and self._script.protocol == SMTP else 0
        if moment in ("USER", "APOP") and self._script.protocol == POP3:
            self._account = argument.partition(" ")[0]
        if moment in ("HELO", "EHLO"):
            self._helo = argument
        if moment == "MAIL":
            self._text, self._tail = 0, b"\n"

        def run() -> None:
            if not self._refuses(moment):
                self._chunk = size
                self._session.receive(line)

        if not self._begin(moment, "" if is_response else argument, run):
            self._skipped = size
            if is_response:
                self._cancel_login()

    def _cancel_login(self) -> None:
        """End the exchange of AUTH in the session, which knows nothing of the reply."""
        self._session.receive(b"*\r\n")
        while (event := self._session.next_event()) is not None:
            if self._session.awaited is event:
                self._session.answer(None)
        self._session.take_output()

    # ------------------------------------------------------------ messages

    def _feed_text(self) -> bool:
        data = self._input
        start = len(self._tail)
        seen = self._tail + data
        end = seen.find(END_OF_TEXT)
        size = end + len(END_OF_TEXT) - start if end >= 0 else len(data)
        given = self._give("DATA", size)
        if end >= 0 and given == size:
            self._unit = Unit(DOT)
        return True

    def _feed_chunk(self) -> bool:
        self._chunk -= self._give("BDAT", min(self._chunk, len(self._input)))
        return True

    def _give(self, verb: str, size: int) -> int:
        """Give octets of a message to the session, until a rule acts. Returns their number."""
        for place in self._script.rules.places(self._script.protocol, verb, self._facts("")):
            if self._text < place <= self._text + size:
                size = place - self._text
                if (plan := self._find(verb, "", place)) is not None:
                    self._queue(plan.before)
                break
        taken, self._input = self._input[:size], self._input[size:]
        self._text += size
        self._tail = (self._tail + taken)[-len(END_OF_TEXT) + 1 :]
        self._transcript.text(taken, self._now(), tls=self._tls)
        self._session.receive(taken)
        return size

    # ------------------------------------------------------------ events

    def _noticed(self, event: Any) -> Any:
        """Look at an event of the session. Returns the event for the caller, None for none yet."""
        match event:
            case OutputFull():
                return None  # its output has been taken
            case LoginAsked():
                self._account = getattr(event.question, "name", "") or self._account
            case LoggedIn(account) | MaildropWanted(account):
                self._account = account
                self._event(f"logged in as {account}")
            case UpdateWanted() if self._unit is not None:
                self._unit.outcome = REMOVED
            case MessageEnded():
                return self._message_ended(event)
            case TLSWanted():
                discarded, self._input = len(self._input), b""
                return self._after_reply(attrs.evolve(event, discarded=event.discarded + discarded))
            case RolesReversed():
                return self._after_reply(event)
        return event

    def _after_reply(self, event: Any) -> Any:
        """The event, after the reply to its command."""
        if self._unit is not None:
            self._finish(self._unit)
        return self._after_steps(event)

    def _message_ended(self, event: MessageEnded) -> Any:
        self._text, self._tail = 0, b"\n"
        unit = self._unit
        if unit is None:
            unit = self._unit = Unit(DOT)
        unit.moment, unit.argument, unit.outcome = DOT, "", STORED
        plan = self._find(DOT)
        if plan is None:
            return event
        self._queue(plan.before)
        if plan.runs:
            unit.plan = plan if unit.plan is None else unit.plan.followed_by(plan)
            return self._after_steps(event)
        self._unit = None
        self._session.answer(_NOT_STORED)
        self._session.take_output()
        self._steps.appendleft(MessageWithdrawn)
        return None

    def _tls_begun(self) -> None:
        # What came in the clear is forgotten, like all that the client has said (RFC 3207 section 4.2).
        self._input, self._account = b"", ""
        self._tls = True
        self._event("TLS begins")


def _split(line: bytes) -> tuple[str, str]:
    """The verb of a command line and its argument, as the sessions split it."""
    verb, *argument = _SPACE.split(line.rstrip(b" \t\r\n").decode("utf-8", "replace"), 1)
    return verb, "".join(argument).strip(" \t")


def _chunk_size(argument: str) -> int:
    """The octets that follow a BDAT command (RFC 3030 section 2), 0 if its size is malformed."""
    try:
        return ChunkCommand.read(argument.encode()).size
    except Refused:
        return 0
