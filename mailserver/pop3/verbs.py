"""The verb table: the only authority on which command is legal when, and how it is read.

RFC 1939 sections 4 to 7, LAST of RFC 1460, CAPA of RFC 2449, whose sections 3 and 4 give

    command = keyword *(SP param) CRLF    ; 255 octets at most
    keyword = 3*4VCHAR
    param   = 1*VCHAR

Spaces around an argument are forgiven, except in a password.
"""

from collections.abc import Callable
from enum import Enum

import attrs

from mailserver.pop3 import replies
from mailserver.sasl.exchange import MAX_LINE as MAX_RESPONSE

COMMAND_LINE = 255
"""The longest command in octets, its CRLF included."""
AUTH_LINE = MAX_RESPONSE
"""AUTH may be longer: tokens are (RFC 5034 section 4 has clients break such lines; not all do). PASS and
APOP, too, so that what is too long in them is a failed login, and a password is good for PASS and AUTH."""
MAX_LINE = AUTH_LINE


class State(Enum):
    """Where a session is (RFC 1939 section 3)."""

    AUTHORIZATION = "nobody has logged in yet"
    TRANSACTION = "the maildrop is locked for this session"
    UPDATE = "QUIT was given: what is marked is being removed, and nothing more is read"


class ArgumentError(ValueError):
    """An argument that does not follow its syntax."""


def parse_nothing(raw: bytes) -> None:
    """No argument."""
    if raw.strip(b" "):
        raise ArgumentError


def parse_number(raw: bytes) -> int:
    """``msg = 1*DIGIT``; whether there is such a message is for the maildrop to say."""
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
    """All that follows the first space, further spaces included (RFC 1939 section 7, PASS).

    A password that is not UTF-8 goes the way of every wrong one: what cannot be decoded is
    replaced by U+FFFD, which nobody's password has. One with a NUL is for the mechanism to refuse.
    """
    if not raw:
        raise ArgumentError
    return raw.decode(errors="replace")


def parse_name_and_digest(raw: bytes) -> tuple[str, str]:
    """``name SP digest``"""
    name, _, digest = raw.strip(b" ").partition(b" ")
    return parse_name(name), parse_name(digest)


def parse_mechanism(raw: bytes) -> tuple[str, bytes | None] | None:
    """``[mechanism [SP initial-response]]``"""
    words = raw.strip(b" ").split(b" ")
    if len(words) > 2:
        raise ArgumentError
    if words == [b""]:
        return None
    return parse_name(words[0]).upper(), words[1] if len(words) == 2 else None


@attrs.frozen
class Verb:
    """One command; ``parse`` raises :class:`ArgumentError`."""

    syntax: str
    states: frozenset[State]
    parse: Callable[[bytes], object]
    max_line: int = COMMAND_LINE

    @property
    def name(self) -> str:
        return self.syntax.partition(" ")[0]

    @property
    def malformed(self) -> bytes:
        """The reply to a wrong argument."""
        return replies.err(f"syntax: {self.syntax}")

    @property
    def wrong_state(self) -> bytes:
        """The reply in a state where the command is not legal."""
        states = " or ".join(state.name for state in State if state in self.states)
        return replies.err(f"{self.name} is only possible in the {states} state")


_AUTHORIZATION = frozenset({State.AUTHORIZATION})
_TRANSACTION = frozenset({State.TRANSACTION})
_BOTH = _AUTHORIZATION | _TRANSACTION

VERBS: dict[bytes, Verb] = {
    verb.name.encode(): verb
    for verb in (
        Verb("STLS", _AUTHORIZATION, parse_nothing),
        Verb("AUTH [mechanism [initial-response]]", _AUTHORIZATION, parse_mechanism, AUTH_LINE),
        Verb("APOP name digest", _AUTHORIZATION, parse_name_and_digest, AUTH_LINE),
        Verb("USER name", _AUTHORIZATION, parse_name),
        Verb("PASS string", _AUTHORIZATION, parse_password, AUTH_LINE),
        Verb("STAT", _TRANSACTION, parse_nothing),
        Verb("LIST [msg]", _TRANSACTION, parse_optional_number),
        Verb("RETR msg", _TRANSACTION, parse_number),
        Verb("DELE msg", _TRANSACTION, parse_number),
        Verb("NOOP", _TRANSACTION, parse_nothing),
        Verb("RSET", _TRANSACTION, parse_nothing),
        Verb("LAST", _TRANSACTION, parse_nothing),
        Verb("TOP msg n", _TRANSACTION, parse_number_and_lines),
        Verb("UIDL [msg]", _TRANSACTION, parse_optional_number),
        Verb("CAPA", _BOTH, parse_nothing),
        Verb("QUIT", _BOTH, parse_nothing),
    )
}
