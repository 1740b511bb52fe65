"""The receiver's side of an SMTP session (RFC 5321), without socket, clock or disk.

Bytes go in by :meth:`Session.receive`; :meth:`Session.next_event` runs as many commands as it can
and returns what somebody else must know or decide; :meth:`Session.take_output` has the replies,
in the order of the commands. While a verdict is awaited nothing more is read, so pipelined
commands (RFC 2920) are answered in order by construction.
"""

from collections.abc import Callable
from typing import Any

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import Accept, Defer, Refuse, Routed, Verdict
from mailserver.sasl.mechanisms import Channel
from mailserver.session.events import CommandRefused, LoginAsked, LoginRefused, Request
from mailserver.smtp import events, replies
from mailserver.smtp.errors import ErrorCounter
from mailserver.smtp.events import FAILURE, Event
from mailserver.smtp.extensions import check_mail, check_rcpt, ehlo_reply
from mailserver.smtp.login import NO_RESPONSE, Login, Step
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.replies import Refused, Reply, reply
from mailserver.smtp.syntax import Parameters, decode
from mailserver.smtp.text import Text
from mailserver.smtp.transaction import Transaction
from mailserver.smtp.verbs import MAX_LINE, VERBS, Phase, help_lines, read_command
from mailserver.smtp.verdicts import reply_for, sender_reply
from mailserver.wire.lines import Line, LineBuffer
from mailserver.wire.outbox import Outbox


