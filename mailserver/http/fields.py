"""The members of objects in JSON and the parameters of a query.

Each has a kind, which reads it. Errors say what is allowed, and name the nearest for an unknown name.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from mailserver.config.schema.problems import near
from mailserver.http.exchange import HTTPProblem

_SURROGATE = re.compile("[\ud800-\udfff]")

MemberKind = Callable[[Any], Any]
"""Returns the value in our form. Raises ValueError with what is allowed."""


@attrs.frozen
class Member:
    """A member of an object, or a parameter of a query.

    ``schema`` (JSON Schema) and ``description`` are for an OpenAPI file that is made from the table."""

    kind: MemberKind
    required: bool = False
    schema: Mapping[str, Any] = attrs.field(factory=dict)
    description: str = ""


MemberTable = Mapping[str, Member]


def read_members(given: Any, members: MemberTable, what: str) -> dict[str, Any]:
    """The values of an object. Raises HTTPProblem, 422, for the first error in it."""
    if not isinstance(given, dict):
        raise HTTPProblem(422, f"{what} is not an object in JSON.")
    for name in given:
        if name not in members:
            raise HTTPProblem(422, f'{what} has no "{name}"; {hint(name, members)}')
    for name, member in members.items():
        if member.required and name not in given:
            raise HTTPProblem(422, f'{what} needs "{name}".')
    values: dict[str, Any] = {}
    for name, value in given.items():
        try:
            values[name] = members[name].kind(value)
        except ValueError as error:
            raise HTTPProblem(422, f'{what}: "{name}": {error}') from None
    return values


def hint(name: str, known: Iterable[str]) -> str:
    """The known name that is nearest, or all of them."""
    known = list(known)
    guess = near(name, known)
    return f'did you mean "{guess}"?' if guess else f"allowed: {', '.join(known) or 'nothing'}"


def text(value: Any) -> str:
    """A string that can be written in UTF-8: no half of a surrogate pair."""
    if not isinstance(value, str) or _SURROGATE.search(value):
        raise ValueError("expected a string")
    return value


def boolean(value: Any) -> bool:
    """true or false; in a query a text."""
    if value in ("true", "false"):
        return bool(value == "true")
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def choice(*allowed: str) -> MemberKind:
    """One of these strings."""

    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return str(value)

    return read


def integer(least: int | None = None, most: int | None = None) -> MemberKind:
    """A whole number between these two; in a query its digits."""

    def read(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value):
            value = int(value)
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number or (least is not None and value < least) or (most is not None and value > most):
            text = "expected a whole number" + (f" from {least}" if least is not None else "")
            raise ValueError(text + (f" to {most}" if most is not None else ""))
        return int(value)

    return read


def number(least: float, most: float) -> MemberKind:
    """A number between these two."""

    def read(value: Any) -> float:
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = -1.0
        if isinstance(value, bool) or not least <= found <= most:
            raise ValueError(f"expected a number from {least:g} to {most:g}")
        return found

    return read


def pattern(value: Any) -> re.Pattern[str]:
    """A regular expression as in Python. Case does not matter."""
    try:
        return re.compile(text(value), re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None


def strings(value: Any) -> list[str]:
    """An array of strings."""
    if not isinstance(value, list):
        raise ValueError("expected an array of strings")
    return [text(each) for each in value]


def mapping(value: Any) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def octets(value: Any) -> bytes:
    """Octets in Base64."""
    try:
        return base64.b64decode(text(value), validate=True)
    except binascii.Error:
        raise ValueError("expected Base64") from None
