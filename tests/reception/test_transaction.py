"""Each mailbox gets one copy of a message, and this is how it is marked."""

import pytest

from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination, Routed
from mailserver.reception.transaction import Client, Recipient, Transaction

ALICE, BOB = Address("alice", "example.org"), Address("bob", "example.org")


def by(name: str, mailbox: Address, bounces_to: str = "") -> Destination:
    bounces = Address(bounces_to, "example.org") if bounces_to else None
    return Destination(mailbox, Address(name, "example.org"), bounces)


DIRECT, PLUS, ALIAS = by("alice", ALICE), by("alice+x", ALICE), by("sales", ALICE)
CLUB, TEAM = by("club", ALICE, "club-bounces"), by("team", ALICE, "team-bounces")
CLUB_BOB = by("club", BOB, "club-bounces")


@pytest.mark.parametrize(
    ("routed", "expected"),
    [
        ([(DIRECT,), (PLUS,), (ALIAS,)], [DIRECT]),
        ([(PLUS,), (DIRECT,)], [PLUS]),
        ([(CLUB, CLUB_BOB), (DIRECT,)], [DIRECT, CLUB_BOB]),
        ([(CLUB, CLUB_BOB), (ALIAS,)], [ALIAS, CLUB_BOB]),
        ([(DIRECT,), (CLUB, CLUB_BOB)], [DIRECT, CLUB_BOB]),
        ([(CLUB, CLUB_BOB), (TEAM,)], [CLUB, CLUB_BOB]),
        ([(CLUB,), (PLUS,), (DIRECT,), (TEAM,)], [PLUS]),
        ([tuple(by(f"alice+{number}", ALICE) for number in range(200))], [by("alice+0", ALICE)]),
    ],
)
def test_each_mailbox_once(routed: list[tuple[Destination, ...]], expected: list[Destination]) -> None:
    transaction = Transaction("id", "", Client("192.0.2.1"), None, {})
    for destinations in routed:
        recipient = Recipient(destinations[0].delivered_to, Routed(destinations), {})
        transaction = transaction.with_recipient(recipient, b"")
    envelope = transaction.envelope()
    assert list(envelope.destinations) == expected
    assert envelope.recipients == tuple(each[0].delivered_to for each in routed)
    assert (envelope.id, envelope.client) == ("id", "192.0.2.1")


def test_a_recipient_rejects_a_message_if_all_of_its_mailboxes_do() -> None:
    both = Recipient(ALICE, Routed((DIRECT, by("alice", BOB))), {})
    assert not both.is_rejected_by({ALICE}) and both.is_rejected_by({ALICE, BOB})
    assert not Recipient(ALICE, Routed(()), {}).is_rejected_by({ALICE, BOB})
