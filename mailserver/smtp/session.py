"""The receiver's side of an SMTP session (RFC 5321), without socket, clock or disk.

Bytes go in by :meth:`Session.receive`; :meth:`Session.next_event` runs as many commands as it can
and returns what somebody else must know or decide; :meth:`Session.take_output` has the replies,
in the order of the commands. While a verdict is awaited nothing more is read, so pipelined
commands (RFC 2920) are answered in order by construction.
"""

from collections.abc import Callable
from functools import lru_cache

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import (
    MAIL_SYSTEM,
    Defer,
    Destination,
    Routed,
    Verdict,
)
from mailserver.smtp import replies
from mailserver.smtp.events import (
    AddressAsked,
    Event,
    ListAsked,
    MessageAborted,
    MessageChunk,
    MessageEnded,
    MessageStarted,
    OutputFull,
    RecipientOffered,
)
from mailserver.smtp.extensions import check_mail, check_rcpt, ehlo_lines
from mailserver.smtp.replies import Refused, Reply, reply
from mailserver.smtp.settings import Settings
from mailserver.smtp.syntax import Parameters
from mailserver.smtp.text import Text
from mailserver.smtp.verbs import COMMAND_LINE, MAX_LINE, VERBS, Phase, help_lines
from mailserver.smtp.verdicts import reply_for
from mailserver.wire.lines import Line, LineBuffer
from mailserver.wire.outbox import Outbox

# What a client has only itself to blame for: syntax, order, things that are not there.
_WRONG = frozenset({500, 501, 502, 503, 504, 555})

FAILURE = Defer(MAIL_SYSTEM, "something went wrong here; please try again later")


