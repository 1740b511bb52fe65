"""The list of CAPA, from one table (RFC 2449 sections 5 and 6, RFC 3206 section 6, RFC 6856).

    capability = capa-tag *(SP param) CRLF

A capability of the AUTHORIZATION state, such as USER, is also listed after the login: RFC 2449 section 5
requires it in both states.
"""

from collections.abc import Callable
from math import ceil

import attrs

from mailserver.pop3.login import POP3Login
from mailserver.pop3.options import POP3Options
from mailserver.pop3.states import POP3State


def _always(options: POP3Options, login: POP3Login, state: POP3State) -> str:
    return ""


def _user(options: POP3Options, login: POP3Login, state: POP3State) -> str | None:
    return "" if login.allowed else None


def _sasl(options: POP3Options, login: POP3Login, state: POP3State) -> str | None:
    return " ".join(login.mechanisms) or None


def _stls(options: POP3Options, login: POP3Login, state: POP3State) -> str | None:
    # Announced only where it may be given (RFC 2595 section 4).
    usable = options.starttls and not login.channel.secure and state is POP3State.AUTHORIZATION
    return "" if usable else None


def _login_delay(options: POP3Options, login: POP3Login, state: POP3State) -> str | None:
    return str(ceil(options.login_delay)) if options.login_delay else None


def _expire(options: POP3Options, login: POP3Login, state: POP3State) -> str:
    if state is POP3State.AUTHORIZATION:
        return options.least_retention
    return str(options.retention(login.account))


def _implementation(options: POP3Options, login: POP3Login, state: POP3State) -> str:
    # The version is hidden before the login (RFC 2449 section 6.9).
    if state is POP3State.AUTHORIZATION or not options.version:
        return "mailserver"
    return f"mailserver-{options.version}"


@attrs.frozen
class Capability:
    """One line of CAPA. ``parameters`` returns the text after the tag, or None to omit the line."""

    tag: str
    parameters: Callable[[POP3Options, POP3Login, POP3State], str | None] = _always


CAPABILITIES = (
    Capability("TOP"),
    Capability("USER", _user),
    Capability("SASL", _sasl),
    Capability("STLS", _stls),
    Capability("LOGIN-DELAY", _login_delay),
    Capability("EXPIRE", _expire),
    Capability("RESP-CODES"),
    Capability("AUTH-RESP-CODE"),
    Capability("PIPELINING"),
    Capability("UIDL"),
    Capability("UTF8", lambda options, login, state: "USER"),
    Capability("LANG"),
    Capability("IMPLEMENTATION", _implementation),
)


def capability_lines(options: POP3Options, login: POP3Login, state: POP3State) -> bytes:
    """The lines of CAPA, each with its CRLF."""
    lines = []
    for capability in CAPABILITIES:
        parameters = capability.parameters(options, login, state)
        if parameters is not None:
            lines.append(f"{capability.tag} {parameters}".rstrip() + "\r\n")
    return "".join(lines).encode()
