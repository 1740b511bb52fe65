"""Replies: their form, and the texts that they choose.

RFC 1939 section 3, RFC 2449 sections 3 and 8 (response codes), RFC 3206 (SYS and AUTH codes).

    single-line = status [SP text] CRLF        ; 512 octets at most
    status      = "+OK" / "-ERR"
    text        = *schar / resp-code *CHAR     ; schar: printable and not "["
    multi-line  = single-line *dot-stuffed "." CRLF

No text repeats input of the client, except a harmless login name. Response codes are the same in every
language.
"""

from collections.abc import Sequence
from enum import Enum

import attrs

from mailserver.pop3 import texts
from mailserver.pop3.events import OpenFailure, ReadFailure
from mailserver.pop3.texts import ENGLISH, Language, Phrase, ReplyText, counted, messages
from mailserver.sasl.steps import Reason
from mailserver.wire.dots import encode


class ResponseCode(Enum):
    """The codes before the text of a negative reply."""

    AUTH = "AUTH"
    IN_USE = "IN-USE"
    LOGIN_DELAY = "LOGIN-DELAY"
    TEMPORARY = "SYS/TEMP"
    PERMANENT = "SYS/PERM"


@attrs.frozen
class ErrReply:
    """A reply that rejects a command: see :class:`~mailserver.session.verbs.NegativeReply`.

    ``phrase`` is None for an empty reply. ``logged`` is the reason for the log if that is another one.
    """

    phrase: Phrase | None
    code: ResponseCode | None = None
    logged: str = ""
    rule: str = ""
    wrong: bool = False
    last: bool = False

    @property
    def octets(self) -> bytes:
        """The reply in English."""
        return self.said_in(ENGLISH)

    @property
    def reason(self) -> str:
        """See the base class."""
        return self.logged or self._text(ENGLISH)

    def said_in(self, language: Language) -> bytes:
        """The reply in a language."""
        return f"-ERR {self._text(language)}\r\n".encode() if self.phrase else b""

    def _text(self, language: Language) -> str:
        text = self.phrase.said_in(language) if self.phrase else ""
        return f"[{self.code.value}] {text}" if self.code else text


def data(text: object = "") -> bytes:
    """A positive reply without words."""
    return f"+OK {text}\r\n".encode() if text != "" else b"+OK\r\n"


def ok(language: Language, text: ReplyText, *values: object) -> bytes:
    """A positive reply of one line. The ``values`` are in the language already."""
    return f"+OK {language.of(text).format(*values)}\r\n".encode()


def err(
    text: ReplyText,
    *values: object,
    code: ResponseCode | None = None,
    rule: str = "",
    wrong: bool = False,
    last: bool = False,
) -> ErrReply:
    """A negative reply."""
    return ErrReply(Phrase(text, values), code, rule=rule, wrong=wrong, last=last)


def multi_line(first: bytes, lines: bytes) -> bytes:
    """A positive multi-line reply. Each of the ``lines`` ends with CRLF; they are not yet byte-stuffed."""
    return first + encode(lines)


HTTP = err(texts.HTTP, wrong=True, last=True)
UNKNOWN_COMMAND = err(texts.UNKNOWN_COMMAND, wrong=True)
LINE_TOO_LONG = err(texts.LINE_TOO_LONG, wrong=True)
TOO_MANY_ERRORS = err(texts.TOO_MANY_ERRORS, wrong=True, last=True)
NEEDS_TLS = err(texts.NEEDS_TLS, rule="pop3.plaintext_auth")
NO_TLS = err(texts.NO_TLS)
TLS_ALREADY = err(texts.TLS_ALREADY)
STLS_AFTER_UTF8 = err(texts.STLS_AFTER_UTF8)
NO_APOP = err(texts.NO_APOP)
UNKNOWN_MECHANISM = err(texts.UNKNOWN_MECHANISM)
UNKNOWN_LANGUAGE = err(texts.UNKNOWN_LANGUAGE)
ACCOUNT_GONE = err(texts.ACCOUNT_GONE, code=ResponseCode.PERMANENT, rule="accounts", last=True)
USER_FIRST = err(texts.USER_FIRST)
# For a truncated message there is no reply; the session ends.
BROKEN_OFF = ErrReply(None, logged="the rest of a message cannot be read", last=True)