class Session:
    """``awaited`` is the request that waits for its answer, None if there is none.

    ``commands`` counts the lines that were run, ``transactions`` the MAIL commands that began one.
    """

    __slots__ = (
        "_errors",
        "_helo",
        "_input",
        "_login",
        "_next",
        "_octets",
        "_output",
        "_settings",
        "_transaction",
        "_unnamed",
        "awaited",
        "commands",
        "phase",
        "transactions",
    )

    def __init__(self, settings: SMTPOptions) -> None:
        self._settings = settings
        self._input = LineBuffer(MAX_LINE, strict=settings.bare_newline == "reject")
        self._output = Outbox()
        self._login = Login(settings, Channel(settings.hostname))
        self._begin_anew()
        self._errors = ErrorCounter(settings.max_errors)
        self.commands = 0
        self._octets = 0
        self.transactions = 0
        self.awaited: Request | None = None
        self._next: Event | None = None
        self._transaction = Transaction()

    def _begin_anew(self) -> None:
        self.phase = Phase.CONNECTED
        self._helo = ("SMTP", "")
        # HELO or EHLO has come, perhaps with a name that was refused.
        self._unnamed = False

    # ------------------------------------------------------------ the outside

    def greet(self) -> None:
        """Queue the greeting."""
        self._say(replies.greeting(self._settings.hostname))

    def receive(self, data: bytes) -> None:
        """Take in what the client sent."""
        if self.phase is not Phase.CLOSED:
            self._input.feed(data)

    def take_output(self) -> bytes:
        """The replies queued since the last call."""
        return self._output.take()

    @property
    def user(self) -> str:
        """The account that has logged in, "" before."""
        return self._login.user

    @property
    def paused(self) -> bool:
        """True while a verdict is awaited."""
        return self.awaited is not None

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
        return self.commands + (self._octets >> 14)

    def next_event(self) -> Event | None:
        """Go on until there is something to tell; None if more input or a verdict is needed."""
        event, self._next = self._next, None
        if event is not None:
            return event
        while self.awaited is None and self.phase is not Phase.CLOSED:
            if self._output.full:
                return events.OutputFull()
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

    def answer(self, answer: Any) -> None:
        """Answer the request that is awaited. A session that is closed ignores it."""
        awaited = self.awaited
        if awaited is None:
            if self.closed:
                return
            raise RuntimeError("no answer is awaited")
        # If that raises, it is still awaited: see ``fail``.
        self._next = _ANSWERED[type(awaited)](self, awaited, answer)
        if self.awaited is awaited:
            self.awaited = None

    def fail(self) -> None:
        """An event could not be handled: the client is told to try again later, and the session goes on."""
        if self.awaited is not None:
            self.answer(self.awaited.failure)
        elif text := self._transaction.text:
            text.fail(reply_for(FAILURE))
            if not text.aborted:
                self._next = self._abort_text(text, reply_for(FAILURE))

    def secured(self, channel: Channel) -> None:
        """TLS has begun: nothing said before counts (RFC 3207 section 4.2)."""
        if self.closed:
            return
        self._login = Login(self._settings, channel)
        self._forget()
        self._input.take_all()
        self.awaited = None
        self._begin_anew()

    def disconnect(self, reason: Reply) -> None:
        """End the session from this side; what is not answered yet stays undone."""
        if self.phase is not Phase.CLOSED:
            self._say(reason)
            self._close()

    # ------------------------------------------------------------ commands

    def _run(self, line: bytes | Line) -> Event | None:
        self.commands += 1
        if isinstance(line, bytes):
            line = line.rstrip(b"\r")  # CR CR LF ends a line, too, unless bare newlines are rejected
        if self._login.under_way:
            return self._log_in(self._login.line(NO_RESPONSE[line] if isinstance(line, Line) else line))
        try:
            verb, raw = read_command(line, _VERBS)
            if verb.obsolete:
                raise Refused(reply(502, "5.5.1", verb.obsolete))
            if verb.needs_login and self._settings.submission and not self.user:
                raise Refused(replies.LOGIN_NEEDED)
            # A name that was refused does not keep the client from sending mail.
            phase = Phase.IDLE if self._unnamed and self.phase is Phase.CONNECTED else self.phase
            if reason := verb.out_of_order.get(phase):
                raise Refused(reply(503, "5.5.1", reason))
            self._unnamed |= verb.names_client and not self._settings.strict_syntax
            argument = decode(raw, self._settings, any_charset=verb.names_client)
            return _HANDLERS[verb.name](self, verb.parse(argument, self._settings))
        except Refused as refused:
            return self._refuse(refused.reply)

    def _refuse(self, answer: Reply, *, by_name: bool = False) -> Event | None:
        """Refuse a command, or, ``by_name``, the address in it; too many that are wrong end the session."""
        wrong = self._errors.is_wrong(answer, by_name=by_name)
        if wrong and self._errors.too_many:
            answer = replies.TOO_MANY_ERRORS
        if ended := answer in replies.LAST:
            self.disconnect(answer)
        else:
            self._say(answer)
        return CommandRefused(answer.lines[0], answer.rule, ended) if wrong or answer.rule else None

    def _helo_given(self, host: str) -> None:
        self._hello("SMTP", host)
        self._say(reply(250, "", self._settings.hostname))

    def _ehlo_given(self, host: str) -> None:
        self._hello("ESMTP", host)
        self._say(ehlo_reply(self._settings, self._login.offer))

    def _hello(self, protocol: str, host: str) -> None:
        self._helo = protocol, host
        self._forget()
        self.phase = Phase.IDLE

    def _mail_given(self, argument: tuple[ReversePath, Parameters]) -> Event:
        check_mail(argument[1], self._settings)
        return self._ask(events.SenderOffered(argument[0]))

    def _sender_judged(self, offered: events.SenderOffered, verdict: Verdict) -> Event | None:
        if not isinstance(verdict, Accept):
            return self._refuse(sender_reply(verdict), by_name=True)
        self._transaction.reverse_path = offered.reverse_path
        self.transactions += 1
        self.phase = Phase.SENDER
        self._say(replies.SENDER_OK)
        return None

    def _rcpt_given(self, argument: tuple[Address, Parameters]) -> Event:
        recipient, parameters = argument
        check_rcpt(parameters, self._settings)
        if len(self._transaction.recipients) >= self._settings.max_recipients:
            raise Refused(replies.TOO_MANY_RECIPIENTS)
        return self._ask(events.RecipientOffered(recipient))

    def _recipient_judged(self, offered: events.RecipientOffered, verdict: Verdict) -> Event | None:
        if not isinstance(verdict, Routed):
            return self._refuse(reply_for(verdict), by_name=True)
        self._transaction.add(offered.recipient, verdict)
        self.phase = Phase.RECIPIENTS
        self._say(reply_for(verdict))
        return None

    def _data_given(self, argument: None) -> Event:
        transaction = self._transaction
        self.phase = Phase.TEXT
        transaction.text = Text(self._settings)
        self._say(replies.START_TEXT)
        protocol, host = self._helo
        if protocol == "ESMTP":
            # RFC 3848: ESMTPS over TLS, ESMTPA after a login, ESMTPSA
            protocol += ("S" if self._login.channel.secure else "") + ("A" if self.user else "")
        return events.MessageStarted(
            transaction.reverse_path,
            tuple(transaction.recipients),
            tuple(transaction.destinations.values()),
            protocol,
            host,
        )

    def _rset_given(self, argument: None) -> None:
        self._forget()
        if self.phase is not Phase.CONNECTED:
            self.phase = Phase.IDLE
        self._say(replies.OK)

    def _tell(self, question: events.AddressAsked | events.ListAsked) -> Event | None:
        if not self._login.offer.tells:
            self._say(replies.WILL_NOT_TELL)
            return None
        return self._ask(question)

    def _name_judged(self, asked: events.AddressAsked | events.ListAsked, verdict: Verdict) -> Event | None:
        if isinstance(verdict, Refuse | Defer):
            return self._refuse(reply_for(verdict), by_name=True)
        self._say(reply_for(verdict))
        return None

    def _help_given(self, topic: str) -> None:
        lines = help_lines(topic)
        if lines is None:
            raise Refused(reply(504, "5.5.4", "no help on that; HELP alone lists the topics"))
        self._say(reply(214, "2.0.0", *lines))

    def _quit_given(self, argument: None) -> None:
        self._say(replies.farewell(self._settings.hostname))
        self._close()

    # ------------------------------------------------------------ TLS and login

    def _starttls_given(self, argument: None) -> Event:
        if self._login.channel.secure:
            raise Refused(replies.TLS_ALREADY)
        if not self._settings.starttls:
            raise Refused(replies.NO_TLS)
        self._say(replies.START_TLS)
        # What came behind it in the clear may be anybody's (CVE-2011-0411).
        return self._ask(events.TLSWanted(len(self._input.take_all())))

    def _log_in(self, step: Step) -> Event | None:
        """Do what the login wants next."""
        match step:
            case Reply():
                self._say(step)
                return events.LoggedIn(self.user)
            case LoginAsked() | LoginRefused():
                return self._ask(step)
            case challenge:
                self._output.add(challenge)
        return None

    # ------------------------------------------------------------ the message

    def _read_text(self) -> Event | None:
        text = self._transaction.text
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
                return self._abort_text(text, text.refusal)
        elif data:
            return events.MessageChunk(data)
        return self._end_text(text) if text.ended else None

    def _abort_text(self, text: Text, reason: Reply) -> Event:
        """Let the message be forgotten now, but read on to its true end before saying so."""
        text.aborted = True
        return events.MessageAborted(reason.lines[0], reason.rule or "storage")

    def _end_text(self, text: Text) -> Event | None:
        self._forget()
        self.phase = Phase.IDLE
        if text.refusal is not None:
            self._say(text.refusal)
            return None
        self._errors.forget()
        return self._ask(events.MessageEnded())

    # ------------------------------------------------------------ small things

    def _ask(self, request: Any) -> Event:
        self.awaited = request
        event: Event = request
        return event

    def _say(self, answer: Reply) -> None:
        self._output.add(answer.octets)

    def _forget(self) -> None:
        """End the transaction, whatever it had."""
        self._transaction = Transaction()

    def _close(self) -> None:
        self._forget()
        self.awaited = self._next = None
        self._input.take_all()
        self.phase = Phase.CLOSED


