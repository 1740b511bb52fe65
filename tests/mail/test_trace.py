"""What the server writes in front of a message, and what it reads of its head."""

import email.utils
import itertools

from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Address
from mailserver.mail.head import HeadScanner
from mailserver.mail.ids import new_id
from mailserver.mail.trace import final_delivery, received

ALICE = Address("alice", "example.org")
BOB = Address("bob", "example.org")


def field(recipients: tuple[Address, ...], client_ip: str = "192.0.2.1") -> bytes:
    return received(
        helo="client.example",
        client_ip=client_ip,
        hostname="mail.example.org",
        protocol="ESMTP",
        id="1m81yw237y5dnr66",
        recipients=recipients,
        when=1795362261.0,
    )


def test_received_names_a_single_recipient() -> None:
    text = field((ALICE,)).decode()
    head, _, date = text.rpartition(";\r\n\t")
    assert head == (
        "Received: from client.example ([192.0.2.1])\r\n"
        "\tby mail.example.org with ESMTP id 1m81yw237y5dnr66\r\n"
        "\tfor <alice@example.org>"
    )
    assert date.endswith("\r\n")
    assert email.utils.parsedate_to_datetime(date.strip()).timestamp() == 1795362261.0


def test_received_names_none_of_several_recipients() -> None:
    assert b"alice" not in field((ALICE, BOB))
    assert b"([IPv6:2001:db8::1])" in field((ALICE,), "2001:db8::1")
    assert field((ALICE,), "").startswith(b"Received: from client.example\r\n")


def test_final_delivery() -> None:
    assert final_delivery(None, ALICE) == b"Return-Path: <>\r\nDelivered-To: alice@example.org\r\n"
    assert final_delivery(BOB, ALICE).startswith(b"Return-Path: <bob@example.org>\r\n")


def test_ids_differ_even_at_the_same_moment() -> None:
    ids = {new_id(clock=lambda: 1795362261.0) for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 16 and one.isalnum() for one in ids)
    assert new_id(clock=lambda: 1795362261.0)[:9] < new_id(clock=lambda: 1795362262.0)[:9]


pieces_of_heads = st.lists(
    st.sampled_from(
        [b"Received: x", b"received :", b"RECEIVED", b":", b" ", b"\r\n", b"\r", b"\n", b"X: " + b"y" * 70]
    ),
    max_size=20,
).map(b"".join)


@given(pieces_of_heads, st.data())
def test_hops_are_counted_alike_for_every_chunking(message: bytes, data: st.DataObject) -> None:
    message += b"\r\n\r\nReceived: in the body\r\n"
    whole = HeadScanner()
    whole.feed(message)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=8)))
    cut, single = HeadScanner(), HeadScanner()
    for a, b in itertools.pairwise([0, *cuts, len(message)]):
        cut.feed(message[a:b])
    for i in range(len(message)):
        single.feed(message[i : i + 1])
    head = (b"\r\n" + message).partition(b"\r\n\r\n")[0]
    expected = sum(
        line.partition(b":")[0].rstrip(b" \t").lower() == b"received" and b":" in line
        for line in head.split(b"\r\n")
    )
    assert whole.received == cut.received == single.received == expected
