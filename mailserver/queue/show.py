"""Output of ``mailserver queue``: messages, one message in detail, and destinations; as text and as JSON."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from mailserver.errors import MessageDamaged
from mailserver.mail.queued import HELD, FailedAttempt
from mailserver.mail.returned import header_of
from mailserver.mail.words import counted
from mailserver.queue.entries import DestinationSummary, Listed, ListedRecipient, Shown
from mailserver.queue.selection import state_of

# ------------------------------------------------------------ text


def message_lines(one: Listed, now: float) -> Iterator[str]:
    """A line for a message, and a line for each waiting recipient."""
    state = "" if one.recipients else ", delivered, not yet synced"
    yield f"{one.id}  {_when(one.received)}  {one.octets} octets  from <{one.reverse_path}>{state}"
    yield from waiting(one, now)


def detail_lines(shown: Shown, now: float) -> Iterator[str]:
    """The details of a message, then its header."""
    yield f"id: {shown.listed.id}"
    yield f"received: {_when(shown.listed.received)}"
    yield f"reverse-path: <{shown.listed.reverse_path}>"
    yield f"size: {shown.listed.octets} octets"
    yield from (f"delivered, not yet synced: {mailbox}" for mailbox in shown.unsynced)
    if shown.damage:
        yield f"damaged: {shown.damage}"
    yield from waiting(shown.listed, now)
    header, damage = _header(shown)
    if damage:
        yield f"damaged: {damage}"
    elif header is not None:
        yield ""
        yield from header.splitlines()


def waiting(listed: Listed, now: float) -> Iterator[str]:
    """A line for each waiting recipient of a message."""
    for each in listed.recipients:
        name = each.recipient if each.recipient == each.address else f"{each.recipient} ({each.address})"
        state, next_ = "waiting", f", next {_when(each.next)}"
        if state_of(each, now) == "held":
            state, next_ = "held" if _has_no_end(each) else f"held until {_when(each.next)}", ""
        error = f"{each.error}{_said(each.last)}"
        yield f"    {state}: {name}: {error}; {_attempts(each.attempts)}{next_}"


def _has_no_end(each: ListedRecipient) -> bool:
    """Whether an administrator holds the recipient."""
    return isinstance(each.next, float) and each.next >= HELD


def _said(last: FailedAttempt | None) -> str:
    """The words of the other server, if the text does not have them."""
    if last is None or not last.reply or last.reply in last.text:
        return ""
    return f" ({last.host}: {last.reply})"


def _attempts(number: object) -> str:
    return counted(number, "attempt") if isinstance(number, int) else f"{number!r} attempts (damaged)"


def summary_line(one: DestinationSummary) -> str:
    """A line for a destination."""
    held = f", {one.held} held" if one.held else ""
    next_ = f", next {_when(one.next)}" if one.next is not None else ""
    error = f": {one.last.text}{_said(one.last)}" if one.last is not None else ""
    count = counted(one.recipients, "recipient")
    return f"{one.destination}  {count}{held}, oldest {_when(one.oldest)}{next_}{error}"


def _when(seconds: object) -> str:
    try:
        return _time(seconds)
    except (AssertionError, OverflowError, ValueError, OSError):
        return f"{seconds!r} (damaged)"


def _time(seconds: object) -> str:
    assert isinstance(seconds, float)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


# ------------------------------------------------------------ JSON


def message_object(one: Listed, now: float) -> dict[str, Any]:
    """A message and its waiting recipients. A damaged value is None."""
    return {
        "id": _plain(one.id, str),
        "received": _time_or_none(one.received),
        "sender": _plain(one.reverse_path, str),
        "size": _plain(one.octets, int),
        "recipients": [_recipient_object(each, now) for each in one.recipients],
    }


def _recipient_object(each: ListedRecipient, now: float) -> dict[str, Any]:
    state = state_of(each, now)
    return {
        "address": _plain(each.address, str),
        "original": _plain(each.recipient, str),
        "destination": each.destination,
        "state": state,
        "attempts": _plain(each.attempts, int),
        "next": None if _has_no_end(each) else _time_or_none(each.next),
        "last": attempt_object(each.last),
    }


def attempt_object(last: FailedAttempt | None) -> Mapping[str, Any] | None:
    """A failed attempt."""
    if last is None:
        return None
    return {
        "time": _time_or_none(last.when),
        "status": f"4.{last.status.subject}.{last.status.detail}",
        "reason": last.text,
        "host": last.host,
        "reply": last.reply,
    }


def detail_object(shown: Shown, now: float) -> dict[str, Any]:
    """A message in detail."""
    header, damage = _header(shown)
    return {
        **message_object(shown.listed, now),
        "unsynced": list(shown.unsynced),
        "damage": shown.damage or damage,
        "header": header,
    }


def summary_object(one: DestinationSummary) -> dict[str, Any]:
    """A destination."""
    return {
        "destination": one.destination,
        "recipients": one.recipients,
        "held": one.held,
        "oldest": _time_or_none(one.oldest),
        "next": _time_or_none(one.next),
        "last": attempt_object(one.last),
    }


def _plain(value: object, kind: type) -> object:
    return value if isinstance(value, kind) else None


def _time_or_none(seconds: object) -> str | None:
    try:
        return _time(seconds)
    except (AssertionError, OverflowError, ValueError, OSError):
        return None


def _header(shown: Shown) -> tuple[str | None, str]:
    """The header of a message, and the damage of its content."""
    if shown.content is None:
        return None, ""
    try:
        return header_of(shown.content.chunks()).decode("utf-8", "replace"), ""
    except (MessageDamaged, OSError) as error:
        return None, str(error)
