"""Configuration errors, in words for the person who wrote the file.

Each problem says what is wrong and what is allowed. Values of secret keys never appear in it: the kinds that
read them do not show what they read.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

_SHOWN = 60  # characters of a value that an error repeats
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")

# The order matters: a bool is an int, too.
_TYPES: dict[type, str] = {
    **{str: "a string", bool: "a boolean", int: "an integer", float: "a float"},
    **{list: "an array", dict: "a table"},
}


@attrs.frozen
class KeyProblem:
    """An error at ``key``, the dotted path of a key as in the file."""

    key: str
    text: str


class InvalidKeys(Exception):
    """A value could not be read; ``problems`` has at least one entry."""

    def __init__(self, problems: Iterable[KeyProblem]) -> None:
        super().__init__()
        self.problems = list(problems)


class InvalidValue(Exception):
    """A single value is invalid; ``allowed`` replaces what its kind allows in general."""

    def __init__(self, what: str, allowed: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.allowed = allowed


def literal(value: object) -> str:
    """``value`` in the syntax of TOML, on one line."""
    if isinstance(value, str):
        # JSON does not escape DEL, which TOML forbids.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_name(name)} = {literal(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return str(value)


def _name(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else literal(name)


def show(value: str | float) -> str:
    """A string or a number for an error, shortened if it is long."""
    if isinstance(value, str):
        return literal(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
    # Python refuses to write out very long integers.
    return literal(value) if isinstance(value, float) or value.bit_length() < 64 else "the number"


def dotted(prefix: str, name: str) -> str:
    """The path of the key ``name`` in the table at ``prefix``, which is empty for the top level."""
    if not _BARE_KEY.fullmatch(name):
        name = show(name)
    return f"{prefix}.{name}" if prefix else name


def wrong_type(value: object, *, secret: bool = False) -> InvalidValue:
    """The error for a value of another type; a ``secret`` is not shown."""
    name = next((name for type_, name in _TYPES.items() if isinstance(value, type_)), "a date or time")
    shown = show(value) if isinstance(value, str | int | float) and not secret else "the value"
    return InvalidValue(f"{shown} is {name}")


def near(name: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that is most like ``name``, if any is."""
    folded = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name[:_SHOWN].lower(), folded, n=1)
    return folded[matches[0]] if matches else None


def unknown(what: str, name: str, known: Sequence[str], elsewhere: str | None = None) -> str:
    """The error for a ``name`` that is not ``known``; ``elsewhere`` is its path if another table has it."""
    if elsewhere:
        place = "" if "." in elsewhere else "the top-level key "
        return f'unknown {what}; did you mean {place}"{elsewhere}"?'
    if guess := near(name, known):
        return f'unknown {what}; did you mean "{guess}"?'
    return f"unknown {what}; allowed: {', '.join(known)}"
