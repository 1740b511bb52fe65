"""Policies of MTA-STS: the record in the DNS, the file of the policy host, and the names of hosts (RFC 8461).

record = "v=STSv1" 1*( *WSP ";" *WSP field ) [ *WSP ";" ]        ; section 3.1
field  = "id=" 1*32( ALPHA / DIGIT ) / name "=" value
file   = line *( ( LF / CRLF ) line )                            ; section 3.2
line   = ( "version" / "mode" / "max_age" / "mx" / name ) ":" *WSP value *WSP
"""

import re
from collections.abc import Sequence
from typing import Literal

import attrs

from mailserver.errors import AddressError
from mailserver.mail.address import parse_domain

STSMode = Literal["enforce", "testing", "none"]
_MODES: dict[str, STSMode] = {"enforce": "enforce", "testing": "testing", "none": "none"}

USUAL_AGE = 604_800  # seconds
LONGEST_AGE = 31_557_600  # seconds, section 3.2
MOST_PATTERNS = 100  # a limit of ours; large providers have fewer than ten

_VERSION = re.compile(rb"v=STSv1[ \t]*;")
_ID = re.compile(rb"[A-Za-z0-9]{1,32}")
_AGE = re.compile(r"[0-9]{1,10}")


@attrs.frozen
class STSPolicy:
    """A policy. ``mx`` has patterns of host names: a name, or "*." and a name. ``max_age`` is in seconds."""

    mode: STSMode
    mx: tuple[str, ...]
    max_age: int

    def matches(self, host: str) -> bool:
        """Whether mail may go to this host. A wildcard stands for one label (section 4.1)."""
        _, dot, parent = host.partition(".")
        return host in self.mx or (dot == "." and f"*.{parent}" in self.mx)

    @property
    def lines(self) -> tuple[str, ...]:
        """The policy as lines of its file."""
        fields = ("version: STSv1", f"mode: {self.mode}", *(f"mx: {name}" for name in self.mx))
        return (*fields, f"max_age: {self.max_age}")

    @property
    def text(self) -> str:
        """The file."""
        return "\n".join([*self.lines, ""])


def is_sts_record(text: bytes) -> bool:
    """Whether a TXT record is one of MTA-STS."""
    return _VERSION.match(text) is not None


def record_id(texts: Sequence[bytes]) -> str | None:
    """The id of the policy in the TXT records of a domain; None if the domain has no policy.

    Several records of MTA-STS are as good as none.
    """
    records = [text for text in texts if is_sts_record(text)]
    if len(records) != 1:
        return None
    for field in records[0].split(b";")[1:]:
        name, _, value = field.strip(b" \t").partition(b"=")
        if name == b"id":
            return value.decode() if _ID.fullmatch(value) else None
    return None


def parse_policy(content: bytes) -> STSPolicy:
    """Read the file of a policy. Raises ValueError with the reason."""
    first: dict[str, str] = {}
    names: list[str] = []
    for line in content.decode("utf-8").replace("\r\n", "\n").split("\n"):
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if name == "mx" and colon:
            names.append(_pattern(value))
        elif colon:
            first.setdefault(name, value)
        elif line.strip(" \t"):
            raise ValueError("a line has no colon")
    if first.get("version") != "STSv1":
        raise ValueError("the version is not STSv1")
    mode = _MODES.get(first.get("mode", ""))
    if mode is None:
        raise ValueError("the mode is not enforce, testing or none")
    age = first.get("max_age", "")
    if not _AGE.fullmatch(age):
        raise ValueError("the max_age is not a number")
    if mode != "none" and not names:
        raise ValueError("there is no mx")
    if len(names) > MOST_PATTERNS:
        raise ValueError(f"there are more than {MOST_PATTERNS} mx")
    return STSPolicy(mode, tuple(dict.fromkeys(names)), min(int(age), LONGEST_AGE))


def _pattern(text: str) -> str:
    wildcard = "*." if text.startswith("*.") else ""
    try:
        name = parse_domain(text.removeprefix(wildcard))
    except AddressError as error:
        raise ValueError(f"an mx is not a host name: {error}") from None
    if name.startswith("["):
        raise ValueError("an mx is not a host name")
    return wildcard + name
