"""The text of a local program: its line ends, the dot that ends it, and that chunk edges never matter."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.local_text import LocalText

awkward = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\n.\n", b"\r\n.\r\n", b"a", b"\0", b"\r" * 16]),
    max_size=20,
).map(b"".join)


def convert(pieces: list[bytes], *, dot_ends: bool) -> bytes:
    text = LocalText(dot_ends=dot_ends)
    done = b""
    for piece in pieces:
        done += text.feed(piece)
    return done if text.ended else done + text.finish()


def ways(data: bytes) -> list[list[bytes]]:
    return [
        [data],
        [data[i : i + 1] for i in range(len(data))],
        *([data[:i], data[i:]] for i in range(1, len(data))),
    ]


@pytest.mark.parametrize(
    ("data", "whole", "to_dot"),
    [
        (b"", b"", None),
        (b"a", b"a\r\n", None),
        (b"a\nb\n", b"a\r\nb\r\n", None),
        (b"a\r\nb\r\n", b"a\r\nb\r\n", None),
        (b"a\r\r\nb\rc\n", b"a\r\nb c\r\n", None),
        (b"a\r", b"a\r\n", None),
        (b"\n\n", b"\r\n\r\n", None),
        (b".a\n..\n. \n", b".a\r\n..\r\n. \r\n", None),
        # a line with a single dot
        (b".\nrest\n", b".\r\nrest\r\n", b""),
        (b"a\n.\nrest\n", b"a\r\n.\r\nrest\r\n", b"a\r\n"),
        (b"a\r\n.\r\nrest", b"a\r\n.\r\nrest\r\n", b"a\r\n"),
        (b"a\n.", b"a\r\n.\r\n", b"a\r\n"),
        (b"a\n.\r", b"a\r\n.\r\n", b"a\r\n"),
        (b".", b".\r\n", b""),
        (b"a.\n", b"a.\r\n", None),
        (b"\xff\0\n", b"\xff\0\r\n", None),
        (b"\r" * 20 + b"\nx", b"    \r\nx\r\n", None),
    ],
)
def test_conversion(data: bytes, whole: bytes, to_dot: bytes | None) -> None:
    for pieces in ways(data):
        assert convert(pieces, dot_ends=False) == whole
        assert convert(pieces, dot_ends=True) == (whole if to_dot is None else to_dot)


@given(awkward, st.booleans(), st.lists(st.integers(0, 60), max_size=4))
def test_any_text(data: bytes, dot_ends: bool, cuts: list[int]) -> None:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    done = convert(pieces, dot_ends=dot_ends)
    assert done == convert([data], dot_ends=dot_ends)
    # line ends are the only CRs and LFs, and the text ends with one
    rest = done.replace(b"\r\n", b"")
    assert b"\r" not in rest and b"\n" not in rest
    assert not done or done.endswith(b"\r\n")
    assert not dot_ends or b"\r\n.\r\n" not in b"\r\n" + done


def test_an_endless_line_is_not_kept() -> None:
    text = LocalText(dot_ends=True)
    assert sum(len(text.feed(b"x" * 65536)) for _ in range(100)) == 6553600
    assert sum(len(text.feed(b"\r" * 65536)) for _ in range(10)) >= 655360 - 16
