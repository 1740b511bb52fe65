"""The sizes of a message in a Maildir: by the name of its file if that can be believed, or by reading it."""

import io
import os
from typing import NamedTuple

from mailserver.store import names
from mailserver.store.content import open_message, pieces, sent_size, with_crlf

_OWN, _COMPLETED = 1, 2


class Measure(NamedTuple):
    """The sizes of a message: ``octets`` that are read, ``sent`` those that POP3 counts.

    ``own``: this server stored the file, and it is sent as it is. A file under a name of ours whose
    length is not the one in its name has been changed by another program, and is not our own.
    """

    octets: int
    sent: int
    own: bool

    @property
    def packed(self) -> int:
        """The same as one number, as millions of objects would keep the garbage collector busy.

        Two bits of it are flags, the others the size as sent.
        """
        return self.sent << 2 | (self.sent != self.octets) * _COMPLETED | self.own * _OWN

    @classmethod
    def unpack(cls, packed: int) -> "Measure":
        """The measure that was packed."""
        sent = packed >> 2
        return cls(sent - 2 if packed & _COMPLETED else sent, sent, bool(packed & _OWN))


def measure(path: str, base: str) -> Measure:
    """The sizes of a file, by its name if that can be believed, else by reading it.

    Raises ``OSError``, or :class:`~mailserver.errors.StorageError` for what is no regular file.
    """
    claimed = names.claimed_sizes(base)
    if claimed is not None and names.is_own(base) and _fits(claimed, os.lstat(path).st_size):
        return Measure(*claimed, own=True)
    with open_message(path) as file:
        return measure_open(file, base, claimed)


def measure_open(file: io.FileIO, base: str, claimed: tuple[int, int] | None = None) -> Measure:
    """The sizes of an open file. A file of another program is read, unless ``claimed`` can be believed."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(length - 2, 0))
    ending = file.read(2)
    file.seek(0)
    ours = names.claimed_sizes(base) if names.is_own(base) else None
    if ours is not None and _fits(ours, length):
        return Measure(length, sent_size(length, ending), own=True)
    if ours is None and claimed is not None and claimed[0] == length and length <= claimed[1] <= 2 * length:
        octets = claimed[1]
    else:
        octets = sum(map(len, with_crlf(pieces(file))))
    return Measure(octets, sent_size(octets, b"\r\n" if ending.endswith(b"\n") else ending), own=False)


def _fits(claimed: tuple[int, int], length: int) -> bool:
    """Whether a file of that many octets can be what this server stored under such a name."""
    stored, sent = claimed
    return stored == length and sent in (stored, stored + 2)
