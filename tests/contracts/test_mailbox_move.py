"""Mailboxes that move to other names, in every engine."""

import pytest

from mailserver.errors import StorageRefused
from tests.support.store.messages import ALICE, BOB, Content, contents, deliver_to, to


def fill(store, wait, mailbox, *messages):
    for data in messages:
        wait(deliver_to(store, Content(data), to(mailbox)))


def listed(store, wait, mailbox):
    drop = wait(store.maildrop(mailbox))
    found = dict(zip([message.uid for message in drop.messages], contents(wait, drop), strict=True))
    drop.release()
    return found


def test_messages_keep_their_unique_ids(store, wait):
    fill(store, wait, ALICE, b"one\r\n", b"two\r\n")
    before = listed(store, wait, ALICE)
    store.check_move(ALICE, BOB)
    for _ in range(2):  # repeating it changes nothing
        store.move(ALICE, BOB)
        assert listed(store, wait, BOB) == before
        assert listed(store, wait, ALICE) == {}
    assert len(before) == 2


def test_new_mail_that_came_first_stays(store, wait):
    fill(store, wait, ALICE, b"old\r\n")
    fill(store, wait, BOB, b"new\r\n")
    before = listed(store, wait, ALICE) | listed(store, wait, BOB)
    store.move(ALICE, BOB)
    assert listed(store, wait, BOB) == before


def test_a_mailbox_with_messages_is_no_place(store, wait):
    fill(store, wait, BOB, b"his\r\n")
    with pytest.raises(StorageRefused, match="has messages already"):
        store.check_move(ALICE, BOB)


def test_nothing_moves(store, wait):
    store.check_move(ALICE, BOB)
    store.move(ALICE, BOB)
    assert listed(store, wait, BOB) == {}
