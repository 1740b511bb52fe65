"""Kinds of plain values: booleans, numbers, sizes, durations, rates, choices."""

import math
import re
from decimal import Decimal
from typing import Any, Literal

import attrs

from mailserver.config.schema.kinds import Context, Kind, T_co
from mailserver.config.schema.problems import InvalidValue, literal, near, show, wrong_type
from mailserver.mail.rate import Rate
from mailserver.mail.retention import DAY, Retention

_SIZE = re.compile(r"([0-9]{1,20}) ?(kB|KB|MB|GB|KiB|MiB|GiB|)")
_OCTETS = {
    "": 1,
    **{"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9},
    **{"KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
}
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?(ms|s|m|h|d|)")
_SECONDS = {
    unit: Decimal(factor)
    for unit, factor in {"": "1", "ms": "0.001", "s": "1", "m": "60", "h": "3600", "d": "86400"}.items()
}
# Far longer than any use, and far shorter than the range of timers and dates.
_LONGEST = "3650d"
_RATE = re.compile(r"([0-9]{1,15})(?:/(.*))?")


class Boolean(Kind[bool]):
    allowed = "true or false"

    def convert(self, value: object, context: Context) -> bool:
        if not isinstance(value, bool):
            raise wrong_type(value)
        return value

    def from_text(self, text: str) -> object:
        return {"true": True, "false": False}.get(text, text)


@attrs.frozen
class Integer(Kind[int]):
    """A number of things."""

    minimum: int

    @property
    def allowed(self) -> str:
        return f"an integer of at least {self.minimum}"

    def convert(self, value: object, context: Context) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_type(value)
        return _within_bounds(value, self.minimum)

    def from_text(self, text: str) -> object:
        try:
            return int(text)
        except ValueError:
            raise InvalidValue(f"invalid integer {show(text)}") from None


MOST_POINTS = 1000


class SignedInteger(Kind[int]):
    """Points of a score, which may be negative."""

    allowed = f"an integer from -{MOST_POINTS} to {MOST_POINTS}"

    def convert(self, value: object, context: Context) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_type(value)
        if abs(value) > MOST_POINTS:
            raise InvalidValue(f"{show(value)} is out of range")
        return value

    def from_text(self, text: str) -> object:
        return Integer(0).from_text(text)


class Workers(Kind[int | Literal["auto"]]):
    """A number of processes."""

    allowed = 'an integer of at least 1, or "auto"'

    def convert(self, value: object, context: Context) -> int | Literal["auto"]:
        return "auto" if value == "auto" else Integer(1).convert(value, context)

    def from_text(self, text: str) -> object:
        return text if text == "auto" else Integer(1).from_text(text)


@attrs.frozen
class Size(Kind[int]):
    """A number of octets."""

    minimum: str

    @property
    def allowed(self) -> str:
        return f'a number of octets or a size in kB, MB, GB, KiB, MiB or GiB, at least "{self.minimum}"'

    def convert(self, value: object, context: Context) -> int:
        minimum = _octets(self.minimum)
        if isinstance(value, str):
            return _within_bounds(_octets(value), minimum, show(value))
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_type(value)
        return _within_bounds(value, minimum)


@attrs.frozen
class Duration(Kind[float]):
    """A number of seconds."""

    minimum: str = "0s"
    maximum: str = _LONGEST

    @property
    def allowed(self) -> str:
        most = "" if self.maximum == _LONGEST else f', at most "{self.maximum}"'
        return f'a duration in ms, s, m, h or d, or a number of seconds, at least "{self.minimum}"{most}'

    def convert(self, value: object, context: Context) -> float:
        if isinstance(value, str):
            seconds = _seconds(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidValue(f"invalid duration {value}")
            seconds = value
        else:
            raise wrong_type(value)
        if seconds < _seconds(self.minimum):
            raise InvalidValue(f"{show(value)} is too short")
        if seconds > _seconds(self.maximum):
            raise InvalidValue(f"{show(value)} is too long", f'at most "{self.maximum}"')
        return float(seconds)

    def written(self, value: Any, *, secrets: bool = False) -> object:
        return None if value is None else _duration(value)


class RetentionOf(Kind[Retention]):
    """How long messages stay in a mailbox."""

    allowed = '"never", or a duration of whole days such as "30d"'

    def convert(self, value: object, context: Context) -> Retention:
        if value == "never":
            return Retention()
        seconds = Duration().convert(value, context)
        days, rest = divmod(seconds, DAY)
        if rest:
            raise InvalidValue(
                f"{show(value if isinstance(value, str) else seconds)} is not a number of whole days"
            )
        return Retention(int(days))

    def written(self, value: Any, *, secrets: bool = False) -> object:
        if value is None:
            return None
        return "never" if value.days is None else f"{value.days}d"


class RateOf(Kind[Rate]):
    """A number of things in a time."""

    allowed = 'a rate such as "100/1h", with a duration of at least "1s", or "0" for no limit'

    def convert(self, value: object, context: Context) -> Rate:
        # Most other limits are switched off by an unquoted 0.
        text = "0" if value == 0 and type(value) is int else value
        if not isinstance(text, str):
            raise wrong_type(value)
        match = _RATE.fullmatch(text)
        if match is None or (match[2] is None and int(match[1])):
            raise InvalidValue(f"invalid rate {show(text)}")
        if match[2] is None:
            return Rate()
        try:
            seconds = Duration("1s").convert(match[2], context)
        except InvalidValue as error:
            raise InvalidValue(f"invalid rate {show(text)}: {error.what}") from None
        return Rate(int(match[1]), seconds)

    def written(self, value: Any, *, secrets: bool = False) -> object:
        return f"{value.count}/{_duration(value.seconds)}" if value else "0"


@attrs.frozen
class Choice(Kind[T_co]):
    """One of a few strings and booleans."""

    values: tuple[T_co, ...]

    @property
    def allowed(self) -> str:
        *others, last = map(literal, self.values)
        return f"{', '.join(others)} or {last}"

    def convert(self, value: object, context: Context) -> T_co:
        for candidate in self.values:
            if type(candidate) is type(value) and candidate == value:
                return candidate
        if not isinstance(value, str):
            raise wrong_type(value)
        guess = near(value, (candidate for candidate in self.values if isinstance(candidate, str)))
        similar = f" (similar: {literal(guess)})" if guess else ""
        raise InvalidValue(f"unknown value {show(value)}{similar}")

    def from_text(self, text: str) -> object:
        # Only booleans have a literal without quotes.
        return next((value for value in self.values if literal(value) == text), text)


def _within_bounds(value: int, minimum: int, written: str | None = None) -> int:
    if value.bit_length() > 63:
        raise InvalidValue("the number exceeds 64 bits")
    if value < minimum:
        raise InvalidValue(f"{written or value} is too small")
    return value


def _octets(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidValue(f"invalid size {show(text)}")
    return int(match[1]) * _OCTETS[match[2]]


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidValue(f"invalid duration {show(text)}")
    return float(Decimal(match[1]) * _SECONDS[match[2]])


def _duration(seconds: float) -> str:
    """A duration in its largest unit without a fraction."""
    exact = Decimal(str(seconds))
    for unit in ("d", "h", "m", "s", "ms"):
        number = exact / _SECONDS[unit]
        if number == number.to_integral_value() and (number or unit == "s"):
            return f"{int(number)}{unit}"
    return f"{exact:f}s"
