"""A configuration as values of TOML by dotted key, and the differences between two."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from mailserver.config.keys.top_level import CONFIG, Config
from mailserver.config.schema.kinds import Context, Kind
from mailserver.config.schema.problems import literal
from mailserver.config.schema.tables import Key, Table, Tables, keys_of

NOT_SET = "not set"


def values_of(config: Config, *, secrets: bool = False) -> dict[str, object]:
    """The value of each key, in the order of the documented file. Keys of a missing [tls] are not there.

    An array of tables is one value, a list of dictionaries. Secrets are hidden, unless ``secrets``.
    """
    found: dict[str, object] = {}
    for path, key, value in _leaves(config):
        written = key.kind.written(value, secrets=secrets)
        if written is not None:
            found[path] = written
    return found


def default_values(hostname: str) -> dict[str, object]:
    """The default of each key on a server with this name."""
    named = CONFIG.read({"hostname": hostname}, Context())
    return values_of(named) | {"hostname": CONFIG.read({}, Context()).hostname}


def _leaves(config: Config) -> Iterator[tuple[str, Key, Any]]:
    for key in keys_of(Config):
        value = getattr(config, key.field)
        if not isinstance(key.kind, Table):
            yield key.name, key, value
        elif value is not None:
            for below in keys_of(key.kind.cls):
                yield f"{key.name}.{below.name}", below, getattr(value, below.field)


@attrs.frozen
class KeyChange:
    """A key with another value. ``old`` and ``new`` are in the syntax of TOML, or "not set"."""

    key: str
    old: str
    new: str

    @property
    def section(self) -> str:
        """The top-level key that the key is in."""
        return self.key.partition(".")[0].partition("[")[0]

    def __str__(self) -> str:
        return f"{self.key}: {self.old} \N{RIGHTWARDS ARROW} {self.new}"


def changes(old: Config, new: Config) -> list[KeyChange]:
    """The keys whose values differ, in the order of the documented file.

    Secrets are compared, and hidden. Tables of an array are compared key by key: those with the same first
    key, such as the address of an account, or with the same number if the first keys are not unique.
    """
    before, after = ({path: value for path, _, value in _leaves(side)} for side in (old, new))
    kinds = {path: key.kind for side in (new, old) for path, key, _ in _leaves(side)}
    found: list[KeyChange] = []
    for path, kind in kinds.items():
        if before.get(path) == after.get(path):
            continue
        if isinstance(kind, Tables):
            found += _table_changes(path, kind.table, before[path], after[path])
        else:
            found.append(KeyChange(path, *(_text(kind, side, path) for side in (before, after))))
    return found


def _table_changes(
    path: str, table: Table[Any], old: Sequence[Any], new: Sequence[Any]
) -> Iterator[KeyChange]:
    before, after = _by_name(table, old, new)
    for name in {**after, **before}:
        place = f"{path}[{name}]"
        items = before.get(name), after.get(name)
        if items[0] == items[1]:
            continue
        if None in items:
            yield KeyChange(place, *(_text(table, side, name) for side in (before, after)))
            continue
        for key in keys_of(table.cls):
            values = [getattr(item, key.field) for item in items]
            if values[0] != values[1]:
                texts = (_text(key.kind, {key.name: value}, key.name) for value in values)
                yield KeyChange(f"{place}.{key.name}", *texts)


def _by_name(table: Table[Any], *sides: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    first = keys_of(table.cls)[0]
    names = [[literal(first.kind.written(getattr(item, first.field))) for item in side] for side in sides]
    if any(len(set(each)) < len(each) for each in names):
        names = [[str(number) for number in range(1, len(side) + 1)] for side in sides]
    for each, side in zip(names, sides, strict=True):
        yield dict(zip(each, side, strict=True))


def _text(kind: Kind[Any], values: Mapping[str, Any], name: str) -> str:
    written = kind.written(values[name]) if name in values else None
    return NOT_SET if written is None else literal(written)
