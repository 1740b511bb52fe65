"""The header that filters see, and their changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.policy.milter.fields import MAX_FIELDS, FilteredHeader, split_header
from mailserver.policy.milter.replies import AddField, ChangeField, FieldChange, InsertField

HEAD = b"Subject: one\r\nX-A:two\r\n\tfolded\r\nx-a :  three\r\n"


def header(octets: bytes = HEAD) -> FilteredHeader:
    return FilteredHeader(split_header(octets)[0])


@pytest.mark.parametrize(
    ("leading_space", "values"),
    [(True, [b" one", b"two\n\tfolded", b"  three"]), (False, [b"one", b"two\n\tfolded", b" three"])],
)
def test_what_filters_see(leading_space: bool, values: list[bytes]) -> None:
    fields = header().fields
    assert [field.name for field in fields] == [b"Subject", b"X-A", b"x-a"]
    assert [field.value_for_filter(leading_space) for field in fields] == values
    assert header().below == HEAD and not header().above and not header().changed_names()


@pytest.mark.parametrize(
    ("content", "names", "octets"),
    [
        (b"A: 1\r\n\r\nbody\r\n", [b"A"], 6),
        (b"A: 1\r\nno field\r\nB: 2\r\n", [b"A"], 6),
        (b"A: 1\r\n: empty\r\n", [b"A"], 6),
        (b"\r\nA: 1\r\n", [], 0),
        (b" A: 1\r\n", [], 0),
        (b"", [], 0),
        (b"A:", [b"A"], 2),
        (b"A: \r\r\nB: \n2\r\n", [b"A", b"B"], 13),
    ],
)
def test_the_end_of_the_header(content: bytes, names: list[bytes], octets: int) -> None:
    fields, end = split_header(content)
    assert ([field.name for field in fields], end) == (names, octets)


@pytest.mark.parametrize(
    ("change", "above", "below"),
    [
        (AddField(b"X", b"1"), b"", HEAD + b"X: 1\r\n"),
        (AddField(b"X", b"a\n b\r\nc\n\n"), b"", HEAD + b"X: a\r\n b\r\n\tc\r\n"),
        (AddField(b"X", b"\n\tb"), b"", HEAD + b"X:\r\n\tb\r\n"),
        (AddField(b"X", b""), b"", HEAD + b"X: \r\n"),
        (InsertField(0, b"X", b"1"), b"X: 1\r\n", HEAD),
        (InsertField(1, b"X", b"1"), b"", b"X: 1\r\n" + HEAD),
        (InsertField(2, b"X", b"1"), b"", HEAD.replace(b"X-A", b"X: 1\r\nX-A")),
        (InsertField(2**32 - 1, b"X", b"1"), b"", HEAD + b"X: 1\r\n"),
        (ChangeField(1, b"subject", b"new"), b"", HEAD.replace(b"Subject: one", b"subject: new")),
        (ChangeField(2, b"X-A", b"new"), b"", HEAD.replace(b"x-a :  three", b"X-A: new")),
        (ChangeField(1, b"X-A", b""), b"", HEAD.replace(b"X-A:two\r\n\tfolded\r\n", b"")),
        (ChangeField(3, b"X-A", b"new"), b"", HEAD + b"X-A: new\r\n"),
        (ChangeField(3, b"X-A", b""), b"", HEAD),
        (ChangeField(1, b"X-B", b"new"), b"", HEAD + b"X-B: new\r\n"),
    ],
)
def test_a_change(change: FieldChange, above: bytes, below: bytes) -> None:
    changed = header()
    changed.apply(change, leading_space=False)
    assert (changed.above, changed.below) == (above, below)
    assert changed.is_changed_below == (below != HEAD)
    assert bool(changed.changed_names()) == bool(above or below != HEAD)


def test_changes_in_their_order() -> None:
    changed = header()
    for change in (
        InsertField(0, b"A", b"1"),
        InsertField(0, b"B", b"2"),
        ChangeField(1, b"A", b"3"),
        InsertField(3, b"C", b"4"),
        ChangeField(1, b"Subject", b""),
        ChangeField(1, b"Subject", b"again"),
    ):
        changed.apply(change, leading_space=False)
    assert changed.above == b"B: 2\r\nA: 3\r\n"
    assert changed.below == b"C: 4\r\nX-A:two\r\n\tfolded\r\nx-a :  three\r\nSubject: again\r\n"
    assert changed.changed_names() == ["A", "B", "C", "Subject"]


def test_a_change_back_is_none() -> None:
    changed = header(b"Subject: one\r\n")
    changed.apply(ChangeField(1, b"Subject", b"two"), leading_space=False)
    changed.apply(ChangeField(1, b"Subject", b" one"), leading_space=True)
    assert not changed.is_changed_below and not changed.changed_names()


def test_a_filter_that_writes_the_space() -> None:
    changed = header(b"")
    changed.apply(AddField(b"X", b"1"), leading_space=True)
    changed.apply(AddField(b"Y", b"  1"), leading_space=True)
    assert changed.below == b"X:1\r\nY:  1\r\n"


def test_the_last_field_may_have_no_line_end() -> None:
    changed = header(b"A: 1")
    changed.apply(AddField(b"B", b"2"), leading_space=False)
    assert changed.below == b"A: 1\r\nB: 2\r\n"


def test_too_many_fields() -> None:
    split_header(b"A:\r\n" * MAX_FIELDS)
    with pytest.raises(ValueError, match=f"more than {MAX_FIELDS} fields"):
        split_header(b"A:\r\n" * (MAX_FIELDS + 1))


@given(st.binary(max_size=60).filter(lambda value: b"\0" not in value), st.booleans())
def test_any_value_is_one_field(value: bytes, leading_space: bool) -> None:
    changed = header()
    changed.apply(AddField(b"X", value), leading_space)
    fields, end = split_header(changed.below)
    assert end == len(changed.below)
    assert len(fields) == 4 and fields[-1].name == b"X"
