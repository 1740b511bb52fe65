"""Where the value of each key comes from: a variable of the environment, or a line of the file."""

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from mailserver.config.loader import read_text
from mailserver.config.sources import external_names

DEFAULT = "default"


def origins(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The origin of each dotted key that is set outside the program: ``VARIABLE`` or ``FILE:LINE``.

    The file must be valid. Each table of an array has a line of its own, such as that of ``account[1]``.
    """
    found = {key: f"{path}:{line}" for key, line in lines_of(read_text(path)).items()}
    return found | external_names(environ)


def lines_of(text: str) -> dict[str, int]:
    """The number of the first line of each key in a valid TOML document.

    Keys are dotted as in errors. An array of tables has the line of its first table, and each of the tables
    has its own: ``account``, ``account[1]``, ``account[2]``.
    """
    found: dict[str, int] = {}
    prefix: tuple[str, ...] = ()
    is_array = False
    counts: Counter[str] = Counter()
    for number, statement in _statements(text):
        head = statement.strip()
        if not head or head.startswith("#"):
            continue
        table = tomllib.loads(statement)
        if head.startswith("["):
            prefix = tuple(_path(table))
            is_array = head.startswith("[[")
            name = ".".join(prefix)
            found.setdefault(name, number)
            if is_array:
                counts[name] += 1
                found[f"{name}[{counts[name]}]"] = number
        elif not is_array:
            for names in _paths(table, prefix):
                found.setdefault(".".join(names), number)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The parts of a document that are valid by themselves, with the numbers of their lines."""
    start, waiting = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        if not waiting:
            start = number
        is_first, waiting = not waiting, f"{waiting}{line}\n"
        # To parse a long array after each of its lines would take a time that grows with its square.
        is_inside = not is_first and line.rstrip().endswith(",") and "#" not in line
        if is_inside or not _is_valid(waiting):
            continue
        yield start, waiting
        waiting = ""


def _is_valid(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _path(table: object) -> Iterator[str]:
    """The names in the heading of a table."""
    while table:
        if isinstance(table, list):
            table = table[0]
        else:
            assert isinstance(table, dict)
            [(name, table)] = table.items()
            yield name


def _paths(table: Mapping[str, object], prefix: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The keys that a statement sets, with all the parts of each."""
    for name, value in table.items():
        yield (*prefix, name)
        if isinstance(value, dict):
            yield from _paths(value, (*prefix, name))
