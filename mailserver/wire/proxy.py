"""The PROXY protocol, versions 1 and 2: a header in which a proxy gives the address of its client.

The server reads the header only from configured proxies, and requires it from them. If the header were
optional, a client could claim any address. The header comes before everything else, including TLS.

Specification: HAProxy, "The PROXY protocol", sections 2.1 and 2.2; the checksum is in RFC 9260 appendix A.
Of the extensions after the addresses, only the checksum is read.
"""

import ipaddress
import struct
from enum import Enum

import attrs

# "PROXY" SP ("TCP4" / "TCP6") SP source SP destination SP source-port SP destination-port CRLF
# "PROXY UNKNOWN" [SP anything] CRLF
_TEXT = b"PROXY "
_MAX_LINE = 107  # octets, CRLF included
_VERSIONS = {b"TCP4": 4, b"TCP6": 6}

# signature, version and command (4 bits each), family and transport (4 bits each), length of what follows
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = len(_SIGNATURE) + 4
# The rest consists of the addresses, at most 216 octets, and extensions.
_MAX_REST = 216 + 4096
_LOCAL, _PROXY = 0x20, 0x21
# Family and transport of a stream -> octets of one address, and of the whole block of addresses.
_BLOCKS = {0x11: (4, 12), 0x21: (16, 36)}
_CHECKSUM = 3


class Header(Enum):
    """The results of :meth:`ProxyHeader.feed` without a complete header."""

    INCOMPLETE = "more octets are needed"
    MALFORMED = "not a PROXY header; drop the connection"


@attrs.frozen
class ProxiedClient:
    """The client in a complete header: its IP address, and the octets that follow the header.

    ``source`` is "" if the header has no IP address, because the proxy connects for itself (a health check)
    or its client has none. Then the proxy is the client. A mapped IPv4 address is written as IPv4.
    """

    source: str
    rest: bytes


class ProxyHeader:
    """Collects the first octets of a connection until the header is complete.

    It keeps at most one header of 4,328 octets and the piece that ended it.
    """

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> ProxiedClient | Header:
        """Add received octets. Do not call it after a :class:`ProxiedClient` or ``MALFORMED``."""
        self._data += data
        return parse(self._data)


def parse(data: bytes) -> ProxiedClient | Header:
    """Read the header at the start of ``data``."""
    if data.startswith(_TEXT):
        return _text(data)
    if data.startswith(_SIGNATURE):
        return _binary(data)
    if _TEXT.startswith(data) or _SIGNATURE.startswith(data):
        return Header.INCOMPLETE
    return Header.MALFORMED


# ---------------------------------------------------------------- version 1


def _text(data: bytes) -> ProxiedClient | Header:
    end = data.find(b"\r\n", 0, _MAX_LINE)
    if end < 0:
        return Header.INCOMPLETE if len(data) < _MAX_LINE else Header.MALFORMED
    words = data[len(_TEXT) : end].split(b" ")
    if words[0] == b"UNKNOWN":
        return ProxiedClient("", data[end + 2 :])
    version = _VERSIONS.get(words[0])
    if version is None or len(words) != 5 or not all(map(_is_port, words[3:])):
        return Header.MALFORMED
    addresses = [_address(word, version) for word in words[1:3]]
    if None in addresses:
        return Header.MALFORMED
    return ProxiedClient(str(addresses[0]), data[end + 2 :])


def _address(word: bytes, version: int) -> str | None:
    text = word.decode("latin-1")
    try:
        # "%" begins the name of an interface, which has no meaning on another machine.
        address = None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None
    return _canonical(address) if address is not None and address.version == version else None


def _is_port(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 5 and int(word) < 65536 and word == b"%d" % int(word)


def _canonical(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)


# ---------------------------------------------------------------- version 2


def _binary(data: bytes) -> ProxiedClient | Header:
    fixed = data[:_FIXED]
    if len(fixed) < _FIXED:
        return Header.INCOMPLETE
    command, kind, length = struct.unpack_from("!BBH", fixed, len(_SIGNATURE))
    if command not in (_LOCAL, _PROXY) or length > _MAX_REST:
        return Header.MALFORMED
    if command == _PROXY and (kind >> 4 > 3 or kind & 15 > 2):
        return Header.MALFORMED
    header, rest = data[: _FIXED + length], data[_FIXED + length :]
    if len(header) < _FIXED + length:
        return Header.INCOMPLETE
    if command == _LOCAL or kind not in _BLOCKS:
        # Also for datagrams and unix sockets, which have no usable address.
        return ProxiedClient("", rest)
    size, block = _BLOCKS[kind]
    if not _is_whole(header, _FIXED + block):
        return Header.MALFORMED
    address = ipaddress.ip_address(header[_FIXED : _FIXED + size])
    return ProxiedClient(_canonical(address), rest)


def _is_whole(header: bytes, start: int) -> bool:
    """Whether the extensions from ``start`` on end with the header, and their checksum is correct, if any.

    An extension is a type (1 octet), a length (2 octets) and a value.
    """
    while start + 3 <= len(header):
        kind, length = struct.unpack_from("!BH", header, start)
        value = start + 3
        start = value + length
        if kind == _CHECKSUM:
            blank = header[:value] + bytes(4) + header[start:]
            if length != 4 or crc32c(blank) != int.from_bytes(header[value:start], "big"):
                return False
    return start == len(header)


def _remainder(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
    return octet


_REMAINDERS = tuple(map(_remainder, range(256)))


def crc32c(data: bytes) -> int:
    """The checksum CRC32c of ``data``."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _REMAINDERS[(crc ^ octet) & 255]
    return crc ^ 0xFFFFFFFF
