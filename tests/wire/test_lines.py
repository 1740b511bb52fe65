"""Command lines out of a byte stream."""

from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.lines import Line, LineBuffer, LineMeter


def lines(pieces: list[bytes], limit: int = 10, *, strict: bool = False) -> list[bytes | Line]:
    """Every line of the stream, as the pieces arrive."""
    buffer = LineBuffer(limit, strict=strict)
    found: list[bytes | Line] = []
    for piece in pieces:
        buffer.feed(piece)
        while (line := buffer.next_line()) is not Line.INCOMPLETE:
            found.append(line)
    return found


def test_line_ends() -> None:
    assert lines([b"a\r\nb\n\r\n\nc\r\r\nd"]) == [b"a", b"b", b"", b"", b"c\r"]


def test_a_bare_newline_takes_the_place_of_its_line() -> None:
    bare = Line.BARE_NEWLINE
    assert lines([b"a\r\nb\n\r\n\nc\r\r\nd\re\r\nf\r\n"], strict=True) == [
        b"a",
        bare,
        b"",
        bare,
        bare,
        bare,
        b"f",
    ]
    assert lines([b"0123456789\nb\r\n"], strict=True) == [Line.TOO_LONG, b"b"]


def test_a_line_of_just_the_limit_passes() -> None:
    assert lines([b"12345678\r\n"]) == [b"12345678"]
    assert lines([b"123456789\r\nok\r\n"]) == [Line.TOO_LONG, b"ok"]


def test_an_endless_line_takes_no_memory() -> None:
    buffer = LineBuffer(10)
    for _ in range(1000):
        buffer.feed(b"x" * 1000)
        assert buffer.next_line() is Line.INCOMPLETE
        assert len(buffer) <= 10
    buffer.feed(b"\r\nNOOP\r\n")
    assert buffer.next_line() is Line.TOO_LONG
    assert buffer.next_line() == b"NOOP"


def test_the_rest_can_be_taken_and_put_back() -> None:
    buffer = LineBuffer(10)
    buffer.feed(b"DATA\r\ntext")
    assert buffer.next_line() == b"DATA"
    assert buffer.take_all() == b"text"
    assert len(buffer) == 0
    buffer.put_back(b"RSET\r\n")
    assert buffer.next_line() == b"RSET"


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"abc", b"0123456789"]), max_size=30).map(b"".join))
def test_chunks_make_no_difference(stream: bytes) -> None:
    for strict in (False, True):
        whole = lines([stream], strict=strict)
        assert lines([stream[i : i + 1] for i in range(len(stream))], strict=strict) == whole
        for cut in range(len(stream)):
            assert lines([stream[:cut], stream[cut:]], strict=strict) == whole


@given(st.lists(st.sampled_from([b"\r\n", b"\n", b"abc", b"0123456789"]), max_size=20).map(b"".join))
def test_the_longest_line_is_found_for_every_chunking(text: bytes) -> None:
    expected = max(map(len, text.splitlines(keepends=True)), default=0)
    for cut in range(len(text) + 1):
        meter = LineMeter()
        meter.feed(text[:cut])
        meter.feed(text[cut:])
        assert meter.longest == expected
