"""The handling that a client asks for with parameters of MAIL, as it comes to the spool."""

import pytest

from mailserver.mail.address import Address
from mailserver.mail.handling import LONGEST_HOLD, USUAL, DeliveryDeadline, Handling, write_date
from mailserver.mail.verdict import INVALID_ARGUMENTS, Refuse
from mailserver.reception.receiver import MailReceiver
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Client
from tests.support.fakes import stand_in
from tests.support.net.fakes import FakeRouter, FakeSpool

ALICE = Address("alice", "example.org")
NOW = 1_900_000_000.0


def receiver() -> MailReceiver:
    return MailReceiver(
        Reception(stand_in(FakeRouter()), stand_in(FakeSpool()), hostname="mail.example.org", now=lambda: NOW)
    )


@pytest.mark.parametrize(
    ("parameters", "handling"),
    [
        ({}, USUAL),
        ({"SIZE": "3", "BODY": "7BIT"}, USUAL),
        ({"MT-PRIORITY": "0"}, USUAL),
        ({"MT-PRIORITY": "-7"}, Handling(-7)),
        ({"REQUIRETLS": None}, Handling(require_tls=True)),
        ({"SMTPUTF8": None}, Handling(utf8=True)),
        ({"BODY": "binaryMime"}, Handling(binary=True)),
        ({"BODY": "8BITMIME"}, USUAL),
        ({"HOLDFOR": "60"}, Handling(release=NOW + 60)),
        ({"HOLDFOR": "0"}, USUAL),
        ({"HOLDUNTIL": write_date(NOW + 60)}, Handling(release=NOW + 60)),
        ({"HOLDUNTIL": "2001-01-01T00:00:00Z"}, USUAL),
        ({"BY": "60;rt"}, Handling(deadline=DeliveryDeadline(NOW + 60, "R", True))),
        ({"BY": "-60;N"}, Handling(deadline=DeliveryDeadline(NOW - 60, "N"))),
        (
            {"BY": "61;R", "HOLDFOR": "60"},
            Handling(release=NOW + 60, deadline=DeliveryDeadline(NOW + 61, "R")),
        ),
    ],
)
def test_the_envelope_has_it(parameters: dict[str, str | None], handling: Handling) -> None:
    one = receiver()
    one.sender(Client(), ALICE, parameters)
    one.recipient(ALICE, {})
    assert one.transaction is not None
    assert one.transaction.envelope().handling == handling
    assert (one.transaction.envelope().handling is USUAL) == (handling == USUAL)


@pytest.mark.parametrize(
    "parameters",
    [
        {"HOLDFOR": "60", "HOLDUNTIL": write_date(NOW + 60)},
        {"HOLDUNTIL": write_date(NOW + LONGEST_HOLD + 1)},
        {"HOLDUNTIL": "9999-12-31T23:59:59-12:00"},
        {"BY": "60;R", "HOLDFOR": "60"},
    ],
)
def test_times_that_cannot_be(parameters: dict[str, str | None]) -> None:
    one = receiver()
    one.sender(Client(), ALICE, {})
    verdict = one.sender(Client(), ALICE, parameters)
    assert isinstance(verdict, Refuse) and verdict.status == INVALID_ARGUMENTS
    assert one.transaction is None


def test_the_original_recipient_is_kept_in_ascii() -> None:
    one = receiver()
    one.sender(Client(), ALICE, {"SMTPUTF8": None})
    one.recipient(ALICE, {"ORCPT": "utf-8;zo\u00eb@x.example"})
    assert one.transaction is not None
    assert one.transaction.envelope().reports[ALICE].orcpt == "utf-8;zo\\x{EB}@x.example"
