"""The header of a message as filters see it, and the changes that they make.

Filters do not see the trace fields of this server, but their place counts: a field that is inserted at 0 goes
above them, one at 1 below them, as in Postfix. Fields that nobody changes keep their octets.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import attrs

from mailserver.policy.milter.replies import AddField, ChangeField, FieldChange, InsertField

_FIELD = re.compile(
    rb"([!-9;-~]{1,255})[ \t]{0,255}:((?:[^\r]++|\r(?!\n))*+(?:\r\n[ \t](?:[^\r]++|\r(?!\n))*+)*+)(?:\r\n|\Z)"
)
MAX_FIELDS = 10_000
_LINE_END = re.compile(rb"\r\n|\r|\n")


@attrs.frozen
class FilteredField:
    """A header field. ``raw`` has all its octets, with its CRLF; ``value`` is all after the colon."""

    name: bytes
    value: bytes
    raw: bytes

    def value_for_filter(self, leading_space: bool) -> bytes:
        """The value with LF between its lines. Without ``leading_space`` a first space is not part of it."""
        value = self.value.replace(b"\r\n", b"\n")
        return value if leading_space else value.removeprefix(b" ")


# The place of the trace fields of this server.
_TRACE = FilteredField(b"", b"", b"")


class FilteredHeader:
    """The fields of one message."""

    def __init__(self, fields: Iterable[FilteredField]) -> None:
        self._fields = [_TRACE, *fields]
        self._first = list(self._fields)

    @property
    def fields(self) -> Sequence[FilteredField]:
        """All fields that filters see, from the top."""
        return [field for field in self._fields if field is not _TRACE]

    @property
    def above(self) -> bytes:
        """The fields above the trace fields."""
        return _joined(self._fields[: self._fields.index(_TRACE)])

    @property
    def below(self) -> bytes:
        """The fields below the trace fields."""
        return _joined(self._fields[self._fields.index(_TRACE) :])

    @property
    def is_changed_below(self) -> bool:
        """Whether the fields below the trace fields are other ones than at first."""
        return self._fields[self._fields.index(_TRACE) :] != self._first

    def changed_names(self) -> Sequence[str]:
        """The names of the fields that were added, changed or removed."""
        before, after = Counter(self._first), Counter(self._fields)
        return sorted({field.name.decode() for field in ((before - after) + (after - before))})

    def apply(self, change: FieldChange, leading_space: bool) -> None:
        """Make one change. A field that does not exist is added instead of changed, as in Sendmail."""
        match change:
            case AddField(name, value):
                self._fields.append(_field(name, value, leading_space))
            case InsertField(index, name, value):
                self._fields.insert(index, _field(name, value, leading_space))
            case ChangeField(index, name, value):
                self._change(index, name, _field(name, value, leading_space) if value else None)

    def _change(self, index: int, name: bytes, changed: FilteredField | None) -> None:
        places = [at for at, field in enumerate(self._fields) if field.name.lower() == name.lower()]
        if index <= len(places):
            at = places[index - 1]
            self._fields[at : at + 1] = [changed] if changed else []
        elif changed:
            self._fields.append(changed)


def _joined(fields: Iterable[FilteredField]) -> bytes:
    return b"".join([field.raw for field in fields])


def split_header(content: bytes) -> tuple[list[FilteredField], int]:
    """The fields at the beginning of a message, and the octets that they take.

    ``content`` has the whole header. The first line that is no field ends it. Raises :class:`ValueError` if
    there are more than :data:`MAX_FIELDS`.
    """
    fields: list[FilteredField] = []
    at = 0
    while found := _FIELD.match(content, at):
        if len(fields) == MAX_FIELDS:
            raise ValueError(f"the header has more than {MAX_FIELDS} fields")
        raw = found[0] if found[0].endswith(b"\r\n") else found[0] + b"\r\n"
        fields.append(FilteredField(found[1], found[2], raw))
        at = found.end()
    return fields, at


def _field(name: bytes, value: bytes, leading_space: bool) -> FilteredField:
    """A new field. Its lines end with CRLF, and each after the first one begins with white space."""
    lines = [line for line in _LINE_END.split(value.replace(b"\0", b"")) if line.strip()] or [b""]
    # A value that begins on the next line has nothing after the colon.
    if _LINE_END.match(value.lstrip(b" \t")):
        lines.insert(0, b"")
    elif not leading_space:
        lines[0] = b" " + lines[0]
    folded = lines[:1] + [line if line[:1] in (b" ", b"\t") else b"\t" + line for line in lines[1:]]
    body = b"\r\n".join(folded)
    return FilteredField(name, body, name + b":" + body + b"\r\n")
