"""The verb table of POP3: the legal states, the parser, the handler and the next state of each command.

``session.verbs`` explains the form of a row. RFC 1939 sections 4 to 7; LAST: RFC 1460; CAPA: RFC 2449; UTF8
and LANG: RFC 6856. The grammar is in RFC 2449 sections 3 and 4:

    command = keyword *(SP param) CRLF    ; 255 octets at most
    keyword = 3*4VCHAR
    param   = 1*VCHAR

Spaces around an argument are ignored, except in a password.
"""

import re

import attrs

from mailserver.pop3 import replies, texts
from mailserver.pop3.commands import POP3Commands
from mailserver.pop3.replies import ErrReply
from mailserver.pop3.states import POP3State
from mailserver.sasl.exchange import MAX_LINE as MAX_RESPONSE
from mailserver.session.verbs import Verb, never_run

COMMAND_LINE = 255
"""The longest command in octets, its CRLF included."""
AUTH_LINE = MAX_RESPONSE
"""The maximum for AUTH, whose tokens may be long (RFC 5034 section 4), and for PASS and APOP, so that
PASS and AUTH accept the same passwords."""
MAX_LINE = AUTH_LINE

_LANGUAGE_RANGE = re.compile(rb"\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")


class ArgumentError(ValueError):
    """An argument that does not follow its syntax."""


def parse_nothing(raw: bytes) -> None:
    """No argument."""
    if raw.strip(b" "):
        raise ArgumentError


def parse_number(raw: bytes) -> int:
    """``msg = 1*DIGIT``. The maildrop checks whether the message exists."""
    digits = raw.strip(b" ")
    if not digits.isdigit():
        raise ArgumentError
    return int(digits)


def parse_optional_number(raw: bytes) -> int | None:
    """``[msg]``"""
    return parse_number(raw) if raw.strip(b" ") else None


def parse_number_and_lines(raw: bytes) -> tuple[int, int]:
    """``msg SP n``"""
    number, _, lines = raw.strip(b" ").partition(b" ")
    return parse_number(number), parse_number(lines)


def parse_name(raw: bytes) -> str:
    """``name = 1*VCHAR``, and UTF-8 (RFC 6856 section 2.2)."""
    try:
        name = raw.strip(b" ").decode()
    except UnicodeDecodeError:
        raise ArgumentError from None
    if not name or " " in name or not name.isprintable():
        raise ArgumentError
    return name


def parse_password(raw: bytes) -> str:
    """Everything after the first space, further spaces included (RFC 1939 section 7, PASS).

    A password that is not UTF-8 is a wrong password: invalid octets become U+FFFD, which no password has. The
    mechanism rejects a NUL.
    """
    if not raw:
        raise ArgumentError
    return raw.decode(errors="replace")


def parse_name_and_digest(raw: bytes) -> tuple[str, str]:
    """``name SP digest``"""
    name, _, digest = raw.strip(b" ").partition(b" ")
    return parse_name(name), parse_name(digest)


def parse_language_range(raw: bytes) -> str:
    """``"*" / 1*8ALPHA *("-" 1*8alphanum)`` (RFC 4647 section 2.1)"""
    text = raw.strip(b" ")
    if not _LANGUAGE_RANGE.fullmatch(text):
        raise ArgumentError
    return text.decode()


def parse_mechanism(raw: bytes) -> tuple[str, bytes | None]:
    """``mechanism [SP initial-response]``"""
    words = raw.strip(b" ").split(b" ")
    if len(words) > 2:
        raise ArgumentError
    return parse_name(words[0]).upper(), words[1] if len(words) == 2 else None


@attrs.frozen(eq=False, kw_only=True)
class POP3Verb(Verb):
    """One command; ``parse`` raises :class:`ArgumentError`. ``alone`` is the row if there is no argument."""

    max_line: int = COMMAND_LINE
    alone: "POP3Verb | None" = None

    @property
    def malformed(self) -> ErrReply:
        """The reply to a wrong argument."""
        return replies.err(texts.SYNTAX, self.syntax, wrong=True)

    def wrong_state(self, state: POP3State) -> ErrReply:
        states = " or ".join(state.name for state in POP3State if state in self.then)
        return replies.err(texts.WRONG_STATE, self.name, states)


