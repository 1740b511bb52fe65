"""The packets, their options, and what a mail server sends."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.errors import FilterFailed
from mailserver.mail.address import Address
from mailserver.policy.milter import commands
from mailserver.policy.milter.options import FilterAction, FilterStep, offer, read_options
from mailserver.policy.milter.packets import MAX_PACKET, PacketReader, packet
from tests.support.milter import answer, options, split

ADDRESS = Address("a b", "example.org")


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=1), st.binary(max_size=40))), st.data())
def test_packets_in_pieces_of_any_size(packets: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    octets = b"".join(answer(*one) for one in packets)
    reader, found = PacketReader(), []
    while octets:
        size = data.draw(st.integers(1, len(octets)))
        found += reader.feed(octets[:size])
        octets = octets[size:]
    assert found == packets


def test_packets_byte_by_byte_and_with_trailing_octets() -> None:
    whole = answer(b"c") + answer(b"h", b"X\0y\0")
    reader = PacketReader()
    found = [one for at in range(len(whole)) for one in reader.feed(whole[at : at + 1])]
    assert found == [(b"c", b""), (b"h", b"X\0y\0")]
    assert list(PacketReader().feed(whole + b"\0\0")) == found


@pytest.mark.parametrize("length", [0, MAX_PACKET + 1, 2**32 - 1])
def test_lengths_that_are_not_allowed(length: int) -> None:
    reader = PacketReader()
    with pytest.raises(FilterFailed, match=f"a packet of {length} octets"):
        list(reader.feed(struct.pack(">I", length)))
    assert list(PacketReader().feed(answer(b"h", b"x" * (MAX_PACKET - 1))))


def test_what_is_offered() -> None:
    ((command, data),) = split(offer())[0]
    version, actions, steps = struct.unpack(">III", data)
    assert (command, version, actions) == (b"O", 6, 0x01 | 0x10 | 0x20)
    # No rejected recipients (0x800), no larger packets (0x10000000 and 0x20000000).
    assert steps == 0x1FF7FF


@pytest.mark.parametrize(
    ("octets", "version", "actions", "steps"),
    [
        (options(), 6, FilterAction.ADD_HEADER | FilterAction.CHANGE_HEADER, FilterStep(0)),
        (
            options(version=2, steps=0x10),
            2,
            FilterAction.ADD_HEADER | FilterAction.CHANGE_HEADER,
            FilterStep.NO_BODY,
        ),
        (options(actions=0x1FF), 6, FilterAction(0x1FF), FilterStep(0)),
        (
            options(steps=0xFFFFFFFF),
            6,
            FilterAction.ADD_HEADER | FilterAction.CHANGE_HEADER,
            FilterStep(0x1FF7FF),
        ),
    ],
)
def test_what_a_filter_chooses(octets: bytes, version: int, actions: FilterAction, steps: FilterStep) -> None:
    for trailing in (b"", b"\0\0\0\1{auth_type}\0"):
        ((command, data),) = split(octets)[0]
        found = read_options(command, data + trailing)
        assert (found.version, found.actions, found.steps) == (version, actions, steps)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (answer(b"c"), "no valid answer"),
        (answer(b"O", b"\0" * 11), "no valid answer"),
        (options(version=1), "protocol version 1"),
        (options(version=7), "protocol version 7"),
    ],
)
def test_no_negotiation(octets: bytes, text: str) -> None:
    ((command, data),) = split(octets)[0]
    with pytest.raises(FilterFailed, match=text):
        read_options(command, data)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (commands.connect("192.0.2.1"), (b"C", b"[192.0.2.1]\x004\0\x00192.0.2.1\0")),
        (commands.connect("2001:db8::1"), (b"C", b"[IPv6:2001:db8::1]\x006\0\0IPv6:2001:db8::1\0")),
        (commands.connect("fe80::1%eth0"), (b"C", b"[IPv6:fe80::1]\x006\0\0IPv6:fe80::1\0")),
        (commands.helo("client.example"), (b"H", b"client.example\0")),
        (commands.helo("a\0b\udcff"), (b"H", b"ab\xff\0")),
        (commands.mail(None, {}), (b"M", b"<>\0")),
        (
            commands.mail(ADDRESS, {"SIZE": "12", "SMTPUTF8": None}),
            (b"M", b'<"a b"@example.org>\0SIZE=12\0SMTPUTF8\0'),
        ),
        (commands.rcpt(Address("é", "example.org"), {}), (b"R", "<é@example.org>\0".encode())),
        (commands.header(b"Subject", b" a\n\tb\0c"), (b"L", b"Subject\0 a\n\tbc\0")),
        (commands.body(b"a\0b"), (b"B", b"a\0b")),
        (commands.ABORT, (b"A", b"")),
        (
            commands.macros(b"M", {"i": "7", "mail_addr": "a@b", "auth_authen": ""}),
            (b"D", b"Mi\x007\0{mail_addr}\0a@b\0"),
        ),
        (packet(b"N"), (b"N", b"")),
    ],
)
def test_what_a_mail_server_sends(octets: bytes, expected: tuple[bytes, bytes]) -> None:
    assert split(octets) == ([expected], b"")
