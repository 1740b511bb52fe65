"""The TLS that a connection to another server needs before it may carry mail.

Opportunistic TLS is RFC 7435: the mail goes over TLS if the other server offers it, whatever its certificate,
and in the clear if TLS is missing or fails.
"""

import re
from collections.abc import Callable, Sequence
from enum import Enum

import attrs

_FIELD = re.compile(rb"(?:^|\n)tls-required[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE)


def waives_tls(header: bytes) -> bool:
    """Whether the sender wants the message to arrive even without the TLS that the domain of the recipient
    publishes: exactly one field ``TLS-Required: No`` (RFC 8689 section 3)."""
    return [value.strip().lower() for value in _FIELD.findall(header)] == [b"no"]


class TLSLevel(Enum):
    """From the weakest to the strongest."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"  # with any certificate
    VERIFIED = "verified"  # with a certificate that is valid for the host


@attrs.frozen
class TLSRequirement:
    """The requirement for one host. ``rule`` is the configuration key or the standard that decided.

    ``check`` replaces the check of a certificate by name and by trusted authorities at the level VERIFIED. It
    gets the chain of the other server in DER, its own certificate first, and returns "" or the reason why
    the chain is rejected. ``refused`` is the reason why no mail may go to this host at all, "" if it may.
    """

    level: TLSLevel
    rule: str
    check: Callable[[Sequence[bytes]], str] | None = None
    refused: str = ""
