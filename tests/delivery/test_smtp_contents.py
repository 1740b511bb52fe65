"""The forms of a content that other servers accept."""

import pytest

from mailserver.mail import outcome
from mailserver.mail.handling import Handling
from mailserver.mail.verdict import Status
from mailserver.smtp.sender.extensions import ServerExtensions
from tests.support.delivery.relaying import (
    Relay,
    ScriptedConnection,
    recipient,
)

MX1, MX2 = "mx1.example.net[198.41.0.4]", "mx2.example.net[199.9.14.201]"


@pytest.mark.parametrize(
    ("text", "eight_bit", "utf8"),
    [
        (b"Subject: x\r\n\r\nna\xc3\xafve\r\n", True, False),
        (b"Subject: na\xc3\xafve\r\n\r\nx\r\n", True, True),
        (b"Subject: x\r\n\r\nx\r\n", False, False),
        (b"Subject: na\xc3\xafve\r\n", True, True),
    ],
)
@pytest.mark.parametrize("more", [0, 100_000])
def test_what_the_content_needs(text: bytes, eight_bit: bool, utf8: bool, more: int) -> None:
    relay = Relay()
    whole = text + b"x" * more
    assert isinstance(relay.outcome(text=whole), outcome.Delivered)
    [(mail, content)] = relay.dialler.made[0].sent
    assert (mail.eight_bit, mail.utf8) == (eight_bit, utf8)
    assert content == whole


def test_a_server_without_8bitmime_gets_7_bit() -> None:
    seven = ScriptedConnection(MX1, [], ServerExtensions())
    relay = Relay(scripts={"mx1.example.net": [seven]})
    text = (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nna\xc3\xafve\r\n"
    )
    assert isinstance(relay.outcome(recipient("bob", head=b"X: 1\r\n"), text=text), outcome.Delivered)
    [(mail, content)] = seven.sent
    assert content.startswith(b"X: 1\r\n") and content.endswith(b"\r\nbmHDr3ZlDQo=\r\n")
    assert (mail.eight_bit, mail.size) == (False, len(content))


def test_a_server_without_smtputf8_gets_8_bit_headers() -> None:
    """Nothing converts them, and they are older than SMTPUTF8."""
    text = b"Subject: na\xc3\xafve\r\n\r\n"
    eight = ScriptedConnection(MX1, [], ServerExtensions(eight_bit=True))
    found = Relay(scripts={"mx1.example.net": [eight]}).outcome(text=text)
    [(mail, content)] = eight.sent
    assert (type(found), mail.eight_bit, mail.utf8, content) == (outcome.Delivered, True, False, text)
    seven = ScriptedConnection(MX1, [], ServerExtensions())
    found = Relay(scripts={"mx1.example.net": [seven]}).outcome(text=text)
    assert isinstance(found, outcome.Failed)
    assert (found.status, seven.sent) == (Status(6, 3), [])


@pytest.mark.parametrize("text", [b"Subject: x\r\n\r\nx\r\n", b"Subject: na\xc3\xafve\r\n\r\nx\r\n"])
@pytest.mark.parametrize("offered", [True, False])
def test_a_message_with_smtputf8_needs_it_for_its_header(text: bytes, offered: bool) -> None:
    """The session rejects it where the server does not offer it: see the dialogues."""
    far = ScriptedConnection(MX1, [], ServerExtensions(eight_bit=True, utf8=offered))
    Relay(scripts={"mx1.example.net": [far]}).outcome(text=text, handling=Handling(utf8=True))
    [(mail, _)] = far.sent
    assert mail.utf8 == (not text.isascii())


BINARY = b"Content-Type: image/x-test\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n.\n\r"


def test_a_server_with_binarymime_gets_binary_content() -> None:
    far = ScriptedConnection(MX1, [], ServerExtensions(pipelining=True, chunking=True, binary=True))
    relay = Relay(scripts={"mx1.example.net": [far]})
    assert isinstance(relay.outcome(text=BINARY, handling=Handling(binary=True)), outcome.Delivered)
    [(mail, content)] = far.sent
    assert mail.binary and content == BINARY


def test_a_server_without_binarymime_gets_7_bit_or_nothing() -> None:
    far = ScriptedConnection(MX1, [], ServerExtensions(chunking=True, eight_bit=True))
    relay = Relay(scripts={"mx1.example.net": [far]})
    assert isinstance(relay.outcome(text=BINARY, handling=Handling(binary=True)), outcome.Delivered)
    [(mail, content)] = far.sent
    assert (mail.binary, mail.eight_bit) == (False, False)
    assert b"Content-Transfer-Encoding: base64\r\n" in content and content.endswith(b"\r\n\r\nAAouCg0=\r\n")
    signed = b"Content-Type: multipart/signed; boundary=b\r\n\r\na\nb\r\n"
    found = relay.outcome(text=signed, handling=Handling(binary=True))
    assert isinstance(found, outcome.Failed)
    assert (found.status, len(far.sent)) == (Status(6, 3), 1)
    assert "(BINARYMIME)" in found.text


def test_a_message_that_cannot_be_converted() -> None:
    seven = ScriptedConnection(MX1, [], ServerExtensions())
    relay = Relay(scripts={"mx1.example.net": [seven]})
    found = relay.outcome(text=b"Content-Type: multipart/signed; boundary=b\r\n\r\n\xff\r\n")
    assert isinstance(found, outcome.Failed)
    assert (found.status, found.host, seven.sent) == (Status(6, 3), MX1, [])
    # Nothing is wrong with the connection.
    assert isinstance(relay.outcome(), outcome.Delivered)
    assert len(relay.dialler.dialled) == 1
