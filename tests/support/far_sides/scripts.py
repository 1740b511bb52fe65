"""Scripts of far sides as data: what one does at a step of a session in place of the usual reply.

A step is "connect", a command in upper case, or "." for the end of the content (of DATA or BDAT). In LMTP
there is one "." for each recipient.
"""

from collections.abc import Sequence
from math import inf
from typing import Literal

import attrs


@attrs.frozen
class Say:
    """Send octets, all at once or one after another with a ``pause`` (seconds) between them."""

    octets: bytes
    pause: float = 0.0


@attrs.frozen
class Usual:
    """Do what is done without a rule."""


@attrs.frozen
class Keep:
    """Accept the message, whatever is said about it."""


@attrs.frozen
class Silence:
    """Say nothing any more, and read on."""


@attrs.frozen
class AwaitOctets:
    """Go on when the client sends anything at all."""


@attrs.frozen
class Drop:
    """Close the connection."""


@attrs.frozen
class Endless:
    """Send lines of a reply that never ends: 64 KiB each second."""


@attrs.frozen
class BeginTLS:
    """Begin a handshake."""


Act = Say | Usual | Keep | Silence | AwaitOctets | Drop | Endless | BeginTLS
Per = Literal["server", "connection", "transaction", "argument"]


@attrs.frozen
class Rule:
    """Do ``acts`` at a ``step`` in place of the usual.

    The argument of the command contains ``where``, in any case of letters. Of the times that the step is
    reached, as counted ``per`` server, connection, transaction or argument, the rule applies to those behind
    the first ``after``, and at most to so many as ``times``. Only those ``within`` the last so many seconds
    count.
    """

    step: str
    acts: tuple[Act, ...]
    where: str = ""
    after: float = 0
    times: float = inf
    per: Per = "server"
    within: float = inf


Script = Sequence[Rule]


def reply(text: str) -> tuple[Act, ...]:
    """A reply of one line; the connection ends with 421 (RFC 5321 section 3.8)."""
    said = Say(text.encode() + b"\r\n")
    return (said, Drop()) if text.startswith("421") else (said,)


def at(step: str, text: str) -> Script:
    """Answer so at this step, always."""
    return (Rule(step, reply(text)),)


def greylisting(text: str = "450 4.7.1 greylisted, try again later") -> Script:
    """Each recipient is deferred the first time."""
    return (Rule("RCPT", reply(text), times=1, per="argument"),)


def most_recipients(number: int, text: str = "452 4.5.3 too many recipients") -> Script:
    """So many recipients in one transaction, and no more."""
    return (Rule("RCPT", reply(text), after=number, per="transaction"),)


def most_messages(number: int, seconds: float, text: str = "421 4.7.0 too fast") -> Script:
    """So many messages within so many seconds, and no more."""
    return (Rule("MAIL", reply(text), after=number, within=seconds),)


def broken_tls(*acts: Act) -> Script:
    """STARTTLS is offered, answered 220, and followed by this."""
    return (Rule("STARTTLS", (Say(b"220 2.0.0 go ahead\r\n"), *acts)),)


TLS_FAILURES: dict[str, Script] = {
    "plaintext": broken_tls(AwaitOctets(), Say(b"500 5.5.2 what?\r\n")),
    "garbage": broken_tls(AwaitOctets(), Say(bytes(range(255, 127, -1)) * 4), Silence()),
    "silence": broken_tls(Silence()),
    "drop": broken_tls(AwaitOctets(), Drop()),
}
"""What follows the 220 to STARTTLS in place of a handshake. Certificates that are wrong have no script."""
