"""One message in a sending session: its commands, and the result for each recipient.

A result is decided once, by the first of: a check before anything is sent, the reply to a command, the end
of the session.
"""

from mailserver.mail.verdict import Status
from mailserver.smtp.sender.events import Fate, RecipientResult
from mailserver.smtp.sender.extensions import ServerExtensions
from mailserver.smtp.sender.replies import ServerReply
from mailserver.smtp.sender.settings import OutgoingMail, OutgoingRecipient

UNDEFINED = Status(0, 0)
TOO_MANY_RECIPIENTS = Status(5, 3)
CONNECTION_LOST = Status(4, 2)
TOO_BIG = Status(3, 4)
CONVERSION_NEEDED = Status(6, 3)
UTF8_NEEDED = Status(6, 7)
FEATURE_MISSING = Status(3, 3)
TOO_LATE = Status(4, 7)
TLS_NEEDED = Status(7, 30)  # this one and the next: RFC 8689 section 4.2.1
ENCRYPTION_NEEDED = Status(7, 10)


class OutgoingTransaction:
    """The message that is under way.

    ``to_try`` has the indexes of the recipients that get a RCPT, ``accepted`` of those whose RCPT was
    accepted. ``rejects_sender``: MAIL was rejected. ``whole``: the end of the content is sent.
    """

    __slots__ = (
        "_answered",
        "_extensions",
        "accepted",
        "mail",
        "rejects_sender",
        "results",
        "to_try",
        "whole",
    )

    def __init__(self, mail: OutgoingMail, extensions: ServerExtensions, *, encrypted: bool) -> None:
        self.mail = mail
        self._extensions = extensions
        self.results: list[RecipientResult | None] = [None] * len(mail.recipients)
        self.accepted: list[int] = []
        self.rejects_sender = False
        self.whole = False
        self._answered = 0
        problem = self._problem(encrypted)
        if problem is not None:
            self.decide(range(len(mail.recipients)), problem)
        elif not extensions.utf8:
            self.decide(
                [at for at, one in enumerate(mail.recipients) if not one.address.isascii()],
                _rejected(UTF8_NEEDED, "the server does not accept addresses outside ASCII (SMTPUTF8)"),
            )
        self.to_try = [at for at, result in enumerate(self.results) if result is None]
        limit = extensions.max_recipients
        if limit is not None and len(self.to_try) > limit:
            text = f"the server accepts {limit} recipients per transaction"
            self.decide(self.to_try[limit:], RecipientResult(Fate.UNTRIED, TOO_MANY_RECIPIENTS, text))
            del self.to_try[limit:]

    def _problem(self, encrypted: bool) -> RecipientResult | None:
        """The reason why the server cannot take the message at all."""
        mail, extensions = self.mail, self._extensions
        if extensions.size and mail.size > extensions.size:
            text = f"the message has {mail.size} octets, and the server accepts {extensions.size} at most"
            return _rejected(TOO_BIG, text)
        if (mail.utf8 or not mail.reverse_path.isascii()) and not extensions.utf8:
            what = "headers" if mail.utf8 else "addresses"
            return _rejected(UTF8_NEEDED, f"the server does not accept {what} outside ASCII (SMTPUTF8)")
        if mail.binary and not extensions.takes_binary:
            return _rejected(CONVERSION_NEEDED, "the server does not accept binary content (BINARYMIME)")
        if mail.eight_bit and not (extensions.eight_bit or mail.binary):
            return _rejected(CONVERSION_NEEDED, "the server does not accept 8-bit content (8BITMIME)")
        if mail.require_tls and not (encrypted and extensions.require_tls):
            return _rejected(
                TLS_NEEDED if encrypted else ENCRYPTION_NEEDED,
                "the message requires TLS on its whole way, and the server does not offer that (REQUIRETLS)",
            )
        if mail.deadline is not None and mail.returned:
            if extensions.shortest_deadline is None:
                text = (
                    "the sender has set a time for the delivery, and the server does not obey it (DELIVERBY)"
                )
                return _rejected(FEATURE_MISSING, text)
            if mail.deadline < extensions.shortest_deadline:
                text = (
                    f"the server needs {extensions.shortest_deadline} seconds, and {mail.deadline} are left"
                )
                return _rejected(TOO_LATE, text)
        return None

    # ------------------------------------------------------------ commands

    def mail_command(self) -> bytes:
        """MAIL with its parameters, without CRLF."""
        mail, extensions = self.mail, self._extensions
        line = f"MAIL FROM:<{mail.reverse_path}>"
        if extensions.size is not None:
            line += f" SIZE={mail.size}"
        if mail.binary:
            line += " BODY=BINARYMIME"
        elif mail.eight_bit:
            line += " BODY=8BITMIME"
        if mail.utf8 or not mail.reverse_path.isascii() or self._names_utf8():
            line += " SMTPUTF8"
        if mail.require_tls:
            line += " REQUIRETLS"
        if mail.priority and extensions.priority:
            line += f" MT-PRIORITY={mail.priority}"
        if mail.deadline is not None and extensions.shortest_deadline is not None:
            mode = ("R" if mail.returned else "N") + ("T" if mail.traced else "")
            line += f" BY={mail.deadline};{mode}"
        if extensions.dsn:
            line += (f" RET={mail.ret}" if mail.ret else "") + (f" ENVID={mail.envid}" if mail.envid else "")
        return line.encode()

    def rcpt_commands(self) -> list[bytes]:
        """A RCPT for each recipient to try, without CRLF."""
        return [self._rcpt_command(self.mail.recipients[at]) for at in self.to_try]

    def _rcpt_command(self, recipient: OutgoingRecipient) -> bytes:
        line = f"RCPT TO:<{recipient.address}>"
        if self._extensions.dsn:
            line += f" NOTIFY={recipient.notify}" if recipient.notify else ""
            line += f" ORCPT={recipient.orcpt}" if recipient.orcpt else ""
        return line.encode()

    def _names_utf8(self) -> bool:
        return not all(self.mail.recipients[at].address.isascii() for at in self.to_try)

    # ------------------------------------------------------------ replies

    @property
    def settled(self) -> bool:
        """Whether the replies to the envelope say if the message is wanted."""
        return self.rejects_sender or self._answered == len(self.to_try)

    @property
    def wanted(self) -> bool:
        """Whether a recipient can get the message, as far as it is known."""
        return bool(self.accepted) and not self.rejects_sender

    def mail_replied(self, reply: ServerReply) -> None:
        self.rejects_sender = reply.code // 100 != 2
        if self.rejects_sender:
            self.decide(self.to_try, _result("the sender", reply))

    def rcpt_replied(self, reply: ServerReply) -> None:
        at = self.to_try[self._answered]
        self._answered += 1
        if reply.code // 100 == 2:
            self.accepted.append(at)
        elif self.accepted and _means_too_many(reply):
            text = f"the server accepts no more recipients in this transaction: {reply}"
            self.decide([at], RecipientResult(Fate.UNTRIED, TOO_MANY_RECIPIENTS, text, reply))
        else:
            self.decide([at], _result("the recipient", reply))

    def message_replied(self, reply: ServerReply) -> None:
        """A reply about the message to all recipients that are accepted so far."""
        self.decide(self.accepted, self._about_message(reply))

    def next_recipient_replied(self, reply: ServerReply) -> bool:
        """A reply about the message to one recipient (LMTP). Returns whether more must follow."""
        open_ones = [at for at in self.accepted if self.results[at] is None]
        self.decide(open_ones[:1], self._about_message(reply))
        return len(open_ones) > 1

    def _about_message(self, reply: ServerReply) -> RecipientResult:
        if reply.code // 100 == 2:
            extensions = self._extensions
            return RecipientResult(
                Fate.ACCEPTED,
                reply.status or UNDEFINED,
                "",
                reply,
                extensions.dsn,
                extensions.shortest_deadline is not None,
            )
        return _result("the message", reply)

    def give_up(self, text: str, reply: ServerReply | None) -> None:
        """The session ends, or the caller abandons the message: decide all that is open."""
        # A 421 comes in place of the final reply.
        ended = reply is not None and reply.code == 421
        fate = Fate.UNCERTAIN if self.whole and not ended else Fate.UNTRIED
        self.decide(range(len(self.results)), RecipientResult(fate, CONNECTION_LOST, text, reply))

    def decide(self, which: "list[int] | range", result: RecipientResult) -> None:
        """Decide those of the recipients that are open."""
        for at in which:
            if self.results[at] is None:
                self.results[at] = result

    def all_results(self) -> tuple[RecipientResult, ...]:
        """The results, once all are decided."""
        return tuple([result for result in self.results if result is not None])


def _rejected(status: Status, text: str) -> RecipientResult:
    return RecipientResult(Fate.REJECTED, status, text)


def _result(subject: str, reply: ServerReply) -> RecipientResult:
    fate, verb = (Fate.DEFERRED, "defers") if reply.code // 100 == 4 else (Fate.REJECTED, "rejects")
    return RecipientResult(fate, reply.status or UNDEFINED, f"the server {verb} {subject}: {reply}", reply)


def _means_too_many(reply: ServerReply) -> bool:
    """Whether the reply to RCPT means too many recipients: 452, or 552 of old servers (RFC 5321 section
    4.5.3.1.10)."""
    return reply.code in (452, 552) and reply.status in (None, TOO_MANY_RECIPIENTS)