LOGIN_FAILED = {
    Reason.CREDENTIALS: err(texts.WRONG_CREDENTIALS, code=ResponseCode.AUTH),
    Reason.MALFORMED: err(texts.INVALID_RESPONSE, wrong=True),
    Reason.TOO_LONG: err(texts.RESPONSE_TOO_LONG, wrong=True),
    Reason.CANCELLED: err(texts.CANCELLED, wrong=True),
    Reason.TEMPORARY: err(texts.NO_AUTHENTICATION, code=ResponseCode.TEMPORARY),
}

NOT_OPENED = {
    OpenFailure.IN_USE: err(texts.IN_USE, code=ResponseCode.IN_USE),
    OpenFailure.TOO_SOON: err(texts.TOO_SOON, code=ResponseCode.LOGIN_DELAY),
    OpenFailure.TEMPORARY: err(texts.NO_MAILDROP, code=ResponseCode.TEMPORARY),
    OpenFailure.PERMANENT: err(texts.BROKEN_MAILDROP, code=ResponseCode.PERMANENT),
}


def greeting(hostname: str, timestamp: str) -> bytes:
    """The first line, always in English. A ``timestamp`` offers APOP (RFC 1939 section 7)."""
    return data(f"{hostname} POP3 server ready {timestamp}".rstrip())


def welcome(language: Language, user: str, count: int, octets: int) -> bytes:
    """The reply to a login. It has the user name if that is printable ASCII.

    A name that begins with "[" is left out, since it would be a response code.
    """
    if user.isascii() and user.isprintable() and not user.startswith("["):
        return ok(language, texts.WELCOME_BY_NAME, user, counted(language, count), octets)
    return ok(language, texts.WELCOME, counted(language, count), octets)


def no_such_message(count: int) -> ErrReply:
    """There is no message with this number. ``count`` is the number of messages."""
    return err(texts.NO_SUCH_MESSAGE, Phrase(messages(count), (count,)))


def unreadable(number: int, why: ReadFailure) -> ErrReply:
    """The content of a message cannot be read."""
    if why is ReadFailure.REMOVED:
        return err(texts.VANISHED, number)
    if why is ReadFailure.PERMANENT:
        return err(texts.BROKEN_MESSAGE, number, code=ResponseCode.PERMANENT)
    return err(texts.UNREADABLE, number, code=ResponseCode.TEMPORARY)


def too_busy(text: str) -> ErrReply:
    """The client has exceeded a limit, which ``text`` describes in English."""
    return err(texts.TOO_BUSY, text, code=ResponseCode.TEMPORARY, last=True)


def farewell(language: Language, hostname: str, left: int | None = None) -> bytes:
    """The reply to QUIT. ``left`` is the number of messages left, None without a login."""
    if left is None:
        return ok(language, texts.SIGNING_OFF, hostname)
    if left == 0:
        return ok(language, texts.SIGNING_OFF_EMPTY, hostname)
    return ok(language, texts.SIGNING_OFF_LEFT, hostname, counted(language, left))


def not_removed(numbers: Sequence[int]) -> ErrReply:
    """The reply to QUIT if some messages could not be removed. It lists the first 20."""
    named = ", ".join(map(str, numbers[:20]))
    if len(numbers) == 1:
        return err(texts.ONE_NOT_REMOVED, named)
    if len(numbers) <= 20:
        return err(texts.NOT_REMOVED, named)
    return err(texts.MANY_NOT_REMOVED, named, len(numbers) - 20)
