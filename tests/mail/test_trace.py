"""What the server writes in front of a message, and what it reads of its head."""

import email.utils
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Address
from mailserver.mail.head import HeadScanner
from mailserver.mail.ids import new_id
from mailserver.mail.trace import final_delivery, received

ALICE = Address("alice", "example.org")
BOB = Address("bob", "example.org")


def field(recipients: tuple[Address, ...], client_ip: str = "192.0.2.1", **changes: object) -> bytes:
    given = {
        "helo": "client.example",
        "client_ip": client_ip,
        "hostname": "mail.example.org",
        "protocol": "ESMTP",
        "id": "1m81yw237y5dnr66",
        "recipients": recipients,
        "when": 1795362261.0,
    }
    return received(**{**given, **changes})  # type: ignore[arg-type]


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


def test_received_never_names_a_recipient_outside_ascii() -> None:
    assert field((Address("zo\u00eb", "example.org"),), protocol="UTF8SMTP").isascii()


TLS = "TLSv1.3 with TLS_AES_256_GCM_SHA384"


def test_received_tells_of_tls_in_a_comment() -> None:
    text = field((ALICE,), protocol="ESMTPSA", tls=TLS).decode()
    assert text.startswith(
        "Received: from client.example ([192.0.2.1])\r\n"
        "\tby mail.example.org with ESMTPSA id 1m81yw237y5dnr66\r\n"
        "\t(TLSv1.3 with TLS_AES_256_GCM_SHA384)\r\n"
        "\tfor <alice@example.org>;\r\n"
    )
    assert "\r\n\t(TLSv1.3 with TLS_AES_256_GCM_SHA384);\r\n\t" in field((ALICE, BOB), tls=TLS).decode()


@pytest.mark.parametrize(
    ("helo", "written"),
    [
        ("M\u00dcLLER-PC", "M%C3%9CLLER-PC"),
        ("M\udcdcLLER-PC", "M%DCLLER-PC"),
        ("b\udcfcro [\udc9a]", "b%FCro%20%5B%9A%5D"),
        ("localhost.(none)", "localhost.%28none%29"),
        ("[fe80::1%eth0]", "[fe80::1%25eth0]"),
        ("Bob's-MacBook.local", "Bob's-MacBook.local"),
        ("my pc", "my%20pc"),
        ("%COMPUTERNAME%", "%25COMPUTERNAME%25"),
        ("host.example.", "host.example%2E"),
        (".a..b", "%2Ea%2E.b"),
        ("2001:db8::9", "2001%3Adb8%3A%3A9"),
        ("user@host", "user%40host"),
        ("[c=~/:_]", "[c=~/:_]"),
        ("[a] by [b]", "[a%5D%20by%20%5Bb]"),
        ("x) by y (", "x%29%20by%20y%20%28"),
        ("a\tb", "a%09b"),
        ("\u00fc" * 300, "%C3%BC" * 127 + "%C3"),
        ("", "[192.0.2.1]"),
    ],
)
def test_a_name_that_is_no_host_name_is_escaped(helo: str, written: str) -> None:
    assert field((ALICE, BOB), helo=helo).startswith(f"Received: from {written} ([192.0.2.1])\r\n".encode())


def test_a_client_that_is_nobody_is_unknown() -> None:
    assert field((ALICE,), "", helo="").startswith(b"Received: from unknown\r\n")


@given(st.text(max_size=300))
def test_any_name_is_one_word_of_the_field(helo: str) -> None:
    first, second, *_ = field((ALICE,), helo=helo).decode("ascii").split("\r\n")
    assert re.fullmatch(r"Received: from [!-'*+\--9=?A-Z^-~\[\]:]+ \(\[192\.0\.2\.1\]\)", first)
    assert second.startswith("\tby mail.example.org ") and len(first) <= 998


@pytest.mark.parametrize("tls", ["", TLS])
@pytest.mark.parametrize("client_ip", ["192.0.2.1", "2001:db8::1", ""])
def test_received_hides_the_client(client_ip: str, tls: str) -> None:
    text = field((ALICE,), client_ip, protocol="ESMTPSA", tls=tls, hide_client=True).decode()
    assert text.startswith(
        "Received: from mail.example.org\r\n\tby mail.example.org with ESMTPSA id 1m81yw237y5dnr66\r\n"
    )
    assert "client" not in text
    assert "192.0.2.1" not in text
    assert "2001:db8" not in text


# RFC 5321 section 4.4, with CFWS as it is written here: white space, at most one comment.
CFWS = r"(?:\s+(?:\([^()]*\)\s+)?)"
DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
LITERAL = r"\[[0-9A-Za-z.:]+\]"
STAMP = re.compile(
    rf"Received:\s+from\s+(?:{DOMAIN}|{DOMAIN}\s+\({LITERAL}\)|{LITERAL}\s+\({LITERAL}\))"
    rf"{CFWS}by\s+{DOMAIN}{CFWS}with\s+(?:E?SMTP|ESMTPS?A?){CFWS}id\s+[0-9a-z]+"
    rf"(?:{CFWS}for\s+<[^<>]+>)?(?:\s+\([^()]*\))?;\s+"
    r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n"
)


@pytest.mark.parametrize("tls", ["", TLS])
@pytest.mark.parametrize("hide_client", [False, True])
@pytest.mark.parametrize("recipients", [(ALICE,), (ALICE, BOB)])
@pytest.mark.parametrize("helo", ["client.example", "[192.0.2.9]", "[IPv6:2001:db8::9]"])
@pytest.mark.parametrize("client_ip", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("protocol", ["SMTP", "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"])
def test_received_follows_its_grammar(
    protocol: str, client_ip: str, helo: str, recipients: tuple[Address, ...], hide_client: bool, tls: str
) -> None:
    text = field(
        recipients, client_ip, helo=helo, protocol=protocol, hide_client=hide_client, tls=tls
    ).decode()
    assert STAMP.fullmatch(text), text
    # folded: each line after the first begins with white space, none is too long (RFC 5322 section 2.1.1)
    first, *others = text.removesuffix("\r\n").split("\r\n")
    assert all(line.startswith("\t") for line in others)
    assert max(map(len, [first, *others])) <= 78


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
