"""The cutter of TOP against a plain model, however the message is cut into pieces."""

import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.pop3 import text
from mailserver.pop3.text import TopCutter
from tests.support.runs import examples


def cut(pieces: list[bytes], lines: int) -> tuple[bytes, bool]:
    cutter = TopCutter(lines)
    return b"".join([cutter.feed(piece) for piece in pieces]), cutter.done


def model(message: bytes, lines: int) -> bytes:
    """What TOP must let through of a whole message."""
    kept, left = [], -1
    for line in message.split(b"\r\n")[:-1]:
        if left == 0:
            break
        kept.append(line + b"\r\n")
        left -= 1
        if left < 0 and line == b"":
            left = lines
    else:
        if left != 0:
            return message
    return b"".join(kept)


MESSAGE = b"A: 1\r\nB: 2\r\n\r\none\r\n\r\n.\r\nfour"


@pytest.mark.parametrize(
    ("message", "lines", "top"),
    [
        (MESSAGE, 0, b"A: 1\r\nB: 2\r\n\r\n"),
        (MESSAGE, 1, b"A: 1\r\nB: 2\r\n\r\none\r\n"),
        (MESSAGE, 3, b"A: 1\r\nB: 2\r\n\r\none\r\n\r\n.\r\n"),
        (MESSAGE, 4, MESSAGE),
        (MESSAGE, 10**30, MESSAGE),
        (b"", 1, b""),
        (b"no header ends", 0, b"no header ends"),
        (b"A: 1\r\n", 0, b"A: 1\r\n"),
        (b"\r\nbody\r\n", 0, b"\r\n"),
        (b"\r\n\r\nbody\r\n", 1, b"\r\n\r\n"),
        (b"A: 1\n\nno CRLF, no line", 0, b"A: 1\n\nno CRLF, no line"),
        (b"\r\na\nb\r\nc\r\n", 1, b"\r\na\nb\r\n"),
        (b"A: 1\r\n\r\r\n\r\n", 0, b"A: 1\r\n\r\r\n\r\n"),
    ],
)
def test_examples_in_all_pieces(message: bytes, lines: int, top: bytes) -> None:
    assert model(message, lines) == top
    ways = [[message], [message[i : i + 1] for i in range(len(message))]]
    ways += [[message[:i], message[i:j], message[j:]] for j in range(len(message)) for i in range(j)]
    for pieces in ways:
        assert cut(pieces, lines)[0] == top


awkward = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"a", b"."]), max_size=20).map(
    b"".join
)


@settings(max_examples=examples(4))
@given(awkward, st.integers(0, 8), st.lists(st.integers(0, 50), max_size=6))
def test_any_message_in_any_pieces(message: bytes, lines: int, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(message)]
    pieces = [message[a:b] for a, b in pairwise(edges)]
    top, done = cut(pieces, lines)
    assert top == model(message, lines)
    assert done or top == message


@settings(max_examples=examples(4))
@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"a", b"a" * 50]), max_size=300), st.integers(0, 120))
def test_the_end_of_many_lines(pieces: list[bytes], lines: int) -> None:
    message = b"\r\n" + b"".join(pieces)
    assert cut([message], lines)[0] == model(message, lines)


@pytest.mark.parametrize("line", [b"\r\n", b"x" * 70 + b"\r\n", b"\n\r\r\n"])
def test_lines_are_not_found_one_by_one(line: bytes) -> None:
    """Each look at the octets counts; a hundred thousand lines take a few, however many are wanted."""
    looks = []

    class Octets(bytes):
        def find(self, *arguments: Any) -> int:
            looks.append("find")
            return super().find(*arguments)

        def count(self, *arguments: Any) -> int:
            looks.append("count")
            return super().count(*arguments)

    for lines in (50, 50_000, 99_999):
        looks.clear()
        assert text._after(Octets(line * 100_000), 0, lines) == len(line) * lines
        assert len(looks) < 40


def test_done_as_soon_as_possible() -> None:
    cutter = TopCutter(2)
    assert cutter.feed(b"A: 1\r\n\r\none\r\ntwo\r") == b"A: 1\r\n\r\none\r\ntwo\r"
    assert not cutter.done
    assert cutter.feed(b"\nthree\r\n") == b"\n"
    assert cutter.done
    assert cutter.feed(b"four\r\n") == b""


def test_memory_is_bounded() -> None:
    """Neither a header nor a line without end is held."""
    for begin in (b"A: ", b"A: 1\r\n\r\n"):
        cutter = TopCutter(1)
        cutter.feed(begin)
        piece = b"x" * 65536
        tracemalloc.start()
        for _ in range(100):
            cutter.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 * len(piece)
