"""The handling of a message that its sender asks for by parameters of MAIL.

MT-PRIORITY = ["-"] 1DIGIT                                    ; RFC 6710
BY          = ["-" / "+"] 1*9DIGIT ";" ("N" / "R") ["T"]      ; RFC 2852
HOLDFOR     = 1*9DIGIT                                        ; RFC 4865
HOLDUNTIL   = date-time                                       ; RFC 3339 section 5.6
REQUIRETLS                                                    ; RFC 8689 section 2
BODY        = "7BIT" / "8BITMIME" / "BINARYMIME"              ; RFC 3030 section 3
SMTPUTF8                                                      ; RFC 6531 section 3.4
"""

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs

LONGEST_HOLD = 30 * 86400
"""The longest time that a message is held for its sender, in seconds."""

LATEST_RELEASE = "9999-12-31T23:59:59Z"
"""The latest date of a release (RFC 4865). :data:`LONGEST_HOLD` is the limit in force."""

KEYWORDS = frozenset({"MT-PRIORITY", "BY", "HOLDFOR", "HOLDUNTIL", "REQUIRETLS", "SMTPUTF8"})

_PRIORITY = re.compile(r"-?[1-9]|0")
_BY = re.compile(r"([-+]?[0-9]{1,9});([NR])(T?)", re.IGNORECASE)
_SECONDS = re.compile(r"[0-9]{1,9}")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[-+][0-9]{2}:[0-9]{2})"
)


@attrs.frozen
class DeliveryDeadline:
    """The time when the message should be delivered, in seconds since the epoch.

    Later, a message of the mode "R" is returned, and the sender of one of the mode "N" gets a delay report.
    ``trace``: the sender wants a report whenever the message is relayed.
    """

    when: float
    mode: Literal["N", "R"]
    trace: bool = False


@attrs.frozen
class Handling:
    """``priority`` is from -9 to 9; the highest one is delivered first. No attempt begins before ``release``
    (seconds since the epoch). ``require_tls``: the message is sent over verified TLS only. ``utf8``: if its
    header has UTF-8, it is sent to servers with SMTPUTF8 only. ``binary``: its body may have NULs and
    line ends of any kind."""

    priority: int = 0
    release: float = 0.0
    deadline: DeliveryDeadline | None = None
    require_tls: bool = False
    utf8: bool = False
    binary: bool = False


USUAL = Handling()


def read_priority(value: str | None) -> int:
    """The value of MT-PRIORITY. Raises ``ValueError``."""
    if value is None or not _PRIORITY.fullmatch(value):
        raise ValueError("MT-PRIORITY must be a number from -9 to 9")
    return int(value)


def read_deadline(value: str | None, now: float) -> DeliveryDeadline:
    """The value of BY, given at ``now``. Raises ``ValueError``."""
    parts = _BY.fullmatch(value or "")
    if parts is None:
        raise ValueError("BY must be a number of seconds, a semicolon, N or R, and perhaps T")
    seconds = int(parts[1])
    if parts[2] in "Nn":
        return DeliveryDeadline(now + seconds, "N", bool(parts[3]))
    if seconds <= 0:
        raise ValueError("BY with the mode R must have a positive number of seconds")
    return DeliveryDeadline(now + seconds, "R", bool(parts[3]))


def read_hold(value: str | None) -> int:
    """The value of HOLDFOR, in seconds. Raises ``ValueError``."""
    if value is None or not _SECONDS.fullmatch(value):
        raise ValueError("HOLDFOR must be a number of seconds with at most 9 digits")
    if int(value) > LONGEST_HOLD:
        raise ValueError(f"a message is held for {LONGEST_HOLD} seconds at most")
    return int(value)


def read_date(value: str | None) -> float:
    """The value of HOLDUNTIL, in seconds since the epoch. Raises ``ValueError``."""
    text = (value or "").upper()
    try:
        if _DATE.fullmatch(text):
            return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        pass
    raise ValueError("HOLDUNTIL must be a date and time such as 2030-01-31T09:30:00Z")


def write_date(when: float) -> str:
    """A time in seconds since the epoch, in the form of HOLDUNTIL."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def is_binary(parameters: Mapping[str, str | None]) -> bool:
    """Whether the body of the message may be binary."""
    return (parameters.get("BODY") or "").upper() == "BINARYMIME"


def read_handling(parameters: Mapping[str, str | None], now: float) -> Handling:
    """The handling that the parameters of MAIL ask for. ``now`` is in seconds since the epoch.

    Raises ``ValueError`` if a value is malformed, or if they cannot all be obeyed.
    """
    release = 0.0
    if "HOLDFOR" in parameters:
        release = now + read_hold(parameters["HOLDFOR"])
    if "HOLDUNTIL" in parameters:
        if release:
            raise ValueError("only one of HOLDFOR and HOLDUNTIL is possible")
        release = read_date(parameters["HOLDUNTIL"])
        if release > now + LONGEST_HOLD:
            raise ValueError(f"a message is held for {LONGEST_HOLD} seconds at most")
    deadline = read_deadline(parameters["BY"], now) if "BY" in parameters else None
    if deadline is not None and release and deadline.mode == "R" and deadline.when <= release:
        raise ValueError("the time of BY ends before the message is released")
    priority = read_priority(parameters["MT-PRIORITY"]) if "MT-PRIORITY" in parameters else 0
    found = Handling(
        priority,
        release if release > now else 0.0,
        deadline,
        require_tls="REQUIRETLS" in parameters,
        utf8="SMTPUTF8" in parameters,
        binary=is_binary(parameters),
    )
    return USUAL if found == USUAL else found
