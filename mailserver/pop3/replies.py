"""Replies: their form and their texts.

RFC 1939 section 3, RFC 2449 sections 3 and 8 (response codes), RFC 3206 (SYS and AUTH codes).

    single-line = status [SP text] CRLF        ; 512 octets at most
    status      = "+OK" / "-ERR"
    text        = *schar / resp-code *CHAR     ; schar: printable and not "["
    multi-line  = single-line *dot-stuffed "." CRLF

No text repeats input of the client, except a harmless login name.
"""

from collections.abc import Sequence

import attrs

from mailserver.pop3.events import OpenFailure, ReadFailure
from mailserver.sasl.steps import Reason
from mailserver.wire.dots import encode


@attrs.frozen
class ErrReply:
    """A reply that rejects a command: see :class:`~mailserver.session.verbs.NegativeReply`."""

    octets: bytes
    reason: str
    rule: str = ""
    wrong: bool = False
    last: bool = False


def ok(text: str = "") -> bytes:
    """A positive reply of one line."""
    return f"+OK {text}\r\n".encode() if text else b"+OK\r\n"


def err(text: str, *, rule: str = "", wrong: bool = False, last: bool = False) -> ErrReply:
    """A negative reply."""
    return ErrReply(f"-ERR {text}\r\n".encode(), text, rule, wrong, last)


def multi_line(text: str, lines: bytes) -> bytes:
    """A positive multi-line reply. Each of the ``lines`` ends with CRLF; they are not yet byte-stuffed."""
    return ok(text) + encode(lines)


HTTP = err("this is a POP3 server, not a web server", wrong=True, last=True)
UNKNOWN_COMMAND = err("unknown command", wrong=True)
LINE_TOO_LONG = err("the command line is too long", wrong=True)
TOO_MANY_ERRORS = err("too many errors", wrong=True, last=True)
NEEDS_TLS = err("authentication requires TLS", rule="pop3.plaintext_auth")
START_TLS = ok("begin TLS")
NO_TLS = err("TLS is not available")
TLS_ALREADY = err("TLS is already active")
NO_APOP = err("APOP is not available")
UNKNOWN_MECHANISM = err("mechanism not supported; AUTH without an argument lists the supported ones")
# For a truncated message there is no reply; the session ends.
BROKEN_OFF = ErrReply(b"", "the rest of a message cannot be read", last=True)
USER_FIRST = err("send USER first")
SEND_PASSWORD = ok("send the password")

LOGIN_FAILED = {
    Reason.CREDENTIALS: err("[AUTH] wrong user name or password"),
    Reason.MALFORMED: err("invalid response; authentication failed", wrong=True),
    Reason.TOO_LONG: err("response too long; authentication failed", wrong=True),
    Reason.CANCELLED: err("authentication cancelled", wrong=True),
    Reason.TEMPORARY: err("[SYS/TEMP] authentication is temporarily unavailable, try again later"),
}

NOT_OPENED = {
    OpenFailure.IN_USE: err("[IN-USE] the maildrop is locked by another session"),
    OpenFailure.TOO_SOON: err("[LOGIN-DELAY] the time between two logins is too short, try again later"),
    OpenFailure.TEMPORARY: err("[SYS/TEMP] the maildrop is temporarily unavailable, try again later"),
}


def greeting(hostname: str, timestamp: str) -> bytes:
    """The first line. A ``timestamp`` offers APOP (RFC 1939 section 7)."""
    return ok(f"{hostname} POP3 server ready {timestamp}".rstrip())


def total(count: int, octets: int) -> str:
    """The text for the size of a maildrop."""
    return f"{_messages(count)} ({octets} octets)"


def welcome(user: str, count: int, octets: int) -> bytes:
    """The reply to a login. It has the user name if that is printable ASCII.

    A name that begins with "[" is left out, since it would be a response code.
    """
    harmless = user.isascii() and user.isprintable() and not user.startswith("[")
    owner = f"{user}'s " if harmless else ""
    return ok(f"{owner}maildrop has {total(count, octets)}")


def no_such_message(count: int) -> ErrReply:
    """There is no message with this number. ``count`` is the number of messages."""
    return err(f"no such message, only {_messages(count)} in maildrop")


def unreadable(number: int, why: ReadFailure) -> ErrReply:
    """The content of a message cannot be read."""
    if why is ReadFailure.REMOVED:
        return err(f"message {number} is no longer in the maildrop")
    return err(f"[SYS/TEMP] message {number} is temporarily unavailable, try again later")


def farewell(hostname: str, left: int | None = None) -> bytes:
    """The reply to QUIT. ``left`` is the number of messages left, None without a login."""
    text = f"{hostname} POP3 server signing off"
    if left is not None:
        text += f" ({_messages(left)} left)" if left else " (maildrop empty)"
    return ok(text)


def not_removed(numbers: Sequence[int]) -> bytes:
    """The reply to QUIT if some messages could not be removed. It lists the first 20."""
    named = ", ".join(map(str, numbers[:20]))
    if len(numbers) == 1:
        which = f"message {named} remains"
    elif len(numbers) <= 20:
        which = f"messages {named} remain"
    else:
        which = f"messages {named} and {len(numbers) - 20} more remain"
    return err(f"some deleted messages not removed ({which})").octets


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
