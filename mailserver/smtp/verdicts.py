"""The reply for each verdict. No other module knows which code a reason has.

Codes: RFC 5321 section 4.2.3, with the enhanced codes of RFC 3463.
"""

from mailserver.mail.address import format_path
from mailserver.mail.verdict import (
    BAD_MAILBOX,
    INVALID_ARGUMENTS,
    MAIL_SYSTEM_FULL,
    MAILBOX_FULL,
    NOT_AUTHORIZED,
    NULL_MX,
    POLICY,
    ROUTING_LOOP,
    Accept,
    CannotVerify,
    Defer,
    Forwarded,
    MailWaits,
    Members,
    Moved,
    QueueStarted,
    Refuse,
    Routed,
    Status,
    Verdict,
)
from mailserver.smtp.replies import (
    CANNOT_VERIFY,
    MOVED_OUTSIDE_ASCII,
    NOT_IN_ASCII,
    RECIPIENT_OK,
    Reply,
    reply,
)

_DEFERRED: dict[Status, int] = {MAILBOX_FULL: 452, MAIL_SYSTEM_FULL: 452, BAD_MAILBOX: 450}
_REFUSED: dict[Status, int] = {
    MAILBOX_FULL: 552,
    ROUTING_LOOP: 554,
    INVALID_ARGUMENTS: 501,
    NULL_MX: 556,
}


def sender_reply(verdict: Verdict) -> Reply:
    """The reply to MAIL: a reverse-path that the client may not use gets 553 (RFC 5321 section 4.3.2)."""
    if isinstance(verdict, Refuse) and verdict.status == NOT_AUTHORIZED and not verdict.code:
        return reply(553, "5.7.1", verdict.text)
    return reply_for(verdict)


def recipient_reply(verdict: Verdict, utf8: bool) -> Reply:
    """The reply to RCPT. ``utf8``: it may have an address outside ASCII (RFC 6531 section 3.7.4.1)."""
    answer = reply_for(verdict, utf8=utf8)
    if utf8 or answer.octets.isascii():
        return answer
    return MOVED_OUTSIDE_ASCII if isinstance(verdict, Moved) else RECIPIENT_OK


def name_reply(verdict: Verdict, utf8: bool) -> Reply:
    """The reply to VRFY and EXPN. ``utf8``: it may have UTF-8 (RFC 6531 section 3.7.4.2)."""
    answer = reply_for(verdict, utf8=utf8)
    if utf8 or answer.octets.isascii():
        return answer
    return MOVED_OUTSIDE_ASCII if isinstance(verdict, Moved) else NOT_IN_ASCII


def named_reply(verdict: Defer | Refuse) -> Reply:
    """The reply to XCLIENT: a client that the limits reject ends the session."""
    if isinstance(verdict, Defer) and verdict.status == POLICY:
        return reply(421, "4.7.0", verdict.text, rule=verdict.key, last=True)
    return reply_for(verdict)


def queue_reply(domain: str, verdict: QueueStarted | Defer | Refuse) -> Reply:
    """The reply to ETRN (RFC 1985 section 5.3)."""
    match verdict:
        case QueueStarted(0):
            return reply(251, "2.0.0", f"OK, no messages waiting for node {domain}")
        case QueueStarted(more=True):
            return reply(252, "2.0.0", f"OK, pending messages for node {domain} started")
        case QueueStarted(messages):
            return reply(253, "2.0.0", f"OK, {messages} pending messages for node {domain} started")
        case Refuse(text=text):
            return reply(459, "4.7.1", f"Node {domain} not allowed: {text}")
        case Defer(text=text):
            return reply(458, "4.3.0", f"Unable to queue messages for node {domain}: {text}")


def fetch_reply(verdict: MailWaits | Defer | Refuse) -> Reply:
    """The reply to ATRN (RFC 2645 section 5.2.1)."""
    match verdict:
        case MailWaits(()):
            return reply(453, "4.0.0", "You have no mail")
        case MailWaits():
            return reply(250, "2.0.0", "OK now reversing the connection")
        case Refuse(text=text):
            return reply(450, "4.7.1", f"ATRN request refused: {text}")
        case Defer(text=text):
            return reply(451, "4.3.0", f"Unable to process ATRN request now: {text}")


def reply_for(verdict: Verdict, *, utf8: bool = False) -> Reply:
    """The reply for a verdict. ``utf8``: the text of a rejection may have UTF-8."""
    match verdict:
        case Routed(announced=None):
            return RECIPIENT_OK
        case Routed(announced=path) | Forwarded(path):
            return reply(251, "2.1.5", f"user not local; will forward to {format_path(path)}", utf8=True)
        case Moved(path):
            return reply(551, "5.1.6", f"user not local; please try {format_path(path)}", utf8=True)
        case Members(addresses):
            return reply(250, "2.1.5", *map(format_path, addresses), utf8=True)
        case Accept(text):
            return reply(250, "2.0.0", text, utf8=True)
        case Defer(status, text):
            code, lines = verdict.code or _DEFERRED.get(status, 451), text.split("\n")
            enhanced = f"4.{status.subject}.{status.detail}"
            # A server that sends 421 closes the connection (RFC 5321 section 3.8).
            return reply(code, enhanced, *lines, utf8=utf8, last=code == 421)
        case Refuse(status, text):
            code, lines = verdict.code or _REFUSED.get(status, 550), text.split("\n")
            return reply(code, f"5.{status.subject}.{status.detail}", *lines, utf8=utf8)
        case CannotVerify():
            return CANNOT_VERIFY
