"""The header of the PROXY protocol, however it is cut, and what is none."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.proxy import Header, ProxiedClient, ProxyHeader, crc32c, parse

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
V4 = bytes([192, 0, 2, 9, 127, 0, 0, 1]) + struct.pack("!HH", 1234, 25)
V6 = bytes.fromhex("20010db8" + "00" * 11 + "09" + "00" * 15 + "01") + struct.pack("!HH", 1234, 25)
MAPPED = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 9]) + bytes(16) + bytes(4)


def v2(kind: int, block: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, kind, len(block)) + block


def extension(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def summed(kind: int, block: bytes, after: bytes = b"") -> bytes:
    """A header with its checksum."""
    header = v2(kind, block + extension(3, bytes(4)) + after)
    at = 16 + len(block) + 3
    return header[:at] + crc32c(header).to_bytes(4, "big") + header[at + 4 :]


def feed(pieces: list[bytes]) -> ProxiedClient | Header:
    """What the pieces come to; those behind the end of the header are joined to its rest."""
    header = ProxyHeader()
    result: ProxiedClient | Header = Header.INCOMPLETE
    for piece in pieces:
        if isinstance(result, ProxiedClient):
            result = ProxiedClient(result.source, result.rest + piece)
        elif result is Header.INCOMPLETE:
            result = header.feed(piece)
    return result


LONGEST = b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n"

GOOD = {
    "TCP4": (b"PROXY TCP4 192.0.2.9 127.0.0.1 1234 25\r\n", "192.0.2.9"),
    "TCP4, longest": (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    "TCP6": (b"PROXY TCP6 2001:DB8::9 ::1 0 25\r\n", "2001:db8::9"),
    "TCP6, longest": (b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n",
                      ":".join(["ffff"] * 8)),
    "TCP6, mapped": (b"PROXY TCP6 ::ffff:192.0.2.9 ::1 1234 25\r\n", "192.0.2.9"),
    "TCP6, mapped, in hexadecimal": (b"PROXY TCP6 ::ffff:c000:209 ::1 1234 25\r\n", "192.0.2.9"),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", ""),
    "UNKNOWN, and more": (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ""),
    "107 octets": (LONGEST, ""),
    "v2 IPv4": (v2(0x11, V4), "192.0.2.9"),
    "v2 IPv6": (v2(0x21, V6), "2001:db8::9"),
    "v2 IPv6, mapped": (v2(0x21, MAPPED), "192.0.2.9"),
    "v2 UNIX": (v2(0x31, b"/run/client".ljust(216, b"\0")), ""),
    "v2 datagrams": (v2(0x12, V4), ""),
    "v2 unspecified": (v2(0x00, b""), ""),
    "v2 unspecified, with a block": (v2(0x00, b"whatever it is"), ""),
    "v2 IPv4, no transport": (v2(0x10, V4), ""),
    "v2 LOCAL": (v2(0x00, b"", 0x20), ""),
    "v2 LOCAL, with a block of any family": (v2(0xFF, b"x" * 50, 0x20), ""),
    "v2 extensions": (v2(0x11, V4 + extension(2, b"mail.example.org") + extension(4, b"")), "192.0.2.9"),
    "v2 extensions, longest": (v2(0x21, V6 + extension(4, bytes(216 + 4096 - 36 - 3))), "2001:db8::9"),
    "v2 checksum": (summed(0x11, V4), "192.0.2.9"),
    "v2 checksum, then more": (summed(0x21, V6, extension(0xE0, b"more")), "2001:db8::9"),
}  # fmt: skip

BAD = {
    "a command": b"EHLO client.example\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "empty line": b"\r\n\r\nEHLO",
    "lower case": b"proxy TCP4 192.0.2.9 127.0.0.1 1234 25\r\n",
    "two spaces": b"PROXY  TCP4 192.0.2.9 127.0.0.1 1234 25\r\n",
    "space at the end": b"PROXY TCP4 192.0.2.9 127.0.0.1 1234 25 \r\n",
    "tab": b"PROXY TCP4\t192.0.2.9 127.0.0.1 1234 25\r\n",
    "no family": b"PROXY \r\n",
    "family": b"PROXY TCP5 192.0.2.9 127.0.0.1 1234 25\r\n",
    "UNKNOWN and more, no space": b"PROXY UNKNOWNX\r\n",
    "too few": b"PROXY TCP4 192.0.2.9 127.0.0.1 1234\r\n",
    "too many": b"PROXY TCP4 192.0.2.9 127.0.0.1 1234 25 25\r\n",
    "IPv6 as TCP4": b"PROXY TCP4 ::1 ::1 1234 25\r\n",
    "IPv4 as TCP6": b"PROXY TCP6 192.0.2.9 127.0.0.1 1234 25\r\n",
    "IPv4, leading zero": b"PROXY TCP4 192.0.02.9 127.0.0.1 1234 25\r\n",
    "IPv4, three numbers": b"PROXY TCP4 192.0.2 127.0.0.1 1234 25\r\n",
    "IPv4, too great": b"PROXY TCP4 192.0.2.256 127.0.0.1 1234 25\r\n",
    "IPv6 with an interface": b"PROXY TCP6 fe80::1%eth0 ::1 1234 25\r\n",
    "destination": b"PROXY TCP4 192.0.2.9 localhost 1234 25\r\n",
    "port, too great": b"PROXY TCP4 192.0.2.9 127.0.0.1 65536 25\r\n",
    "port, leading zero": b"PROXY TCP4 192.0.2.9 127.0.0.1 01234 25\r\n",
    "port, sign": b"PROXY TCP4 192.0.2.9 127.0.0.1 +123 25\r\n",
    "port, none": b"PROXY TCP4 192.0.2.9 127.0.0.1  25\r\n",
    "port, endless": b"PROXY TCP4 192.0.2.9 127.0.0.1 " + b"9" * 60 + b" 25\r\n",
    "no address at all": b"PROXY TCP4 \xe2\x80\x8b \xff 1234 25\r\n",
    "LF alone": b"PROXY TCP4 192.0.2.9 127.0.0.1 1234 25\nEHLO client.example\r\n",
    "108 octets": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "v2 version 1": v2(0x11, V4, 0x11),
    "v2 version 3": v2(0x11, V4, 0x31),
    "v2 unknown command": v2(0x11, V4, 0x22),
    "v2 unknown family": v2(0x41, V4),
    "v2 unknown transport": v2(0x13, V4),
    "v2 IPv4, too short": v2(0x11, V4[:-1]),
    "v2 IPv6, too short": v2(0x21, V4),
    "v2 too long": v2(0x11, V4 + bytes(216 + 4096 - 12 + 1)),
    "v2 extension, cut in its head": v2(0x11, V4 + b"\x02\x00"),
    "v2 extension, cut in its value": v2(0x11, V4 + extension(2, b"mail.example.org")[:-1]),
    "v2 wrong checksum": v2(0x11, V4 + extension(3, b"\1\2\3\4")),
    "v2 checksum of another length": v2(0x11, V4 + extension(3, bytes(3))),
    "v2 checksum, cut": v2(0x11, V4 + b"\x03\x00\x04\x00"),
    "v2 two checksums": summed(0x11, V4, extension(3, bytes(4))),
}  # fmt: skip


@pytest.mark.parametrize("rest", [b"", b"EHLO client.example\r\n", b"\r\n", LONGEST], ids=repr)
@pytest.mark.parametrize("name", GOOD)
def test_good(name: str, rest: bytes) -> None:
    header, source = GOOD[name]
    assert parse(header + rest) == ProxiedClient(source, rest)


@pytest.mark.parametrize("name", GOOD)
def test_every_beginning_of_a_header_is_incomplete(name: str) -> None:
    header, _ = GOOD[name]
    assert {parse(header[:cut]) for cut in range(len(header))} == {Header.INCOMPLETE}


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    assert parse(BAD[name]) is Header.MALFORMED


def test_the_longest_line_without_an_end() -> None:
    assert parse(b"PROXY TCP4 ".ljust(106, b"1")) is Header.INCOMPLETE
    assert parse(b"PROXY TCP4 ".ljust(107, b"1")) is Header.MALFORMED


def test_the_checksum_guards_every_octet() -> None:
    header = summed(0x11, V4, extension(0xE0, b"more"))
    # The type of the checksum: another one makes an extension of it that nobody reads.
    kind = 16 + len(V4)
    for at in {*range(16, len(header))} - {kind}:
        changed = header[:at] + bytes([header[at] ^ 1]) + header[at + 1 :]
        assert parse(changed) is Header.MALFORMED, at


def test_crc32c() -> None:
    """The check value of the algorithm, and RFC 3720 appendix B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def mutated(headers: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    def change(header: bytes) -> st.SearchStrategy[bytes]:
        return st.builds(
            lambda at, octets, gone: header[:at] + octets + header[at + gone :],
            st.integers(0, min(len(header), 250)),
            st.binary(max_size=3),
            st.integers(0, 3),
        )

    return headers.flatmap(change)


headers = st.sampled_from([header for header, _ in GOOD.values()])
streams = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(lambda octets: SIGNATURE + octets),
    st.binary(max_size=150).map(lambda octets: b"PROXY " + octets),
    st.builds(bytes.__add__, mutated(headers), st.binary(max_size=30)),
)


@given(streams, st.integers(0, 280))
def test_any_bytes_and_any_cuts(stream: bytes, cut: int) -> None:
    whole = feed([stream])
    assert feed([stream[i : i + 1] for i in range(len(stream))]) == whole
    assert feed([stream[:cut], stream[cut:]]) == whole
    match whole:
        case ProxiedClient(_, rest):
            assert stream.endswith(rest)
        case Header.INCOMPLETE:
            assert len(stream) < 16 + 216 + 4096


Host = ipaddress.IPv4Address | ipaddress.IPv6Address
hosts = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
ports = st.integers(0, 65535)


@given(hosts, ports, ports, st.binary(max_size=9))
def test_every_address(between: tuple[Host, Host], source_port: int, port: int, rest: bytes) -> None:
    source, destination = between
    told = str(getattr(source, "ipv4_mapped", None) or source)
    line = f"PROXY TCP{source.version} {source} {destination} {source_port} {port}\r\n".encode()
    assert parse(line + rest) == ProxiedClient(told, rest)
    block = source.packed + destination.packed + struct.pack("!HH", source_port, port)
    assert parse(summed(0x11 if source.version == 4 else 0x21, block) + rest) == ProxiedClient(told, rest)
