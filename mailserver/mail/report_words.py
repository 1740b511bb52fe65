"""The part of a delivery report for people: what has happened, why, and what to do.

The explanations follow the subject and the detail of the status (RFC 3463).
"""

import textwrap
from collections.abc import Mapping, Sequence
from email.utils import formatdate

from mailserver.mail.reported import Action, ReportedMessage, ReportedRecipient, ReportHead
from mailserver.mail.words import counted
from mailserver.mail.xtext import printable, visible

MAX_DIAGNOSTIC = 800  # characters of a reply or a reason
_DAY, _HOUR = 86400, 3600  # seconds
_WIDTH = 72  # characters of a line

_CHECK = "Check the address for typing errors. If it is right, ask the recipient for a new address."
_LATER = "Send the message again later."
_SMALLER = "Send a smaller message, for example without its attachments."
_THEIR_ADMIN = "Ask the recipient to tell the administrator of the receiving server, and show this report."
_OUR_ADMIN = "Send this report to the postmaster of this server."

# The cause and the advice for a status. A detail of None is for all other details of the subject.
_EXPLANATIONS: Mapping[tuple[int, int | None], tuple[str, str]] = {
    (1, 0): ("The recipient's address is not accepted.", _CHECK),
    (1, 1): ("There is no such address: the recipient is unknown.", _CHECK),
    (1, 2): ("There is no such domain: the host of the address is not found.", _CHECK),
    (1, 3): ("The address is not valid.", _CHECK),
    (1, 4): ("The address stands for several recipients.", _CHECK),
    (1, 6): ("The recipient has moved.", "Ask the recipient for the new address."),
    (1, 10): ("The domain of the address accepts no mail.", _CHECK),
    (1, 7): ("The address of the sender is not accepted.", "Check the sender's address."),
    (1, 8): ("The domain of the sender is not accepted.", "Check the sender's address."),
    (1, None): ("The recipient's address is not accepted.", _CHECK),
    (2, 1): ("The mailbox accepts no mail.", "Ask the recipient in another way."),
    (2, 2): ("The recipient's mailbox is full.", "Ask the recipient to delete old mail. Then send it again."),
    (2, 3): ("The message is too large for the mailbox.", _SMALLER),
    (2, None): ("The mailbox accepts no mail now.", _LATER),
    (3, 1): ("The receiving server has no space left.", _LATER),
    (3, 4): ("The message is too large for the receiving server.", _SMALLER),
    (3, None): ("The receiving server has a problem.", _LATER),
    (4, 1): ("The receiving server does not answer.", f"{_CHECK} {_LATER}"),
    (4, 3): ("The receiving server cannot be found now: DNS gives no answer.", f"{_CHECK} {_LATER}"),
    (4, 4): ("There is no way to the receiving server.", _CHECK),
    (4, 6): ("The message goes round in a circle between servers.", _OUR_ADMIN),
    (4, None): ("The connection to the receiving server fails.", _LATER),
    (5, None): ("The receiving server and this server do not understand each other.", _THEIR_ADMIN),
    (6, 7): ("The receiving server does not support international addresses.", "Use addresses in ASCII."),
    (6, None): (
        "The receiving server does not support the format of the message.",
        "Send it in another format, for example as plain text.",
    ),
    (7, 10): ("The receiving server offers no safe encryption.", _THEIR_ADMIN),
    (7, 30): ("The receiving server cannot guarantee encryption, which you have requested.", _THEIR_ADMIN),
    (7, None): (
        "The message was refused by a rule of the receiving server, for example as spam.",
        f"Read the reason below. {_THEIR_ADMIN}",
    ),
}
_UNEXPLAINED = ("The receiving server has given no reason that this server understands.", _THEIR_ADMIN)

_SUBJECTS: Mapping[Action, str] = {
    Action.FAILED: "Undelivered mail",
    Action.DELAYED: "Delayed mail: the server keeps trying",
}
_INTRODUCTIONS: Mapping[Action, str] = {
    Action.FAILED: "could not be delivered to {recipients}. No further attempts will be made.",
    Action.DELAYED: "has not been delivered to {recipients} yet. This is only a warning: you need not send "
    "the message again.",
    Action.DELIVERED: "has been delivered to {recipients}, as you have asked to be told.",
    Action.RELAYED: "has been passed on for {recipients} to another server, which does not confirm delivery. "
    "You may get no further report.",
    Action.EXPANDED: "has been delivered to {recipients} and is sent on from there. You may get no further "
    "report.",
}


def subject(head: ReportHead, action: Action) -> str:
    """The subject of the report."""
    text = _SUBJECTS.get(action, "Delivered mail")
    return f"Postmaster copy: {text}" if head.instead_of else text


def report_words(
    head: ReportHead, message: ReportedMessage, recipients: Sequence[ReportedRecipient], *, whole: bool
) -> list[str]:
    """The lines of the part for people. ``whole``: the whole message is attached, not only its header."""
    lines = [f"This is the mail system at {head.hostname}.", ""]
    if head.instead_of:
        lines += _wrapped(
            "You get this report as the postmaster, because it cannot be sent to the sender of the message, "
            f"{head.instead_of}."
        )
        lines.append("")
    whose = "A message" if head.instead_of else "Your message"
    accepted = f"{whose}, accepted on {formatdate(message.received, localtime=True)},"
    for action in Action:
        affected = [each for each in recipients if each.action is action]
        if affected:
            words = _INTRODUCTIONS[action].format(recipients=counted(len(affected), "recipient"))
            lines += [*_wrapped(f"{accepted} {words}"), ""]
            for each in affected:
                lines += [*_about(each, message), ""]
    content = "message" if whole else "header of the message"
    lines.append(f"The {content} is attached. Its id here is {message.id}.")
    return lines


def _about(each: ReportedRecipient, message: ReportedMessage) -> list[str]:
    lines = [f"<{visible(each.address)}>"]
    failed = each.action is Action.FAILED
    if failed or each.action is Action.DELAYED:
        status = each.status
        any_detail = _EXPLANATIONS.get((status.subject, None), _UNEXPLAINED)
        cause, advice = _EXPLANATIONS.get((status.subject, status.detail), any_detail)
        lines += _wrapped(cause, "    ")
        if failed and each.expired and each.last_attempt is not None:
            tried = duration(each.last_attempt - message.received)
            lines += _wrapped(f"This server has tried for {tried}.", "    ")
        if failed:
            lines += _wrapped(f"What you can do: {advice}", "    ")
    if each.retry_until is not None:
        until = formatdate(each.retry_until, localtime=True)
        lines += _wrapped(f"This server keeps trying until {until}.", "    ")
    if each.reply:
        lines += _wrapped(f"Answer of {each.host or 'the other server'}: {each.reply}", "    ")
    elif each.text:
        host = f" ({each.host})" if each.host else ""
        lines += _wrapped(f"Reason: {each.text}{host}", "    ")
    return lines


def duration(seconds: float) -> str:
    """A time in whole days, hours or minutes."""
    if seconds >= 2 * _DAY:
        return counted(round(seconds / _DAY), "day")
    if seconds >= 2 * _HOUR:
        return counted(round(seconds / _HOUR), "hour")
    return counted(max(round(seconds / 60), 1), "minute")


def _wrapped(text: str, indent: str = "") -> list[str]:
    """``text`` in short lines of printable ASCII. A long word, such as a link, is not divided."""
    return textwrap.wrap(
        printable(text)[:MAX_DIAGNOSTIC], _WIDTH, initial_indent=indent, subsequent_indent=indent,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
