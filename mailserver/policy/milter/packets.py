"""The form of packets: a length of 32 bits, which counts all octets after it, a command octet, its data."""

import struct
from collections.abc import Iterable, Iterator

from mailserver.errors import FilterFailed

# Octets of a packet from a filter. libmilter sends at most 64 KiB.
MAX_PACKET = 128 * 1024

_LENGTH = struct.Struct(">I")

Packet = tuple[bytes, bytes]
"""The command octet, and the data."""


def packet(command: bytes, data: bytes = b"") -> bytes:
    """The octets of one packet."""
    return _LENGTH.pack(1 + len(data)) + command + data


def strings(values: Iterable[bytes]) -> bytes:
    """Strings as data of a packet. A NUL ends a string, so those within a string are omitted."""
    return b"".join([value.replace(b"\0", b"") + b"\0" for value in values])


class PacketReader:
    """Splits the octets that a filter sends into packets."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Take octets. Yields the packets that are complete by now; take all of them before the next call.

        Raises :class:`~mailserver.errors.FilterFailed` at an invalid length.
        """
        data = self._held + data
        at = 0
        while len(data) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, at)
            if not 1 <= length <= MAX_PACKET:
                raise FilterFailed(f"a packet of {length} octets; allowed: 1 to {MAX_PACKET}")
            end = at + _LENGTH.size + length
            if end > len(data):
                break
            start = at + _LENGTH.size
            yield data[start : start + 1], data[start + 1 : end]
            at = end
        self._held = data[at:]
