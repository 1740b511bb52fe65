"""From a verdict to a reply: the only place that knows which code a reason has.

Codes: RFC 5321 section 4.2.3, with the enhanced codes of RFC 3463.
"""

from mailserver.mail.verdict import (
    BAD_MAILBOX,
    MAIL_SYSTEM_FULL,
    MAILBOX_FULL,
    MAILBOX_MOVED,
    ROUTING_LOOP,
    Accept,
    Defer,
    Refuse,
    Status,
    WillNotTell,
)
from mailserver.smtp.replies import WILL_NOT_TELL, Reply, reply

_DEFERRED: dict[Status, int] = {MAILBOX_FULL: 452, MAIL_SYSTEM_FULL: 452, BAD_MAILBOX: 450}
_REFUSED: dict[Status, int] = {MAILBOX_FULL: 552, MAILBOX_MOVED: 551, ROUTING_LOOP: 554}


def reply_for(verdict: Accept | Defer | Refuse | WillNotTell) -> Reply:
    """The reply that says ``verdict``."""
    match verdict:
        case Accept(text):
            return reply(250, "2.0.0", text)
        case Defer(status, text):
            return reply(_DEFERRED.get(status, 451), f"4.{status.subject}.{status.detail}", text)
        case Refuse(status, text):
            return reply(_REFUSED.get(status, 550), f"5.{status.subject}.{status.detail}", text)
        case WillNotTell():
            return WILL_NOT_TELL
