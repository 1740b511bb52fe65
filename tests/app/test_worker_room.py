"""The room in mailboxes, on any worker."""

import pytest
from twisted.internet.defer import Deferred, succeed

from mailserver.app.workers.room import RoomOfMailboxes
from mailserver.mail.address import Address
from tests.support.fakes import stand_in
from tests.support.peers import peers

ALICE = Address("alice", "example.org")


class Store:
    """Has room for so many octets for certain, and for twice as many perhaps."""

    def __init__(self, octets: int, later: bool) -> None:
        self._octets = octets
        self._later = later

    def has_room(self, mailbox: Address, octets: int) -> "bool | Deferred[bool]":
        return succeed(octets <= self._octets) if self._later else octets <= self._octets


@pytest.mark.parametrize("later", [False, True])
def test_the_first_worker_is_asked_about_what_is_uncertain(later: bool) -> None:
    group = peers(2)
    first, other = (
        RoomOfMailboxes(stand_in(Store(octets, later)), peer)
        for octets, peer in zip((20, 10), group, strict=True)
    )
    found: list[bool] = []
    for room in (first, other):
        for octets in (10, 20, 21):
            answer = room.has_room(ALICE, octets)
            if isinstance(answer, Deferred):
                answer.addCallback(found.append)
            else:
                found.append(answer)
    assert found == [True, True, False] * 2
    assert [value for _, value in group[0].asked] == [(ALICE, 20), (ALICE, 21)]
