"""Dot transparency: what ends a text, what does not, and that chunk edges never matter."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.dots import DotDecoder, DotEncoder, encode

# Any mixture of the octets that matter.
awkward = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\0", b"a", b" ", b"\r" * 16]), max_size=24
).map(b"".join)


def decode(pieces: list[bytes], *, normalize: bool = False) -> tuple[bytes, bytes | None, bool]:
    """The decoded text, what followed its end (None if it never ended), and the bare newline mark."""
    decoder = DotDecoder(normalize=normalize)
    text = b""
    for number, piece in enumerate(pieces):
        text += decoder.feed(piece)
        if decoder.ended:
            return text, decoder.rest + b"".join(pieces[number + 1 :]), decoder.bare_newline
    return text, None, decoder.bare_newline


def ways(data: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and cut in two at every offset."""
    single = [data[i : i + 1] for i in range(len(data))]
    return [[data], single, *([data[:i], data[i:]] for i in range(1, len(data)))]


@pytest.mark.parametrize(
    ("wire", "text", "rest"),
    [
        (b".\r\n", b"", b""),
        (b"a\r\n.\r\n", b"a\r\n", b""),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b".a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n", b""),
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"\r\n\r\n..\r\n.\r\n.\r\n", b"\r\n\r\n.\r\n", b".\r\n"),
        (b"a" * 70000 + b"\r\n.\r\n", b"a" * 70000 + b"\r\n", b""),
    ],
)
def test_decoding(wire: bytes, text: bytes, rest: bytes) -> None:
    for pieces in ways(wire) if len(wire) < 100 else [[wire], [wire[:16384], wire[16384:]]]:
        assert decode(pieces) == (text, rest, False)


NOT_AN_END = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r.\n", b"\n.\r",
    b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n. \r\n",
]  # fmt: skip


@pytest.mark.parametrize("trick", NOT_AN_END)
def test_only_crlf_dot_crlf_ends_a_text(trick: bytes) -> None:
    wire = b"text" + trick + b"MAIL FROM:<evil@example.org>\r\n"
    for pieces in ways(wire):
        _, rest, _ = decode(pieces)
        assert rest is None
    for pieces in ways(wire + b".\r\nQUIT\r\n"):
        _, rest, _ = decode(pieces)
        assert rest == b"QUIT\r\n"


@pytest.mark.parametrize(
    ("wire", "bare"),
    [
        (b"a\r\n", False),
        (b"a\n", True),
        (b"a\rb\r\n", True),
        (b"\n", True),
        (b"\r\r\n", True),
        (b"", False),
        (b"\t\v\f\x1c\x1d\x1e\x85\xe2\x80\xa8\r\n", False),
    ],
)
def test_bare_newlines_are_noticed(wire: bytes, bare: bool) -> None:
    for pieces in ways(wire + b"\r\n.\r\n"):
        assert decode(pieces)[2] is bare


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"Subject: x\r\r\nTo: y\r\r\n\r\r\nbody\r\r\n", b"Subject: x\r\nTo: y\r\n\r\nbody\r\n"),
        (b"\n..x\n", b"\r\n.x\r\n"),
        (b"..x\n..y\r\r\n..z", b".x\r\n.y\r\n.z"),
        (b"Subject: x\rBcc: y\r\n", b"Subject: x Bcc: y\r\n"),
        (b"a\rb\r\rc\n", b"a b  c\r\n"),
        (b"\r\r\r\n\n\r\r\n", b"\r\n\r\n\r\n"),
        (b"\n.\n\n.x\r.\rz", b"\r\n\r\n\r\nx . z"),
        (b"\r.a", b" .a"),
        (b"\r\n.\r\r\n.b", b"\r\n\r\nb"),
        (b"a" + b"\r" * 100 + b"\n.b", b"a" + b" " * 84 + b"\r\nb"),
        (b"\r" * 50, b" " * 35),
        (b"plain\r\n..dot\r\n", b"plain\r\n.dot\r\n"),
    ],
    ids=ascii,
)
def test_normalising(wire: bytes, text: bytes) -> None:
    """One line end for each LF, transparency after it, and a space for a CR that stands alone."""
    for pieces in ways(wire + b"\r\n.\r\nQUIT\r\n"):
        assert decode(pieces, normalize=True)[:2] == (text + b"\r\n", b"QUIT\r\n")


@given(awkward)
def test_normalised_text_has_no_bare_newline(text: bytes) -> None:
    for pieces in ways(text + b"\r\n.\r\n"):
        result, rest, _ = decode(pieces, normalize=True)
        assert rest is not None
        assert result.replace(b"\r\n", b"").count(b"\n") == 0
        assert result.replace(b"\r\n", b"").count(b"\r") == 0


@given(awkward, st.booleans(), st.data())
def test_chunks_make_no_difference(wire: bytes, normalize: bool, data: st.DataObject) -> None:
    whole = decode([wire], normalize=normalize)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    edges = [0, *cuts, len(wire)]
    pieces = [wire[a:b] for a, b in itertools.pairwise(edges)]
    text, rest, bare = decode(pieces, normalize=normalize)
    if whole[1] is None:
        assert rest is None
        assert whole[0].startswith(text) or text.startswith(whole[0])
    else:
        assert (text, rest, bare) == whole


@given(awkward)
def test_what_is_encoded_comes_back(text: bytes) -> None:
    wire = encode(text)
    decoded, rest, _ = decode([wire])
    assert rest == b""
    # A dot after a bare LF is doubled, too, and stays so for those that know what ends a line.
    doubled = re.sub(rb"(?<!\r)\n\.", b"\n..", text)
    assert decoded == (doubled if not text or text.endswith(b"\r\n") else doubled + b"\r\n")
    for pieces in ways(text):
        encoder = DotEncoder()
        assert b"".join(encoder.feed(piece) for piece in pieces) + encoder.finish() == wire


@pytest.mark.parametrize(
    "text",
    [
        b"a\n.\nb\n",
        b"a\r\nb\n.\r\nc\r\n",
        b"a\n.\n.\n..\n",
        b".\n.\n",
        b"\n.\r\n",
        b"a\r\r\n.\n",
        b"a\n" * 40_000 + b".\n",
    ],
    ids=range(7),
)
def test_no_reader_of_lines_ends_a_text_early(text: bytes) -> None:
    """Also one that takes every LF for the end of a line gets it whole."""
    for pieces in ways(text) if len(text) < 100 else [[text[:80_000], text[80_000:]]]:
        encoder = DotEncoder()
        wire = b"".join(encoder.feed(piece) for piece in pieces) + encoder.finish()
        lines = wire.split(b"\n")
        assert lines.index(b".\r") == len(lines) - 2
        assert b".\r" not in lines[:-2] and b"." not in lines
        got = b"\n".join(line.removeprefix(b".") for line in lines[:-2]) + b"\n"
        assert got.startswith(text)


@pytest.mark.parametrize("edge", [4096, 16384, 65536])
def test_a_dot_around_every_buffer_edge(edge: int) -> None:
    for offset in range(edge - 4, edge + 5):
        text = b"x" * (offset - 2) + b"\r\n.\r\n.tail\r\n"
        wire = encode(text)
        assert decode([wire[:edge], wire[edge:]])[0] == text
        encoder = DotEncoder()
        assert encoder.feed(text[:edge]) + encoder.feed(text[edge:]) + encoder.finish() == wire
