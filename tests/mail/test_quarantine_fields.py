"""The header fields of a message in the quarantine can be read again, and nobody else can write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope, ReportRequest
from mailserver.mail.quarantine import KeptAside
from mailserver.mail.trace import final_delivery
from mailserver.mail.verdict import Aside

ALICE, BOB, ZOE = (
    Address.parse(f"{name}@example.org")
    for name in ("alice", "bob", "zo\N{LATIN SMALL LETTER E WITH DIAERESIS}")
)
ENVELOPE = Envelope(
    "1m8psbs1asy5gb3w",
    ALICE,
    (BOB, ZOE),
    (),
    "192.0.2.1",
    "HDRS",
    "QQ314159",
    {BOB: ReportRequest("SUCCESS,FAILURE", "rfc822;Bob@example.org")},
)
MESSAGE = b"Received: from x\r\nSubject: hello\r\n\r\nGood morning.\r\n"


@pytest.mark.parametrize("envelope", [ENVELOPE, Envelope("1", None, (BOB,), ())], ids=["mail", "bounce"])
@pytest.mark.parametrize("delivered_to", [None, BOB])
def test_they_are_read_again(envelope: Envelope, delivered_to: Address | None) -> None:
    kept = KeptAside.of(envelope, Aside("looks like a lottery", "policy.dmarc"))
    stored = final_delivery(envelope.reverse_path, delivered_to) + kept.fields + MESSAGE
    found = KeptAside.read(stored)
    assert found is not None
    assert found[0] == kept and stored[found[1] :] == MESSAGE
    assert kept.reason == "looks like a lottery (policy.dmarc)"
    assert max(map(len, kept.fields.split(b"\r\n"))) <= 78


@given(st.text(max_size=600))
def test_a_reason_is_one_line(reason: str) -> None:
    fields = KeptAside.of(ENVELOPE, Aside(reason, "policy")).fields
    assert fields.isascii() and fields.startswith(b"X-Quarantine-Reason: ")
    assert fields.split(b"\r\n")[1] == b"X-Quarantine-Envelope:"
    assert KeptAside.read(fields) is not None


@given(st.binary(max_size=200))
def test_any_octets(data: bytes) -> None:
    assert KeptAside.read(data) is None
    assert KeptAside.read(b"X-Quarantine-Reason: x\r\nX-Quarantine-Envelope:\r\n " + data) is None


def test_fields_that_came_with_a_message_are_not_read() -> None:
    """They stand below the trace field of this server."""
    forged = KeptAside.of(ENVELOPE, Aside("x", "y")).fields
    assert KeptAside.read(final_delivery(ALICE, BOB) + b"Received: from x\r\n" + forged + MESSAGE) is None
