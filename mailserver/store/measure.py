"""The sizes of a message in a Maildir: from its file name if that is reliable, else from its content.

The content is read once to count its line ends, and to make its surrogate if there is UTF-8 in a header.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

from mailserver.store import names
from mailserver.store.content import CHUNK, CRLFPieces, open_regular, sent_size, surrogate_size
from mailserver.store.sizes import Rows, Sizes, new_rows, row

_OWN, _COMPLETED = 1, 2


class Measure(NamedTuple):
    """The sizes of a message: ``octets`` with CRLF line ends, ``sent`` as POP3 counts it.

    ``own``: this server stored the file and sends it unchanged. It is false for a file with a name of this
    server but another length, which another program has changed. ``surrogate`` is the size of its surrogate
    as sent, None if it needs none.
    """

    octets: int
    sent: int
    own: bool
    surrogate: int | None = None

    @property
    def packed(self) -> int:
        """The first three values as one number: two bits are flags, the others are the size as sent.

        Numbers save work of the garbage collector.
        """
        return self.sent << 2 | (self.sent != self.octets) * _COMPLETED | self.own * _OWN

    @classmethod
    def unpack(cls, packed: int) -> "Measure":
        """The measure from a packed one, without a surrogate."""
        sent = packed >> 2
        return cls(sent - 2 if packed & _COMPLETED else sent, sent, bool(packed & _OWN))


class Measurer:
    """Measures the files of a Maildir. ``known`` are rows of files that were measured earlier.

    ``fresh`` has the rows of the files that had to be opened. ``surrogates`` has the sizes of surrogates by
    the base names of the files.
    """

    __slots__ = ("_known", "fresh", "surrogates")

    def __init__(self, known: Rows) -> None:
        self._known = Sizes(known) if known else None
        self.fresh = new_rows()
        self.surrogates: dict[str, int] = {}

    def packed(self, path: str, base: str) -> int:
        """The measure of a file, packed.

        Raises ``OSError``, or :class:`~mailserver.errors.StorageError` if it is not a regular file.
        """
        own = names.own_sizes(base)
        if own is not None or self._known is not None:
            status = os.lstat(path)
            if own is not None and own[0] == status.st_size and not names.has_utf8(base):
                return Measure(*own, own=True).packed
            if self._known is not None and (found := self._known.find(status)) is not None:
                return self._noted(base, *found)
        descriptor, status = open_regular(path)
        try:
            measure = measure_open(descriptor, status.st_size, base, believe=True)
        finally:
            os.close(descriptor)
        self.fresh.extend(row(status, measure.packed, measure.surrogate))
        return self._noted(base, measure.packed, measure.surrogate)

    def _noted(self, base: str, packed: int, surrogate: int | None) -> int:
        if surrogate is not None:
            self.surrogates[base] = surrogate
        return packed


def measure_open(descriptor: int, length: int, base: str, *, believe: bool = False) -> Measure:
    """The sizes of an open file of ``length`` octets.

    ``believe``: trust the sizes in the name of a foreign file if they are plausible, instead of reading it.
    """
    if "," in base:
        own = names.own_sizes(base)
        if own is not None and own[0] == length:
            surrogate = surrogate_size(_chunks(descriptor)) if names.has_utf8(base) else None
            return Measure(length, sent_size(length, _ending(descriptor, length)), True, surrogate)
        if believe and not names.is_own(base) and (claimed := names.claimed_sizes(base)) is not None:
            stored, octets = claimed
            if stored == length and length <= octets <= 2 * length:
                is_ascii = os.pread(descriptor, min(length, CHUNK), 0).isascii()
                return _foreign(descriptor, octets, _ending(descriptor, length), is_ascii)
    return _foreign(descriptor, *_count(descriptor, length))


def _foreign(descriptor: int, octets: int, ending: bytes, is_ascii: bool) -> Measure:
    """The measure of a foreign file: ``octets`` with CRLF line ends, ``ending`` as stored."""
    sent = sent_size(octets, b"\r\n" if ending.endswith(b"\n") else ending)
    surrogate = None if is_ascii else surrogate_size(CRLFPieces().pieces(_chunks(descriptor)))
    return Measure(octets, sent, False, surrogate)


def _chunks(descriptor: int) -> Iterator[bytes]:
    position = 0
    while chunk := os.pread(descriptor, CHUNK, position):
        position += len(chunk)
        yield chunk


def _ending(descriptor: int, length: int) -> bytes:
    return os.pread(descriptor, 2, max(length - 2, 0))


def _count(descriptor: int, length: int) -> tuple[int, bytes, bool]:
    """Count the octets of a file with CRLF line ends. Returns them, the last octet, and whether the file is
    in ASCII."""
    octets = position = 0
    last, is_ascii = b"", True
    while position < length and (chunk := os.pread(descriptor, CHUNK, position)):
        position += len(chunk)
        octets += len(chunk) + chunk.count(b"\n")
        if b"\r" in chunk:
            octets -= chunk.count(b"\r\n")
        if last == b"\r" and chunk.startswith(b"\n"):
            octets -= 1
        last = chunk[-1:]
        is_ascii = is_ascii and chunk.isascii()
    return octets, last, is_ascii
