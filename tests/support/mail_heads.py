"""Messages in pieces, for what reads their heads as they come; and heads read by another way."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol


class Filter(Protocol):
    def feed(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


def in_pieces(one: Filter, message: bytes, cuts: Sequence[int] = ()) -> bytes:
    """What comes out of a message that is cut at these offsets."""
    offsets = [0, *cuts, len(message)]
    return b"".join([one.feed(message[a:b]) for a, b in pairwise(offsets)]) + one.finish()


def everyhow(make: Callable[[], Filter], message: bytes) -> bytes:
    """The same of the whole, octet by octet, and cut at every offset: it must be alike."""
    whole = in_pieces(make(), message)
    assert in_pieces(make(), message, range(len(message))) == whole
    for cut in range(len(message)):
        assert in_pieces(make(), message, [cut]) == whole, cut
    return whole


def head_and_text(message: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The lines of a head, each with the name of its field in lower case, and the rest."""
    lines = message.split(b"\r\n")
    lines = [line + b"\r\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    head: list[tuple[bytes, bytes]] = []
    for number, line in enumerate(lines):
        name, colon, _ = line.partition(b":")
        name = name.rstrip(b" \t").lower()
        if line[:1] in b" \t" and head:
            name = head[-1][0]
        elif not (colon and name and all(33 <= octet <= 126 for octet in name)):
            return head, b"".join(lines[number:])
        head.append((name, line))
    return head, b""
