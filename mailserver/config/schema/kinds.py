"""Kinds of values: what a key may have, and how it is read.

A kind reads a TOML value. It also turns the text of an environment variable or of a command-line option into
one. This module has what all kinds share, texts, and the kinds made of other kinds. Numbers and choices are
in ``scalars``, the values of mail in ``mail_kinds``, tables in ``tables``.
"""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import attrs

from mailserver.config.schema.problems import InvalidKeys, InvalidValue, KeyProblem, dotted, show, wrong_type
from mailserver.errors import AddressError
from mailserver.mail.address import Address

HIDDEN = "(hidden)"  # what is written in place of a secret
_ONCE = "allowed: each one once"
# Where systemd puts the credentials of mailserver.service; only there a command of root finds them, too.
CREDENTIALS = Path("/run/credentials/mailserver.service")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@attrs.frozen(repr=False)
class Secret:
    """A text whose repr hides it, so that no log or traceback shows it by accident."""

    _text: str

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "********"


@attrs.frozen
class Context:
    """The place of a value, and those parts of the rest of the configuration that its kind looks at.

    ``key``: the path of the value. ``folder``: the folder of the file, for relative paths. ``credentials``:
    the folder of the files of LoadCredential= (systemd.exec(5)). ``domains``: those of the server; None if
    they are invalid. ``tls``: there is a [tls] section. ``addresses``: the section that has each address; the
    kinds fill it in. ``homes``: the path of each key by its last part; it helps to recognize a key in the
    wrong table.
    """

    key: str = ""
    folder: Path = Path("/")
    credentials: Path = CREDENTIALS
    domains: tuple[str, ...] | None = ("localhost",)
    tls: bool = False
    addresses: dict[Address, str] = attrs.field(factory=dict)
    homes: Mapping[str, str] = attrs.field(factory=dict)

    def below(self, name: str) -> "Context":
        return attrs.evolve(self, key=dotted(self.key, name))

    def item(self, index: int) -> "Context":
        """The context of an item. ``index`` starts at 0; errors count from 1."""
        return attrs.evolve(self, key=f"{self.key}[{index + 1}]")


class Kind(ABC, Generic[T_co]):
    """One kind of value."""

    on_command_line = True

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What is allowed, for errors and for the documented file."""

    @abstractmethod
    def convert(self, value: object, context: Context) -> T_co:
        """The value for the program. Raises :class:`InvalidValue` or :class:`InvalidKeys`."""

    def read(self, value: object, context: Context) -> T_co:
        """As :meth:`convert`, but raises only :class:`InvalidKeys`."""
        try:
            return self.convert(value, context)
        except InvalidValue as error:
            text = f"{error.what}; allowed: {error.allowed or self.allowed}"
            raise InvalidKeys([KeyProblem(context.key, text)]) from None

    def from_text(self, text: str) -> object:
        """The TOML value that ``text`` means. Raises :class:`InvalidValue`."""
        return text

    def written(self, value: Any, *, secrets: bool = False) -> object:
        """The TOML value that :meth:`convert` makes ``value`` of; None if there is no such value.

        Secrets are hidden, unless ``secrets``.
        """
        return value


def inline_value(text: str) -> object:
    """Read one TOML value. Raises :class:`InvalidValue`, which does not show the text."""
    try:
        document: dict[str, object] = tomllib.loads(f"value = {text}\n")
    except (ValueError, RecursionError):
        document = {}
    if document.keys() != {"value"}:
        raise InvalidValue("the value is not TOML")
    return document["value"]


def read_all(parts: Iterable[tuple[Kind[T], object, Context]]) -> list[T]:
    """Read several values. Raises :class:`InvalidKeys` with the problems of all of them."""
    values, problems = [], []
    for kind, value, context in parts:
        try:
            values.append(kind.read(value, context))
        except InvalidKeys as invalid:
            problems += invalid.problems
    if problems:
        raise InvalidKeys(problems)
    return values


@attrs.frozen
class ParsedText(Kind[T_co]):
    """A string that is parsed.

    ``noun`` says what it is, for errors. ``parse`` raises :class:`InvalidValue` or AddressError.
    """

    noun: str
    parse: Callable[[str, Context], T_co]
    allowed: str

    def convert(self, value: object, context: Context) -> T_co:
        if not isinstance(value, str):
            raise wrong_type(value)
        try:
            return self.parse(value, context)
        except AddressError as error:
            raise InvalidValue(f"invalid {self.noun} {show(value)}: {error}") from None

    def written(self, value: Any, *, secrets: bool = False) -> object:
        return "" if value is None else str(value)


@attrs.frozen
class SecretText(Kind[T_co]):
    """A string that no error shows. ``parse`` raises :class:`InvalidValue` without it."""

    parse: Callable[[str], T_co]
    allowed: str

    # Other users see the arguments of a process.
    on_command_line = False

    def convert(self, value: object, context: Context) -> T_co:
        if not isinstance(value, str):
            raise wrong_type(value, secret=True)
        return self.parse(value)

    def written(self, value: Any, *, secrets: bool = False) -> object:
        if value is None:
            return ""
        return value.reveal() if secrets else HIDDEN


@attrs.frozen
class ListOf(Kind[tuple[T_co, ...]]):
    """An array. Its text may also be its items, separated by commas."""

    kind: Kind[T_co]
    may_be_empty: bool = False
    distinct: bool = False

    @property
    def allowed(self) -> str:
        array = "an array" if self.may_be_empty else "a non-empty array"
        return f"{array} of: {self.kind.allowed}{', without duplicates' if self.distinct else ''}"

    def convert(self, value: object, context: Context) -> tuple[T_co, ...]:
        if not isinstance(value, list):
            raise wrong_type(value)
        if not value and not self.may_be_empty:
            raise InvalidValue("the array is empty")
        items = tuple(read_all((self.kind, item, context.item(index)) for index, item in enumerate(value)))
        duplicates = [index for index, item in enumerate(items) if self.distinct and item in items[:index]]
        if duplicates:
            raise InvalidKeys(
                KeyProblem(context.item(index).key, f"duplicate value {show(value[index])}; {_ONCE}")
                for index in duplicates
            )
        return items

    def from_text(self, text: str) -> object:
        if text.lstrip().startswith("["):
            return inline_value(text)
        return [self.kind.from_text(item.strip()) for item in text.split(",")] if text.strip() else []

    def written(self, value: Any, *, secrets: bool = False) -> object:
        return None if value is None else [self.kind.written(item, secrets=secrets) for item in value]


@attrs.frozen
class MapOf(Kind[Mapping[str, T_co]]):
    """A table whose keys are values themselves."""

    names: Kind[str]
    kind: Kind[T_co]
    allowed: str

    # Its syntax has quotes, which shells remove.
    on_command_line = False

    def convert(self, value: object, context: Context) -> Mapping[str, T_co]:
        if not isinstance(value, dict):
            raise wrong_type(value)
        result: dict[str, T_co] = {}
        problems = []
        for written, item in value.items():
            below = context.below(written)
            try:
                name = self.names.read(written, below)
                if name in result:
                    problems.append(KeyProblem(below.key, f"duplicate key {show(name)}; {_ONCE}"))
                result[name] = self.kind.read(item, below)
            except InvalidKeys as invalid:
                problems += invalid.problems
        if problems:
            raise InvalidKeys(problems)
        return MappingProxyType(result)

    def from_text(self, text: str) -> object:
        return inline_value(text)

    def written(self, value: Any, *, secrets: bool = False) -> object:
        return {name: self.kind.written(item, secrets=secrets) for name, item in value.items()}
