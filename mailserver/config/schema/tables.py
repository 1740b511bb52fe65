"""Tables of keys: a frozen attrs class describes which keys a table has.

A field made by :func:`key` has all facts about its key: the kind of its values, its default, its
documentation. The loader, the names in the environment, the options of the command line and the documented
file are all made from these.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Generic, TypeVar

import attrs

from mailserver.config.schema.kinds import Context, Kind, T, inline_value, read_all
from mailserver.config.schema.problems import (
    InvalidKeys,
    InvalidValue,
    KeyProblem,
    dotted,
    literal,
    near,
    unknown,
    wrong_type,
)

TableT = TypeVar("TableT", bound=attrs.AttrsInstance)

_METADATA = "mailserver.config"
REQUIRED = object()


@attrs.frozen
class Key:
    """One key of a table.

    ``doc``: what the key sets, for people. ``default``: the default as in the file, or :data:`REQUIRED`.
    ``note``: what the default means, for people. The default of a ``computed`` key depends on other keys;
    ``note`` describes it. ``example``: a value for the documented file, where the default shows nothing.
    """

    kind: Kind[object]
    doc: str
    default: object
    note: str
    example: object
    computed: bool
    name: str = ""
    field: str = ""

    @property
    def default_text(self) -> str:
        """The default for people; empty if the key is required."""
        if self.computed or self.default is REQUIRED:
            return self.note
        return f"{literal(self.default)} ({self.note})" if self.note else literal(self.default)


def key(
    kind: Kind[T],
    doc: str,
    *,
    default: object = REQUIRED,
    note: str = "",
    example: object = None,
    compute: Callable[[Any], T | None] | None = None,
    name: str = "",
) -> T:
    """Make the attrs field of a key; see :class:`Key`.

    ``compute`` takes the unfinished instance and returns the default. ``name`` is the name of the key if it
    is not that of the field.
    """
    metadata = {_METADATA: Key(kind, doc, default, note, example, compute is not None, name)}
    if compute is not None:
        field: T = attrs.field(default=attrs.Factory(compute, takes_self=True), metadata=metadata)
    elif default is REQUIRED:
        field = attrs.field(metadata=metadata)
    else:
        field = attrs.field(default=kind.read(default, Context()), metadata=metadata)
    return field


def keys_of(cls: type[attrs.AttrsInstance]) -> tuple[Key, ...]:
    """The keys of the table that ``cls`` describes, in order."""
    return _keys_of(cls)


@cache  # a function of its own: the type checker does not know that every class is hashable
def _keys_of(cls: type[attrs.AttrsInstance]) -> tuple[Key, ...]:
    found = []
    for field in attrs.fields(cls):
        made: Key = field.metadata[_METADATA]
        found.append(attrs.evolve(made, name=made.name or field.name, field=field.name))
    return tuple(found)


def leaves_of(cls: type[attrs.AttrsInstance], prefix: str = "") -> Iterator[tuple[str, Key]]:
    """The keys below ``cls`` that are no sections, each with its dotted path."""
    for found in keys_of(cls):
        path = dotted(prefix, found.name)
        if isinstance(found.kind, Table):
            yield from leaves_of(found.kind.cls, path)
        else:
            yield path, found


# A check across the keys of one table takes the valid values by field. It returns the problems, and may fill
# in computed values.
TableCheck = Callable[[dict[str, Any], Context], Iterable[KeyProblem]]


def _no_check(values: dict[str, Any], context: Context) -> Iterable[KeyProblem]:
    return ()


@attrs.frozen
class Table(Kind[TableT], Generic[TableT]):
    """A table with fixed keys."""

    cls: type[TableT]
    check: TableCheck = _no_check

    allowed = "a table"
    on_command_line = False

    def convert(self, value: object, context: Context) -> TableT:
        if not isinstance(value, dict):
            headed = f", headed [{context.key}]" if context.key.isidentifier() else ""
            # The value may be a password, so it is not shown.
            raise InvalidValue(wrong_type(value, secret=True).what, f"a table{headed}")
        misspelt = self.misspelt(value)
        problems = []
        values: dict[str, Any] = {}
        for key in keys_of(self.cls):
            below = context.below(key.name)
            try:
                if key.name in value:
                    values[key.field] = key.kind.read(value[key.name], below)
                elif key.computed or key.name in misspelt:
                    continue
                elif key.default is REQUIRED:
                    problems.append(KeyProblem(below.key, f"the key is missing; allowed: {key.kind.allowed}"))
                else:
                    values[key.field] = key.kind.read(key.default, below)
            except InvalidKeys as invalid:
                problems += invalid.problems
        problems += self.check(values, context)
        problems += self._unknown(value, context)
        if problems:
            raise InvalidKeys(problems)
        return self.cls(**values)

    def written(self, value: Any, *, secrets: bool = False) -> Mapping[str, object] | None:
        if value is None:
            return None
        found = {
            key.name: key.kind.written(getattr(value, key.field), secrets=secrets)
            for key in keys_of(self.cls)
        }
        return {name: item for name, item in found.items() if item is not None}

    def misspelt(self, names: Iterable[str]) -> set[str | None]:
        """The keys that are most like the unknown ones of ``names``."""
        known = [key.name for key in keys_of(self.cls)]
        return {near(name, known) for name in names if name not in known}

    def _unknown(self, value: Iterable[str], context: Context) -> Iterator[KeyProblem]:
        known = [key.name for key in keys_of(self.cls)]
        for name in value:
            if name not in known:
                yield KeyProblem(
                    context.below(name).key, unknown("key", name, known, context.homes.get(name))
                )


@attrs.frozen
class Tables(Kind[tuple[TableT, ...]], Generic[TableT]):
    """An array of tables."""

    table: Table[TableT]
    may_be_empty: bool = True

    allowed = "an array of tables"
    on_command_line = False

    def convert(self, value: object, context: Context) -> tuple[TableT, ...]:
        if not isinstance(value, list):
            raise InvalidValue(
                wrong_type(value, secret=True).what, f"an array of tables, each headed [[{context.key}]]"
            )
        if not value and not self.may_be_empty:
            raise InvalidValue("the array is empty", "at least one table, or no such key")
        return tuple(read_all((self.table, item, context.item(index)) for index, item in enumerate(value)))

    def from_text(self, text: str) -> object:
        return inline_value(text)

    def written(self, value: Any, *, secrets: bool = False) -> list[object]:
        return [self.table.written(item, secrets=secrets) for item in value]