class Session:
    """One client's session. ``transactions`` counts the MAIL commands that began one."""

    __slots__ = (
        "_awaiting",
        "_commands",
        "_destinations",
        "_errors",
        "_helo",
        "_input",
        "_octets",
        "_output",
        "_protocol",
        "_recipients",
        "_reverse_path",
        "_settings",
        "_text",
        "phase",
        "transactions",
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._input = LineBuffer(MAX_LINE)
        self._output = Outbox()
        self._helo = ""
        self._protocol = "SMTP"
        self._errors = 0
        self._commands = 0
        self._octets = 0
        self.transactions = 0
        self._awaiting: Callable[[Verdict], None] | None = None
        self.phase = Phase.CONNECTED
        self._reverse_path: ReversePath = None
        self._recipients: list[Address] = []
        self._destinations: dict[Address, Destination] = {}
        self._text: Text | None = None

    # ------------------------------------------------------------ the outside

    def greet(self) -> None:
        """Queue the greeting."""
        self._say(reply(220, "", f"{self._settings.hostname} ESMTP mailserver ready"))

    def receive(self, data: bytes) -> None:
        """Take in what the client sent."""
        if self.phase is not Phase.CLOSED:
            self._input.feed(data)

    def take_output(self) -> bytes:
        """The replies queued since the last call."""
        return self._output.take()

    @property
    def paused(self) -> bool:
        """True while a verdict is awaited."""
        return self._awaiting is not None

    @property
    def closed(self) -> bool:
        """True once the connection is to be closed, after the output is sent."""
        return self.phase is Phase.CLOSED

    @property
    def in_transaction(self) -> bool:
        """True from MAIL to the reply that ends the transaction."""
        return self.phase in (Phase.SENDER, Phase.RECIPIENTS, Phase.TEXT) or self.paused

    @property
    def progress(self) -> int:
        """Grows with each command, and with each 16 KiB of a message."""
        return self._commands + (self._octets >> 14)

    def next_event(self) -> Event | None:
        """Go on until there is something to tell; None if more input or a verdict is needed."""
        while self._awaiting is None and self.phase is not Phase.CLOSED:
            if self._output.full:
                return OutputFull()
            if self.phase is Phase.TEXT:
                event = self._read_text()
                if event is None and self.phase is Phase.TEXT:
                    return None
            else:
                line = self._input.next_line()
                if line is Line.INCOMPLETE:
                    return None
                event = self._run(line)
            if event is not None:
                return event
        return None

    def answer(self, verdict: Verdict) -> None:
        """Give the verdict that the last event asked for."""
        if self._awaiting is None:
            raise RuntimeError("no verdict is awaited")
        self._awaiting(verdict)
        self._awaiting = None

    def fail(self) -> Event | None:
        """Something broke outside: answer what is pending with 451 and keep the connection.

        Returns the event that follows from it, if any.
        """
        if self._awaiting is not None:
            self.answer(FAILURE)
        elif self._text is not None:
            self._text.fail(reply_for(FAILURE))
            if not self._text.aborted:
                return self._abort_text(self._text)
        return None

    def disconnect(self, reason: Reply) -> None:
        """End the session from this side with a 421; what is not answered yet stays undone."""
        if self.phase is not Phase.CLOSED:
            self._say(reason)
            self._close()

    # ------------------------------------------------------------ commands

    def _run(self, line: bytes | Line) -> Event | None:
        self._commands += 1
        try:
            if isinstance(line, Line):
                raise Refused(replies.LINE_TOO_LONG)
            # Trailing white space is forgiven (RFC 5321 section 4.1.1).
            name, _, raw = line.rstrip(b" \t").partition(b" ")
            verb = _VERBS.get(name.upper())
            if len(line) + 2 > (verb.max_line if verb else COMMAND_LINE):
                raise Refused(replies.LINE_TOO_LONG)
            if verb is None:
                raise Refused(replies.UNKNOWN_COMMAND)
            if verb.obsolete:
                raise Refused(reply(502, "5.5.1", verb.obsolete))
            if reason := verb.out_of_order.get(self.phase):
                raise Refused(reply(503, "5.5.1", reason))
            return _HANDLERS[verb.name](self, verb.parse(_decode(raw), self._settings))
        except Refused as refused:
            self._refuse(refused.reply)
            return None

    def _refuse(self, answer: Reply) -> None:
        """Refuse a command; too many that are wrong in themselves end the session."""
        if answer.code in _WRONG:
            self._errors += 1
        if answer.code in _WRONG and self._errors == self._settings.max_errors:
            self.disconnect(replies.TOO_MANY_ERRORS)
        else:
            self._say(answer)

    def _helo_given(self, host: str) -> None:
        self._hello(host, "SMTP")
        self._say(reply(250, "", self._settings.hostname))

    def _ehlo_given(self, host: str) -> None:
        self._hello(host, "ESMTP")
        self._say(_ehlo_reply(self._settings))

    def _hello(self, host: str, protocol: str) -> None:
        self._helo, self._protocol = host, protocol
        self._forget()
        self.phase = Phase.IDLE

    def _mail_given(self, argument: tuple[ReversePath, Parameters]) -> None:
        path, parameters = argument
        check_mail(parameters, self._settings)
        self._reverse_path = path
        self.transactions += 1
        self.phase = Phase.SENDER
        self._say(replies.SENDER_OK)

    def _rcpt_given(self, argument: tuple[Address, Parameters]) -> Event:
        recipient, parameters = argument
        check_rcpt(parameters, self._settings)
        if len(self._recipients) >= self._settings.max_recipients:
            raise Refused(replies.TOO_MANY_RECIPIENTS)
        self._awaiting = lambda verdict: self._recipient_judged(recipient, verdict)
        return RecipientOffered(recipient)

    def _recipient_judged(self, recipient: Address, verdict: Verdict) -> None:
        if isinstance(verdict, Routed):
            self._recipients.append(recipient)
            for destination in verdict.destinations:
                self._destinations.setdefault(destination.mailbox, destination)
            self.phase = Phase.RECIPIENTS
        self._say(reply_for(verdict))

    def _data_given(self, argument: None) -> Event:
        self.phase = Phase.TEXT
        self._text = Text(self._settings)
        self._say(replies.START_TEXT)
        return MessageStarted(
            self._reverse_path,
            tuple(self._recipients),
            tuple(self._destinations.values()),
            self._protocol,
            self._helo,
        )

    def _rset_given(self, argument: None) -> None:
        self._forget()
        if self.phase is not Phase.CONNECTED:
            self.phase = Phase.IDLE
        self._say(replies.OK)

    def _vrfy_given(self, name: str) -> Event | None:
        return self._ask(AddressAsked(name))

    def _expn_given(self, name: str) -> Event | None:
        return self._ask(ListAsked(name))

    def _ask(self, question: AddressAsked | ListAsked) -> Event | None:
        if not self._settings.tells:
            self._say(replies.WILL_NOT_TELL)
            return None
        self._awaiting = self._say_verdict
        return question

    def _help_given(self, topic: str) -> None:
        lines = help_lines(topic)
        if lines is None:
            raise Refused(reply(504, "5.5.4", "no help on that; HELP alone lists the topics"))
        self._say(reply(214, "2.0.0", *lines))

    def _noop_given(self, argument: str) -> None:
        self._say(replies.OK)

    def _quit_given(self, argument: None) -> None:
        self._say(reply(221, "2.0.0", f"{self._settings.hostname} closing the connection"))
        self._close()

    # ------------------------------------------------------------ the message

    def _read_text(self) -> Event | None:
        text = self._text
        assert text is not None
        if text.ended:
            return self._end_text(text)
        if not len(self._input):
            return None
        self._octets += len(self._input)
        data = text.feed(self._input.take_all())
        if text.ended:
            self._input.put_back(text.rest)
        if text.refusal is not None:
            if not text.aborted:
                return self._abort_text(text)
        elif data:
            return MessageChunk(data)
        return self._end_text(text) if text.ended else None

    def _abort_text(self, text: Text) -> Event:
        """Let the message be forgotten now, but read on to its true end before saying so."""
        text.aborted = True
        return MessageAborted()

    def _end_text(self, text: Text) -> Event | None:
        self._forget()
        self.phase = Phase.IDLE
        if text.refusal is not None:
            self._say(text.refusal)
            return None
        self._errors = 0
        self._awaiting = self._say_verdict
        return MessageEnded()

    # ------------------------------------------------------------ small things

    def _say(self, answer: Reply) -> None:
        self._output.add(answer.octets)

    def _say_verdict(self, verdict: Verdict) -> None:
        self._say(reply_for(verdict))

    def _forget(self) -> None:
        """End the transaction, whatever it had."""
        self._reverse_path = None
        self._recipients = []
        self._destinations = {}
        self._text = None

    def _close(self) -> None:
        self._forget()
        self._awaiting = None
        self._input.take_all()
        self.phase = Phase.CLOSED


@lru_cache(maxsize=16)
def _ehlo_reply(settings: Settings) -> Reply:
    return reply(250, "", settings.hostname, *ehlo_lines(settings))


def _decode(raw: bytes) -> str:
    """An argument as text: printable, and UTF-8 where it is not ASCII."""
    try:
        text = raw.decode("utf-8").strip(" ")
    except UnicodeDecodeError:
        raise replies.syntax_error("the argument is neither ASCII nor UTF-8") from None
    if not text.isprintable():
        raise replies.syntax_error("the argument has a control character")
    return text


_VERBS = {name.encode(): verb for name, verb in VERBS.items()}

_HANDLERS: dict[str, Callable[..., Event | None]] = {
    "HELO": Session._helo_given,
    "EHLO": Session._ehlo_given,
    "MAIL": Session._mail_given,
    "RCPT": Session._rcpt_given,
    "DATA": Session._data_given,
    "RSET": Session._rset_given,
    "VRFY": Session._vrfy_given,
    "EXPN": Session._expn_given,
    "HELP": Session._help_given,
    "NOOP": Session._noop_given,
    "QUIT": Session._quit_given,
}