_VERBS = {name.encode(): verb for name, verb in VERBS.items()}

_HANDLERS: dict[str, Callable[..., Event | None]] = {
    "HELO": Session._helo_given,
    "EHLO": Session._ehlo_given,
    "STARTTLS": Session._starttls_given,
    "AUTH": lambda session, argument: session._log_in(session._login.begin(*argument)),
    "MAIL": Session._mail_given,
    "RCPT": Session._rcpt_given,
    "DATA": Session._data_given,
    "RSET": Session._rset_given,
    "VRFY": lambda session, name: session._tell(events.AddressAsked(name)),
    "EXPN": lambda session, name: session._tell(events.ListAsked(name)),
    "HELP": Session._help_given,
    "NOOP": lambda session, text: session._say(replies.OK),
    "QUIT": Session._quit_given,
}

# What becomes of the answer to a request.
_ANSWERED: dict[type[Request], Callable[[Session, Any, Any], Event | None]] = {
    events.SenderOffered: Session._sender_judged,
    events.RecipientOffered: Session._recipient_judged,
    events.MessageEnded: lambda session, ended, verdict: session._say(reply_for(verdict)),
    events.AddressAsked: Session._name_judged,
    events.ListAsked: Session._name_judged,
    LoginAsked: lambda session, asked, answer: session._log_in(session._login.answer(answer)),
    LoginRefused: lambda session, refused, _: session._refuse(session._login.refusal(refused.reason)),
    events.TLSWanted: lambda session, wanted, channel: session.secured(channel),
}
