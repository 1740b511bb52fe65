"""The room in mailboxes, on any worker."""

from mailserver.app.workers.room import RoomOfMailboxes
from mailserver.mail.address import Address
from mailserver.mail.quota import Quota
from tests.support.fakes import stand_in
from tests.support.peers import peers

ALICE, BOB = Address("alice", "example.org"), Address("bob", "example.org")


class Store:
    """Has room for one octet."""

    def has_room(self, mailbox: Address, octets: int) -> bool:
        return octets <= 1


def test_the_first_worker_knows_mailboxes_with_a_quota() -> None:
    group = peers(2)
    store = stand_in(Store())
    quota_of = {ALICE: Quota(octets=1)}.get
    first, other = (RoomOfMailboxes(store, quota_of, peer) for peer in group)
    assert first.has_room(ALICE, 1) is True
    assert first.has_room(ALICE, 2) is False
    found: list[bool] = []
    for octets in (1, 2):
        other.has_room(ALICE, octets).addCallback(found.append)  # type: ignore[union-attr]
    assert found == [True, False]
    assert other.has_room(BOB, 2) is True
    assert [value for _, value in group[0].asked] == [(ALICE, 1), (ALICE, 2)]
