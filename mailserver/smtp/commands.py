"""The handlers of the SMTP commands (RFC 5321 section 4.1).

The verb table names them. They never change the state.
"""

from abc import abstractmethod
from collections.abc import Sequence

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.envelope import Parameters
from mailserver.mail.handling import is_binary
from mailserver.mail.verdict import Accept, Defer, MailWaits, QueueStarted, Refuse, Routed, Verdict
from mailserver.sasl.mechanisms import Channel
from mailserver.sasl.steps import Reason
from mailserver.session.events import TLSWanted
from mailserver.session.verbs import Refused, Step
from mailserver.smtp import events, replies
from mailserver.smtp.extensions import check_mail, check_rcpt, ehlo_reply
from mailserver.smtp.login import SMTPLogin
from mailserver.smtp.naming import ClientNaming
from mailserver.smtp.replies import Reply, reply
from mailserver.smtp.syntax import UTF8
from mailserver.smtp.text import ChunkedText, DottedText, Text
from mailserver.smtp.verdicts import (
    fetch_reply,
    name_reply,
    queue_reply,
    recipient_reply,
    reply_for,
    sender_reply,
)
from mailserver.wire.lines import Line


class SMTPCommands(ClientNaming):
    """The handlers, and the state that they share."""

    __slots__ = (
        "_chunk",
        "_domains",
        "_helo",
        "_is_binary",
        "_is_correct",
        "_messages",
        "_recipients",
        "_rejection",
        "_text",
        "_utf8",
    )

    def _begin(self, channel: Channel) -> SMTPLogin:
        self._helo = ("SMTP", "")
        self._messages = 0  # the number of MAIL commands
        self._domains: set[str] = set()  # of the recipients, if their number is limited
        self._chunk = 0  # the octets of the current BDAT that have not arrived
        self._is_correct = True  # whether it follows the grammar
        self._rejection = b""  # the reply to it, if it is rejected
        self._forget()
        return SMTPLogin(self._options, channel)

    def _withdraw(self) -> None:
        """End the transaction. A message that is arriving is dropped."""
        if self._text is not None and not self._text.aborted:
            self._event = events.MessageWithdrawn()
        self._forget()

    def _forget(self) -> None:
        """End the transaction."""
        self._recipients = 0  # the number of those accepted
        self._text: Text | None = None
        self._utf8 = False  # whether MAIL had the parameter SMTPUTF8
        self._origin = events.NO_ATTRIBUTES

    @property
    def user(self) -> str:
        """The account that has logged in, "" before."""
        return self._login.user

    # ------------------------------------------------------------ the session

    def helo(self, host: str) -> Step:
        self._hello("SMTP", host)
        return reply(250, "", self._options.hostname).octets

    def ehlo(self, host: str) -> Step:
        self._hello("ESMTP", host)
        return ehlo_reply(self._options, self._login.offer).octets

    def lhlo(self, host: str) -> Step:
        self._hello("LMTP", host)
        return ehlo_reply(self._options, self._login.offer).octets

    def _hello(self, protocol: str, host: str) -> None:
        self._helo = protocol, host
        self._withdraw()

    def starttls(self, argument: None) -> Step:
        if self._login.channel.secure:
            raise Refused(replies.TLS_ALREADY)
        if not self._options.starttls:
            raise Refused(replies.NO_TLS)
        self._output.add(replies.START_TLS.octets)
        # An attacker may have added octets behind the command (CVE-2011-0411).
        return TLSWanted(len(self._input.take_all()))

    def tls_begun(self, wanted: TLSWanted, channel: Channel) -> Step:
        self.secured(channel)
        return b""

    def auth(self, argument: tuple[str, bytes | None]) -> Step:
        return self._log_in(self._login.begin(*argument))

    def _logged_in(self, account: str) -> Step:
        self._event = events.LoggedIn(account)
        return replies.LOGIN_OK.octets

    def _login_refusal(self, reason: Reason) -> Reply:
        return self._login.refusal(reason)

    def rset(self, argument: None) -> Step:
        self._withdraw()
        return replies.OK.octets

    def noop(self, argument: str) -> Step:
        return replies.OK.octets

    @abstractmethod
    def help_lines(self, topic: str) -> tuple[str, ...] | None:
        """The lines of HELP, None for an unknown topic."""

    def help(self, topic: str) -> Step:
        lines = self.help_lines(topic)
        if lines is None:
            raise Refused(replies.NO_HELP)
        return reply(214, "2.0.0", *lines).octets

    def quit(self, argument: None) -> Step:
        return replies.farewell(self._options.hostname).octets

    # ------------------------------------------------------------ names

    def vrfy(self, argument: tuple[str, bool]) -> Step:
        return events.AddressAsked(*argument) if self._login.offer.lookups else replies.CANNOT_VERIFY.octets

    def expn(self, argument: tuple[str, bool]) -> Step:
        return events.ListAsked(*argument) if self._login.offer.lookups else replies.CANNOT_VERIFY.octets

    def name_judged(self, asked: events.AddressAsked | events.ListAsked, verdict: Verdict) -> Step:
        answer = name_reply(verdict, asked.utf8)
        if isinstance(verdict, Refuse | Defer):
            raise Refused(answer, by_name=True)
        return answer.octets

    # ------------------------------------------------------------ the queue

    def etrn(self, domain: str) -> Step:
        if not self._login.offer.queue_starts:
            raise Refused(replies.NO_QUEUE_STARTS)
        return events.QueueStartAsked(domain)

    def queue_started(self, asked: events.QueueStartAsked, verdict: QueueStarted | Defer | Refuse) -> Step:
        answer = queue_reply(asked.domain, verdict)
        if isinstance(verdict, Refuse | Defer):
            raise Refused(answer, by_name=True)
        return answer.octets

    def atrn(self, domains: tuple[str, ...]) -> Step:
        if not self._login.offer.fetches:
            raise Refused(replies.NO_FETCHES)
        if not self._login.user:
            raise Refused(replies.FETCH_NEEDS_LOGIN)
        return events.FetchAsked(domains)

    def fetch_judged(self, asked: events.FetchAsked, verdict: MailWaits | Defer | Refuse) -> Step:
        answer = fetch_reply(verdict)
        if not isinstance(verdict, MailWaits) or not verdict.domains:
            raise Refused(answer, by_name=True)
        self._event = events.RolesReversed(verdict.domains)
        return answer.octets

    def read_nothing(self) -> Step | Line:
        return Line.INCOMPLETE

    # ------------------------------------------------------------ the envelope

    def mail(self, argument: tuple[ReversePath, Parameters]) -> Step:
        path, parameters = argument
        self._messages += 1
        if 0 < self._options.max_messages < self._messages:
            raise Refused(replies.TOO_MANY_MESSAGES)
        check_mail(parameters, self._options, lambda: self._login.offer)
        self._is_binary = "BODY" in parameters and is_binary(parameters)
        protocol, host = self._helo
        self._utf8 = UTF8 in parameters
        if self._utf8:
            protocol = "UTF8LMTP" if protocol == "LMTP" else "UTF8SMTP"
        if protocol != "SMTP":
            # RFC 3848: ESMTPS or LMTPS over TLS, ESMTPA or LMTPA after a login, ESMTPSA or LMTPSA
            protocol += ("S" if self._login.channel.secure else "") + ("A" if self._login.user else "")
        return events.SenderOffered(path, parameters, host, protocol, self._origin)

    def sender_judged(self, offered: events.SenderOffered, verdict: Verdict) -> Step:
        if not isinstance(verdict, Accept):
            raise Refused(sender_reply(verdict), by_name=True)
        return replies.SENDER_OK.octets

    def rcpt(self, argument: tuple[Address, Parameters, bool]) -> Step:
        recipient, parameters, is_ascii = argument
        check_rcpt(parameters, self._options)
        if not (is_ascii or self._utf8):
            raise Refused(replies.RECIPIENT_OUTSIDE_ASCII)
        if self._recipients >= self._options.max_recipients:
            raise Refused(replies.TOO_MANY_RECIPIENTS)
        most = self._options.max_recipient_domains
        if most and recipient.domain not in self._domains and len(self._domains) >= most:
            raise Refused(replies.TOO_MANY_DOMAINS)
        return events.RecipientOffered(recipient, parameters)

    def recipient_judged(self, offered: events.RecipientOffered, verdict: Verdict) -> Step:
        answer = recipient_reply(verdict, self._utf8)
        if not isinstance(verdict, Routed):
            raise Refused(answer, by_name=True)
        self._recipients += 1
        if self._options.max_recipient_domains:
            self._domains.add(offered.recipient.domain)
        return answer.octets

    # ------------------------------------------------------------ the message

    def data(self, argument: None) -> Step:
        if self._is_binary:
            raise Refused(replies.NEEDS_CHUNKS)
        self._text = DottedText(self._options)
        self._event = events.MessageStarted()
        return replies.START_TEXT.octets

    def read_text(self) -> Step | Line:
        text = self._text
        assert isinstance(text, DottedText)
        if not text.ended:
            if not len(self._input):
                return Line.INCOMPLETE
            self.octets += len(self._input)
            data = text.feed(self._input.take_all())
            if text.ended:
                self._input.put_back(text.rest)
            refusal = text.refusal
            if refusal is None and data:
                self._event = events.MessageChunk(data)
                return None
            if refusal is not None and not text.aborted:
                self._abort(text, refusal)
                return None
            if not text.ended:
                return None
        return self._end(text.refusal)

    def _end(self, refusal: Reply | None) -> Step:
        """The message is complete."""
        recipients = self._recipients
        self._forget()
        if refusal is not None:
            return refusal.octets
        self._errors = self._refused_names = 0
        return events.MessageEnded(recipients)

    def message_judged(self, ended: events.MessageEnded, verdict: Verdict) -> Step:
        answer = reply_for(verdict)
        if answer.last:
            raise Refused(answer)
        return answer.octets

    # ------------------------------------------------------------ the message in chunks

    def bdat(self, argument: None) -> Step:
        text = self._text
        if text is None:
            text = self._text = ChunkedText(self._options, binary=self._is_binary)
            self._event = events.MessageStarted()
        assert isinstance(text, ChunkedText)
        text.announce(self._chunk)
        if not self._is_correct:
            text.fail(replies.BAD_END_MARKER)
        return None

    def read_chunk(self) -> Step | Line:
        text = self._text
        assert isinstance(text, ChunkedText)
        refusal = text.refusal
        if refusal is not None and not text.aborted:
            self._abort(text, refusal)
            return None
        if self._chunk:
            return self._read_octets(text)
        return refusal.octets if refusal is not None else replies.OK.octets

    def read_last_chunk(self) -> Step | Line:
        text = self._text
        assert isinstance(text, ChunkedText)
        data = b"" if self._chunk else text.finish()
        refusal = text.refusal
        if refusal is not None and not text.aborted:
            self._abort(text, refusal)
            return None
        if self._chunk:
            return self._read_octets(text)
        if refusal is None and data:
            self._event = events.MessageChunk(data)
            return None
        return self._end(refusal)

    def _read_octets(self, text: ChunkedText) -> Step | Line:
        """Read octets of the chunk."""
        if not len(self._input):
            return Line.INCOMPLETE
        data = text.feed(self._take_chunk())
        if data and text.refusal is None:
            self._event = events.MessageChunk(data)
        return None

    def skip_chunk(self) -> Step | Line:
        """Discard the octets of a BDAT that is rejected, and then reply.

        It does not count as an error: many chunks may be in the pipeline (RFC 3030 section 2).
        """
        self._take_chunk()
        return Line.INCOMPLETE if self._chunk else self._rejection

    def _take_chunk(self) -> bytes:
        data = self._input.take(self._chunk)
        self._chunk -= len(data)
        self.octets += len(data)
        return data

    # LMTP: a reply for each recipient (RFC 2033 section 4.2)

    def read_text_for_each(self) -> Step | Line:
        recipients = self._recipients
        step = self.read_text()
        return step * recipients if isinstance(step, bytes) else step

    def read_last_chunk_for_each(self) -> Step | Line:
        recipients = self._recipients
        step = self.read_last_chunk()
        return step * recipients if isinstance(step, bytes) else step

    def recipients_judged(self, ended: events.MessageEnded, verdicts: Verdict | Sequence[Verdict]) -> Step:
        if not isinstance(verdicts, Sequence):
            return reply_for(verdicts).octets * ended.recipients
        return b"".join([reply_for(verdict).octets for verdict in verdicts])

    def fail(self) -> None:
        """See the base class. A message that is arriving is read to its end before it is rejected."""
        text = self._text
        if self.awaited is None and text is not None:
            refusal = reply_for(events.FAILURE)
            text.fail(refusal)
            if not text.aborted:
                self._abort(text, refusal)
        else:
            super().fail()

    def _abort(self, text: Text, reason: Reply) -> None:
        """Drop the message now, but read it to its end before the reply."""
        text.aborted = True
        self._event = events.MessageAborted(reason.reason, reason.rule or "storage")