_AUTHORIZATION, _TRANSACTION = POP3State.AUTHORIZATION, POP3State.TRANSACTION
_BEFORE = {_AUTHORIZATION: _AUTHORIZATION}
_LOGIN = {_AUTHORIZATION: _TRANSACTION}
_AFTER = {_TRANSACTION: _TRANSACTION}

# Not a command: the UPDATE state after QUIT.
UPDATE = POP3Verb(
    "QUIT",
    {POP3State.UPDATE: POP3State.CLOSED},
    never_run,
    never_run,
    reads=POP3Commands.update,
    answered=POP3Commands.updated,
)
_LIST_MECHANISMS = POP3Verb("AUTH", _BEFORE, parse_nothing, POP3Commands.list_mechanisms)
_LIST_LANGUAGES = POP3Verb("LANG", {**_BEFORE, **_AFTER}, parse_nothing, POP3Commands.list_languages)

VERBS: dict[bytes, POP3Verb] = {
    verb.name.encode(): verb
    for verb in (
        POP3Verb("STLS", _BEFORE, parse_nothing, POP3Commands.stls, answered=POP3Commands.tls_begun),
        POP3Verb(
            "AUTH [mechanism [initial-response]]",
            _LOGIN,
            parse_mechanism,
            POP3Commands.auth,
            answered=POP3Commands.login_answered,
            reads=POP3Commands._read_response,
            max_line=AUTH_LINE,
            alone=_LIST_MECHANISMS,
        ),
        POP3Verb(
            "APOP name digest",
            _LOGIN,
            parse_name_and_digest,
            POP3Commands.apop,
            answered=POP3Commands.login_answered,
            max_line=AUTH_LINE,
        ),
        POP3Verb("USER name", _BEFORE, parse_name, POP3Commands.user),
        POP3Verb(
            "PASS string",
            _LOGIN,
            parse_password,
            POP3Commands.password,
            answered=POP3Commands.login_answered,
            max_line=AUTH_LINE,
        ),
        POP3Verb("STAT", _AFTER, parse_nothing, POP3Commands.stat),
        POP3Verb("LIST [msg]", _AFTER, parse_optional_number, POP3Commands.list),
        POP3Verb("RETR msg", _AFTER, parse_number, POP3Commands.retr, answered=POP3Commands.message_read),
        POP3Verb("DELE msg", _AFTER, parse_number, POP3Commands.dele),
        POP3Verb("NOOP", _AFTER, parse_nothing, POP3Commands.noop),
        POP3Verb("RSET", _AFTER, parse_nothing, POP3Commands.rset),
        POP3Verb("LAST", _AFTER, parse_nothing, POP3Commands.last),
        POP3Verb(
            "TOP msg n", _AFTER, parse_number_and_lines, POP3Commands.top, answered=POP3Commands.message_read
        ),
        POP3Verb("UIDL [msg]", _AFTER, parse_optional_number, POP3Commands.uidl),
        POP3Verb("UTF8", {**_BEFORE, **_AFTER}, parse_nothing, POP3Commands.utf8),
        POP3Verb(
            "LANG [language-range]",
            {**_BEFORE, **_AFTER},
            parse_language_range,
            POP3Commands.lang,
            alone=_LIST_LANGUAGES,
        ),
        POP3Verb("CAPA", {**_BEFORE, **_AFTER}, parse_nothing, POP3Commands.capa),
        POP3Verb(
            "QUIT",
            {_AUTHORIZATION: POP3State.CLOSED, _TRANSACTION: POP3State.UPDATE},
            parse_nothing,
            POP3Commands.quit,
            followed_by=UPDATE,
        ),
    )
}
