"""Each mailbox gets one copy of a message, and this is how it is marked."""

import pytest

from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination, Routed
from mailserver.smtp.transaction import Transaction

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
    transaction = Transaction()
    for destinations in routed:
        transaction.add(destinations[0].delivered_to, Routed(destinations))
    assert list(transaction.destinations.values()) == expected
    assert len(transaction.recipients) == len(routed)
