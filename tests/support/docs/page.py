"""A page of the documentation as data: its tables by heading, the rows as columns by name."""

import re
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[3]

_HEADING = re.compile(r"#+ (.*)")
_RULE = re.compile(r"\|(?:-+\|)+")
_SPAN = re.compile(r"`([^`]+)`")

Row = dict[str, str]


@attrs.frozen
class Page:
    """``tables`` has each table under its nearest heading, in the order of the page."""

    text: str
    tables: dict[str, list[list[Row]]]

    @classmethod
    def read(cls, path: Path) -> "Page":
        text = path.read_text()
        tables: dict[str, list[list[Row]]] = {}
        heading, columns = "", None
        before = ""
        for line in text.splitlines():
            if found := _HEADING.fullmatch(line):
                heading = found[1]
            elif _RULE.fullmatch(line):
                columns = cells(before)
                tables.setdefault(heading, []).append([])
            elif not line.startswith("|"):
                columns = None
            elif columns is not None:
                tables[heading][-1].append(dict(zip(columns, cells(line), strict=True)))
            before = line
        return cls(text, tables)

    def table(self, heading: str, column: str) -> list[Row]:
        """The one table under the heading that has such a column."""
        [found] = [table for table in self.tables[heading] if column in table[0]]
        return found

    @property
    def rows(self) -> list[Row]:
        return [row for tables in self.tables.values() for table in tables for row in table]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]


def spans(cell: str) -> list[str]:
    """What stands in backquotes."""
    return _SPAN.findall(cell)


def span(cell: str) -> str:
    """What stands first in backquotes."""
    return spans(cell)[0]
