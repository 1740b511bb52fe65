"""What CAPA lists, from one table (RFC 2449 sections 5 and 6, RFC 3206 section 6).

    capability = capa-tag *(SP param) CRLF

A capability that serves only the AUTHORIZATION state, as USER does, is listed after the login
too: RFC 2449 section 5 wants such ones announced in both states.
"""

from collections.abc import Callable

import attrs

from mailserver.pop3.settings import Settings
from mailserver.pop3.verbs import State


def _always(settings: Settings, state: State) -> str:
    return ""


def _user(settings: Settings, state: State) -> str | None:
    return "" if settings.user_login_allowed else None


def _implementation(settings: Settings, state: State) -> str:
    # The version is nothing for strangers (RFC 2449 section 6.9).
    if state is State.AUTHORIZATION or not settings.version:
        return "mailserver"
    return f"mailserver-{settings.version}"


@attrs.frozen
class Capability:
    """One line of CAPA; ``parameters`` gives what follows the tag, or None if it is not for now."""

    tag: str
    parameters: Callable[[Settings, State], str | None] = _always


CAPABILITIES = (
    Capability("TOP"),
    Capability("USER", _user),
    Capability("RESP-CODES"),
    Capability("AUTH-RESP-CODE"),
    Capability("PIPELINING"),
    Capability("UIDL"),
    Capability("IMPLEMENTATION", _implementation),
)


def capability_lines(settings: Settings, state: State) -> bytes:
    """The lines of CAPA, each with its CRLF."""
    lines = []
    for capability in CAPABILITIES:
        parameters = capability.parameters(settings, state)
        if parameters is not None:
            lines.append(f"{capability.tag} {parameters}".rstrip() + "\r\n")
    return "".join(lines).encode()
