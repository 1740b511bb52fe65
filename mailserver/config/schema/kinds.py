"""Kinds of values: what may stand behind a key, and how it is read.

A kind reads a TOML value, or turns the text of an environment variable or a command-line option
into one first. This module has what all kinds share and the kinds made of others; numbers and
choices are in ``scalars``, the words of mail in ``mail_kinds``, tables in ``schema``.
"""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

import attrs

from mailserver.config.schema.problems import InvalidKeys, InvalidValue, KeyProblem, dotted, show, wrong_type
from mailserver.errors import AddressError
from mailserver.mail.address import Address

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@attrs.frozen(repr=False)
class Secret:
    """A text that does not show itself by accident, in a log or a traceback."""

    _text: str

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "********"


@attrs.frozen
class Context:
    """Where a value stands, and what of the rest of the configuration its reading depends on.

    ``domains`` is None when they are wrong themselves; ``tls`` says whether there is a [tls]
    section; ``addresses`` collects who has which address; ``homes`` tells the whole path of a key
    from its last part, for keys in the wrong table.
    """

    key: str = ""
    folder: Path = Path("/")
    domains: tuple[str, ...] | None = ("localhost",)
    tls: bool = False
    addresses: dict[Address, str] = attrs.field(factory=dict)
    homes: Mapping[str, str] = attrs.field(factory=dict)

    def below(self, name: str) -> "Context":
        return attrs.evolve(self, key=dotted(self.key, name))

    def item(self, index: int) -> "Context":
        """The item at ``index``, which counts from zero; people count from one."""
        return attrs.evolve(self, key=f"{self.key}[{index + 1}]")


class Kind(ABC, Generic[T_co]):
    """One kind of value."""

    on_command_line = True

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What is allowed, for errors and for the documentation."""

    @abstractmethod
    def convert(self, value: object, context: Context) -> T_co:
        """Turn a TOML value into what the program uses. Raises :class:`Refused` or :class:`Wrong`."""

    def read(self, value: object, context: Context) -> T_co:
        """As :meth:`convert`, but raises only :class:`Wrong`."""
        try:
            return self.convert(value, context)
        except InvalidValue as error:
            text = f"{error.what}; allowed: {error.allowed or self.allowed}"
            raise InvalidKeys([KeyProblem(context.key, text)]) from None

    def from_text(self, text: str) -> object:
        """The TOML value meant by ``text``. Raises :class:`Refused`."""
        return text


def inline_value(text: str) -> object:
    """Read one TOML value. Raises :class:`Refused`, which does not show the text."""
    try:
        document: dict[str, object] = tomllib.loads(f"value = {text}\n")
    except (ValueError, RecursionError):
        document = {}
    if document.keys() != {"value"}:
        raise InvalidValue("it is not written as a TOML value")
    return document["value"]


def read_all(parts: Iterable[tuple[Kind[T], object, Context]]) -> list[T]:
    """Read several values; what is wrong with any of them is raised together."""
    values, problems = [], []
    for kind, value, context in parts:
        try:
            values.append(kind.read(value, context))
        except InvalidKeys as wrong:
            problems += wrong.problems
    if problems:
        raise InvalidKeys(problems)
    return values


@attrs.frozen
class ParsedText(Kind[T_co]):
    """A string with a meaning. ``parse`` raises :class:`Refused` or AddressError."""

    parse: Callable[[str, Context], T_co]
    allowed: str

    def convert(self, value: object, context: Context) -> T_co:
        if not isinstance(value, str):
            raise wrong_type(value)
        try:
            return self.parse(value, context)
        except AddressError as error:
            raise InvalidValue(f"{show(value)} is wrong: {error}") from None


@attrs.frozen
class SecretText(Kind[T_co]):
    """A string that is not repeated in errors; nor may ``parse`` do so, which raises :class:`Refused`."""

    parse: Callable[[str], T_co]
    allowed: str

    # other users see the arguments of a process
    on_command_line = False

    def convert(self, value: object, context: Context) -> T_co:
        if not isinstance(value, str):
            raise wrong_type(value, secret=True)
        return self.parse(value)


@attrs.frozen
class ListOf(Kind[tuple[T_co, ...]]):
    """An array; as text also its items with commas between them."""

    kind: Kind[T_co]
    may_be_empty: bool = False
    distinct: bool = False

    @property
    def allowed(self) -> str:
        many = "" if self.may_be_empty else " at least one"
        return f"an array of{many}: {self.kind.allowed}{', each once' if self.distinct else ''}"

    def convert(self, value: object, context: Context) -> tuple[T_co, ...]:
        if not isinstance(value, list):
            raise wrong_type(value)
        if not value and not self.may_be_empty:
            raise InvalidValue("it is empty")
        items = tuple(read_all((self.kind, item, context.item(index)) for index, item in enumerate(value)))
        again = [index for index, item in enumerate(items) if self.distinct and item in items[:index]]
        if again:
            text = "stands there twice; allowed: once"
            raise InvalidKeys(
                KeyProblem(context.item(index).key, f"{show(value[index])} {text}") for index in again
            )
        return items

    def from_text(self, text: str) -> object:
        if text.lstrip().startswith("["):
            return inline_value(text)
        return [self.kind.from_text(item.strip()) for item in text.split(",")] if text.strip() else []


@attrs.frozen
class MapOf(Kind[Mapping[str, T_co]]):
    """A table whose keys are values themselves."""

    names: Kind[str]
    kind: Kind[T_co]
    allowed: str

    # cannot be written without quotes that shells take away
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
                    problems.append(KeyProblem(below.key, f"{name} stands there twice; allowed: once"))
                result[name] = self.kind.read(item, below)
            except InvalidKeys as wrong:
                problems += wrong.problems
        if problems:
            raise InvalidKeys(problems)
        return MappingProxyType(result)

    def from_text(self, text: str) -> object:
        return inline_value(text)
