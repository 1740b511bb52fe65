"""Line ends of outgoing texts: CRLF whatever came, however it came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.newlines import NewlineNormalizer, has_bare_newline


def normalize(pieces: list[bytes]) -> bytes:
    normalizer = NewlineNormalizer()
    return b"".join([*map(normalizer.feed, pieces), normalizer.finish()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", b""),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\r\r\nb", b"a\r\nb"),
        (b"a\rb", b"a b"),
        (b"a\r", b"a "),
        (b"\n\r\n\r", b"\r\n\r\n "),
        (b"\r" * 16 + b"\n", b"\r\n"),
        (b"\r" * 18 + b"\n", b"  \r\n"),
        (b"\0\xff\x0b\x0c\x85\n", b"\0\xff\x0b\x0c\x85\r\n"),
    ],
)
def test_line_ends(text: bytes, expected: bytes) -> None:
    assert normalize([text]) == expected
    assert normalize([text[at : at + 1] for at in range(len(text))]) == expected


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b".", b"\r" * 15]).map(bytes)))
def test_pieces_make_no_difference_and_nothing_bare_is_left(pieces: list[bytes]) -> None:
    found = normalize(pieces)
    assert found == normalize([b"".join(pieces)])
    assert not has_bare_newline(found)
    assert normalize([found]) == found


@pytest.mark.parametrize(
    ("text", "bare"), [(b"a\r\n", False), (b"a", False), (b"a\r\nb\n", True), (b"\r", True), (b"\n\r", True)]
)
def test_bare_newlines_are_found(text: bytes, bare: bool) -> None:
    assert has_bare_newline(text) is bare
