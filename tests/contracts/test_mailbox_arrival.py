"""When messages came, in every mailbox engine."""

import time

from tests.support.store.messages import ALICE, BOB, Content, deliver_to, to


def test_the_time_of_arrival(store, wait):
    began = time.time() - 1  # the clock of a folder is coarse
    assert not wait(store.has_before(BOB, began + 10))
    for _ in range(3):
        wait(deliver_to(store, Content(b"x\r\n"), to(ALICE)))
    drop = wait(store.maildrop(ALICE))
    for when, due in ((began, []), (time.time() + 1, [0, 1, 2])):
        assert list(wait(drop.arrived_before(when))) == due
        assert wait(store.has_before(ALICE, when)) == bool(due)
    for view in (drop, wait(store.browse(ALICE))):
        assert all(began <= wait(view.arrived(index)) <= time.time() + 1 for index in range(3))
    wait(drop.remove([0, 2]))
    drop.release()
    drop = wait(store.maildrop(ALICE))
    assert list(wait(drop.arrived_before(time.time() + 1))) == [0]
    drop.release()
