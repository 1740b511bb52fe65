"""Outcomes of an attempt, in words that a person can act on."""

import re

from mailserver.errors import HostUnusable
from mailserver.mail import outcome
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.verdict import Status
from mailserver.smtp.sender.events import Fate, RecipientResult

NO_MAIL_HERE = 521
"""The reply of a host that takes no mail (RFC 7504 section 3)."""

NO_MAIL = Status(3, 2)
NO_ANSWER = Status(4, 1)  # RFC 3463 section 3.5
BAD_CONNECTION = Status(4, 2)
CONGESTED = Status(4, 5)
NO_CONVERSION = Status(6, 3)
SECURITY = Status(7, 0)
_STATUS = re.compile(r"[45][0-9]{2} [45]\.([0-9]{1,3})\.([0-9]{1,3})(?: |$)")


def outcome_of(result: RecipientResult, host: str) -> DeliveryOutcome:
    """The outcome for one recipient of a message that was sent to ``host``."""
    reply = "" if result.reply is None else str(result.reply)
    if result.fate is Fate.ACCEPTED:
        return outcome.Delivered(host, reply, result.reports, result.deadline)
    text = f"{host} said: {reply}" if reply else f"{host}: {result.text}"
    if result.fate is Fate.REJECTED:
        return outcome.Failed(result.status, text, host=host, reply=reply)
    return outcome.Deferred(result.status, text, host=host, reply=reply)


def closed(last: outcome.Deferred) -> outcome.Failed:
    """The outcome where all hosts say that they never take mail (RFC 7504 section 3)."""
    return outcome.Failed(NO_MAIL, last.text, host=last.host, reply=last.reply)


def no_conversion(host: str, *, binary: bool) -> outcome.Failed:
    """The outcome where the other server needs the message in another form."""
    what = "binary content (BINARYMIME)" if binary else "8-bit content (8BITMIME)"
    text = f"{host} does not accept {what}, and the message cannot be converted to 7-bit"
    return outcome.Failed(NO_CONVERSION, text, host=host)


def throttled(domain: str, until: float) -> outcome.Deferred:
    """The outcome where the limit of a section [[throttle]] is reached until a time."""
    text = f"the limit of messages to {domain} is reached"
    return outcome.Deferred(CONGESTED, text, until=until, rule="throttle", tried=False)


def fetched(domain: str) -> outcome.Deferred:
    """The outcome for mail that waits until the server of the domain fetches it."""
    text = f"the mail for {domain} waits until its server fetches it (ATRN)"
    return outcome.Deferred(NO_ANSWER, text, rule="relay.atrn")


def unreachable(error: HostUnusable) -> outcome.Deferred:
    """The outcome where no host takes mail; ``error`` is that of the last one."""
    if match := _STATUS.match(error.reply):
        status = Status(int(match[1]), int(match[2]))
    else:
        status = SECURITY if error.tls_failed else BAD_CONNECTION if error.reply else NO_ANSWER
    return outcome.Deferred(status, str(error), host=error.host, reply=error.reply, unreachable=True)
