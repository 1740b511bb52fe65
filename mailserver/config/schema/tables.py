"""How a frozen attrs class tells which keys a table has.

A field made by :func:`key` holds everything there is to know about its key: the kind of its
values, its default, its documentation. The loader, the names in the environment, the options of
the command line and the documented file all come from there.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import attrs

from mailserver.config.schema.kinds import Context, Kind, T, inline_value, read_all
from mailserver.config.schema.problems import (
    InvalidKeys,
    InvalidValue,
    KeyProblem,
    dotted,
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

    ``default`` is what would be written in the file, or :data:`REQUIRED`. A ``computed`` one
    depends on other keys: ``default`` is then for the documentation alone. ``example`` is what the
    documentation shows instead, of a key that is required or for which the default tells nothing.
    """

    kind: Kind[object]
    doc: str
    default: object
    example: object
    computed: bool
    name: str = ""
    field: str = ""


def key(
    kind: Kind[T],
    doc: str,
    *,
    default: object = REQUIRED,
    example: object = None,
    compute: Callable[[Any], T | None] | None = None,
    name: str = "",
) -> T:
    """Make the attrs field of a key. ``compute`` gets the unfinished instance and gives the default;
    ``name`` is the key's where it differs from the field's."""
    metadata = {_METADATA: Key(kind, doc, default, example, compute is not None, name)}
    if compute is not None:
        field: T = attrs.field(default=attrs.Factory(compute, takes_self=True), metadata=metadata)
    elif default is REQUIRED:
        field = attrs.field(metadata=metadata)
    else:
        field = attrs.field(default=kind.read(default, Context()), metadata=metadata)
    return field


def keys_of(cls: type[attrs.AttrsInstance]) -> list[Key]:
    """The keys of the table that ``cls`` describes, in order."""
    found = []
    for field in attrs.fields(cls):
        made: Key = field.metadata[_METADATA]
        found.append(attrs.evolve(made, name=made.name or field.name, field=field.name))
    return found


def leaves_of(cls: type[attrs.AttrsInstance], prefix: str = "") -> Iterator[tuple[str, Key]]:
    """The keys below ``cls`` that are no sections, each with its dotted path."""
    for found in keys_of(cls):
        path = dotted(prefix, found.name)
        if isinstance(found.kind, Table):
            yield from leaves_of(found.kind.cls, path)
        else:
            yield path, found


# A check across the keys of one table gets the values that could be read, by field, and may fill
# in what is computed; it gives what is wrong.
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
            # a password may stand there, so it is not shown
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
                    problems.append(KeyProblem(below.key, f"it is missing; allowed: {key.kind.allowed}"))
                else:
                    values[key.field] = key.kind.read(key.default, below)
            except InvalidKeys as wrong:
                problems += wrong.problems
        problems += self.check(values, context)
        problems += self._unknown(value, context)
        if problems:
            raise InvalidKeys(problems)
        return self.cls(**values)

    def misspelt(self, names: Iterable[str]) -> set[str | None]:
        """The keys that were probably meant by those of ``names`` that are none."""
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
            raise InvalidValue("it is empty", "at least one table, or to leave the key out")
        return tuple(read_all((self.table, item, context.item(index)) for index, item in enumerate(value)))

    def from_text(self, text: str) -> object:
        return inline_value(text)
