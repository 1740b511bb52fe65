"""What is sent: stretches of octets, between which the client waits until all is answered.

Where a stretch is cut on its way must make no difference, with one exception by design: what stands
in it behind a command that begins TLS is thrown away (RFC 3207 section 4.2, RFC 2595 section 4).
"""

from collections.abc import Iterable
from itertools import accumulate
from random import Random
from urllib.parse import quote_from_bytes, unquote_to_bytes

Stream = tuple[bytes, ...]
Pieces = list[list[bytes]]
"""A stream, each stretch of it in pieces."""


class Sent:
    """A stream in the hands of a reader. ``lost`` counts the octets that a command for TLS took with it.

    ``bare``: a CR or LF stood alone in the last line that was read.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._whole = b"".join(stream)
        self._ends = list(accumulate(map(len, stream)))
        self._at = 0
        self._tls_at: int | None = None
        self.lost = 0
        self.bare = False

    def line(self) -> bytes | None:
        """The next line, without CRLF or LF; None if there is no whole one."""
        end = self._whole.find(b"\n", self._at)
        if end < 0:
            return None
        start, self._at = self._at, end + 1
        line = self._whole[start:end]
        self.bare = not line.endswith(b"\r") or b"\r" in line[:-1]
        return line.removesuffix(b"\r")

    def text(self) -> bytes | None:
        """A message up to its final dot, CRLF at its end unless it is empty; None if it does not end."""
        whole, start = self._whole, self._at
        end = start - 2 if whole.startswith(b".\r\n", start) else whole.find(b"\r\n.\r\n", start)
        if end == -1:
            self._at = len(whole)
            return None
        self._at = end + 5
        return whole[start : end + 2]

    def take(self, octets: int) -> bytes | None:
        """So many octets; None if there are fewer."""
        start, self._at = self._at, min(self._at + octets, len(self._whole))
        return self._whole[start : self._at] if self._at - start == octets else None

    def forget(self) -> None:
        """The line that was read begins TLS: the rest of its stretch is gone."""
        self._tls_at = self._at
        end = next(end for end in self._ends if end >= self._at)
        self.lost, self._at = end - self._at, end

    @property
    def heeded(self) -> Stream:
        """The stream without what was lost."""
        return tuple(stretch for stretch, _ in self._split())

    def cut(self, random: Random) -> Pieces:
        """The heeded octets in random pieces."""
        return [cut(stretch, random) for stretch in self.heeded]

    def cut_before_tls(self, random: Random) -> Pieces:
        """All octets in random pieces, but what is lost comes together with the end of its line."""
        return [
            [*cut(stretch[:-1], random), stretch[-1:] + lost] if lost else cut(stretch, random)
            for stretch, lost in self._split()
        ]

    def _split(self) -> Iterable[tuple[bytes, bytes]]:
        start = 0
        for stretch, end in zip(self._stream, self._ends, strict=True):
            keep = len(stretch)
            if self.lost and self._tls_at is not None and start < self._tls_at <= end:
                keep = self._tls_at - start
            yield stretch[:keep], stretch[keep:]
            start = end


def cut(stretch: bytes, random: Random) -> list[bytes]:
    """Pieces, of which some may be empty: a few long ones or many short ones."""
    if random.random() < 0.5 or len(stretch) > 2000:
        edges = sorted(random.choices(range(len(stretch) + 1), k=random.randint(1, 8)))
    else:
        edges, at = [], 0
        while (at := at + random.randint(1, 9)) < len(stretch):
            edges.append(at)
    return [stretch[a:b] for a, b in zip([0, *edges], [*edges, len(stretch)], strict=True)]


def written(stream: Stream) -> str:
    """A stream for a command line: its stretches, percent-encoded, between commas."""
    return ",".join(map(quote_from_bytes, stream))


def read_written(text: str) -> Stream:
    """The stream that was written so."""
    return tuple(map(unquote_to_bytes, text.split(",")))
