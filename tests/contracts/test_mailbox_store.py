"""What every mailbox engine does, whatever it keeps the mail in."""

import pytest
from zope.interface.verify import verifyObject

from mailserver.errors import MaildropInUse, MessageVanished, StorageError
from mailserver.interfaces import (
    Delivery,
    IMailboxStore,
    IMailboxView,
    IMaildrop,
    IMessageReader,
    IStoredMessage,
)
from mailserver.mail.address import Address
from tests.support.store.messages import (
    ALICE,
    BOB,
    CAROL,
    MESSAGE,
    Broken,
    Content,
    as_sent,
    contents,
    deliver_to,
    look,
    octets,
    to,
    together,
)

LARGE = 10 * 1024 * 1024


def test_interfaces(store, wait):
    assert verifyObject(IMailboxStore, store)
    wait(deliver_to(store, Content(b"x" * 300_000), to(ALICE)))
    drop = wait(store.maildrop(ALICE))
    assert verifyObject(IMaildrop, drop)
    message = wait(drop.read(0))
    assert verifyObject(IStoredMessage, message)
    assert verifyObject(IMessageReader, message.open())
    drop.release()
    assert verifyObject(IMailboxView, wait(store.browse(ALICE)))


def test_a_mailbox_that_nobody_has_written_to_is_empty(store, wait):
    drop = wait(store.maildrop(ALICE))
    assert list(drop.messages) == []
    assert wait(drop.remove([])) == frozenset()
    drop.release()


def test_a_message_is_there_when_its_delivery_fires(store, wait):
    wait(deliver_to(store, Content(MESSAGE), to(ALICE)))
    assert look(wait, store, ALICE) == [MESSAGE]
    assert look(wait, store, BOB) == []


def test_a_listing_that_was_seen_before_does_not_hide_a_message(store, wait):
    for number in range(5):
        wait(deliver_to(store, Content(b"%d\r\n" % number), to(ALICE)))
        assert len(look(wait, store, ALICE)) == number + 1


def test_each_copy_has_its_own_head(store, wait):
    heads = [Delivery(ALICE, b"To: a\r\n"), Delivery(BOB, b"To: b\r\n"), Delivery(ALICE, b"")]
    wait(deliver_to(store, Content(MESSAGE), heads))
    assert sorted(look(wait, store, ALICE)) == [MESSAGE, b"To: a\r\n" + MESSAGE]
    assert look(wait, store, BOB) == [b"To: b\r\n" + MESSAGE]


def test_a_delivery_to_nobody(store, wait):
    assert wait(deliver_to(store, Content(MESSAGE), [])) is None


def test_messages_stand_in_the_order_of_their_deliveries(store, wait):
    sent = [b"%d\r\n" % number for number in range(30)]
    wait(together([deliver_to(store, Content(data), to(ALICE)) for data in sent]))
    assert look(wait, store, ALICE) == sent


def test_upper_and_lower_case_are_one_mailbox(store, wait):
    wait(deliver_to(store, Content(MESSAGE), to(Address("Alice", "example.org"))))
    assert look(wait, store, Address("aLICE", "example.org")) == [MESSAGE]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"\n",
        b"\r",
        b"x",
        b"no line end at the end",
        b"half a line end\r",
        b"bare\nline\nfeeds\r\n",
        b"ends in a bare one\n",
        b"bare\rreturns\r\r\n",
        b".\r\n..\r\n.dots\r\n",
        bytes(range(256)) * 5,
        b"\x00" * 100,
        b"x" * (256 * 1024) + b"\r\n",
        b"line\n" * 60_000,
        b"\r\n" * 200_000 + b"end",
    ],
    ids=lambda data: f"{data[:20]!r} and {len(data)}",
)
@pytest.mark.parametrize("head", [b"", b"Received: x\r\n"])
def test_what_is_read_is_what_was_delivered(engine, wait, data, head):
    wait(deliver_to(engine.store, Content(data, piece=4999), to(ALICE, head=head)))
    assert look(wait, engine.store, ALICE) == [head + data]
    engine.reopen()
    assert look(wait, engine.store, ALICE) == [head + data]


def test_a_large_message_comes_in_pieces_any_number_of_times(store, wait):
    data = bytes(range(256)) * (LARGE // 256)
    wait(deliver_to(store, Content(data), to(ALICE)))
    drop = wait(store.maildrop(ALICE))
    assert drop.messages[0].size == as_sent(data)
    content = wait(drop.read(0))
    assert not isinstance(content, bytes)
    assert octets(content) == data
    assert octets(content) == data
    # A reader may stop early.
    reader = content.open()
    pieces = [reader.read(), reader.read_nowait() or reader.read()]
    assert data.startswith(b"".join(pieces))
    assert all(pieces)
    reader.close()
    drop.release()


def test_a_mailbox_is_browsed_while_a_session_has_its_maildrop(store, wait):
    large = b"x" * 300_000
    wait(deliver_to(store, Content(MESSAGE), to(ALICE)))
    drop = wait(store.maildrop(ALICE))
    views = [wait(store.browse(Address("ALICE", "example.org"))) for _ in range(2)]
    for view in views:
        assert list(view.messages) == list(drop.messages)
        assert contents(wait, view) == [MESSAGE]
    wait(deliver_to(store, Content(large), to(ALICE)))
    assert len(views[0].messages) == 1
    assert contents(wait, wait(store.browse(ALICE))) == [MESSAGE, large]
    wait(drop.remove([0]))
    drop.release()
    with pytest.raises(MessageVanished):
        wait(views[0].read(0))
    assert contents(wait, wait(store.browse(ALICE))) == [large]
    # Nobody who browses keeps a session out.
    wait(store.maildrop(ALICE)).release()
    assert list(wait(store.browse(BOB)).messages) == []


def test_one_message_to_fifty_mailboxes(store, wait):
    mailboxes = [Address(f"user{number}", "example.org") for number in range(50)]
    wait(deliver_to(store, Content(MESSAGE), to(*mailboxes)))
    assert [look(wait, store, mailbox) for mailbox in mailboxes] == [[MESSAGE]] * 50


@pytest.mark.parametrize("error", [StorageError("gone"), LookupError("a bug")], ids=str)
def test_content_that_fails_is_in_no_mailbox(store, wait, error):
    with pytest.raises(type(error)):
        wait(deliver_to(store, Broken(error), to(ALICE, BOB, CAROL)))
    assert [look(wait, store, mailbox) for mailbox in (ALICE, BOB, CAROL)] == [[], [], []]
    wait(deliver_to(store, Content(MESSAGE), to(ALICE)))
    assert look(wait, store, ALICE) == [MESSAGE]


@pytest.mark.parametrize("size", [len(MESSAGE) - 1, len(MESSAGE) + 1])
def test_content_that_is_not_as_long_as_it_says_is_refused(store, wait, size):
    content = Content(MESSAGE)
    content.size = size
    with pytest.raises(StorageError):
        wait(deliver_to(store, content, to(ALICE, BOB)))
    assert look(wait, store, ALICE) == look(wait, store, BOB) == []


def test_what_is_staged_is_seen_when_it_is_published_or_never(store, wait):
    one, two = [(Content(MESSAGE), to(ALICE, BOB)), (Content(b"two\r\n"), to(ALICE))]
    published, discarded = store.writer.stage([one, two])
    assert look(wait, store, ALICE) == []
    store.writer.discard(discarded.copies)
    assert store.writer.publish(published.copies) == {}
    assert look(wait, store, ALICE) == look(wait, store, BOB) == [MESSAGE]
    drop = wait(store.maildrop(ALICE))
    drop.release()
    assert [message.uid for message in drop.messages] == [
        copy.uid for copy in published.copies if "example.org/alice" in copy.mailboxes
    ]
    assert store.writer.sync(published.copies) == []
    store.writer.forget(published.copies)
    assert look(wait, store, ALICE) == look(wait, store, BOB) == [MESSAGE]


def test_deliveries_that_come_together_are_all_there_once(store, wait):
    mailboxes = [ALICE, BOB, CAROL]
    sent = [b"message %d\r\n" % number for number in range(300)]
    deferreds = [deliver_to(store, Content(data), to(mailboxes[n % 3])) for n, data in enumerate(sent)]
    deferreds.insert(150, deliver_to(store, Broken(StorageError("gone")), to(*mailboxes)))
    results = wait(together(deferreds))
    assert next(result for result in results if result is not None).check(StorageError)
    assert results.count(None) == 300
    for number, mailbox in enumerate(mailboxes):
        assert look(wait, store, mailbox) == sent[number::3]


def test_one_session_at_a_time(store, wait):
    drop = wait(store.maildrop(ALICE))
    with pytest.raises(MaildropInUse):
        wait(store.maildrop(ALICE))
    with pytest.raises(MaildropInUse):
        wait(store.maildrop(Address("ALICE", "example.org")))
    other = wait(store.maildrop(BOB))
    drop.release()
    drop.release()
    second = wait(store.maildrop(ALICE))
    drop.release()
    with pytest.raises(MaildropInUse):
        wait(store.maildrop(ALICE))
    second.release()
    other.release()


def test_two_sessions_that_ask_at_once(store, wait):
    results = wait(together([store.maildrop(ALICE), store.maildrop(ALICE)]))
    drops = [result for result in results if IMaildrop.providedBy(result)]
    assert len(drops) == 1
    assert {True} == {result.check(MaildropInUse) is not None for result in results if result not in drops}
    drops[0].release()


def test_after_its_release_a_maildrop_gives_nothing_more(store, wait):
    wait(deliver_to(store, Content(MESSAGE), to(ALICE)))
    drop = wait(store.maildrop(ALICE))
    drop.release()
    with pytest.raises(StorageError):
        wait(drop.read(0))
    with pytest.raises(StorageError):
        wait(drop.remove([0]))
    assert look(wait, store, ALICE) == [MESSAGE]


def test_a_snapshot_does_not_change(store, wait):
    wait(deliver_to(store, Content(b"old\r\n"), to(ALICE)))
    drop = wait(store.maildrop(ALICE))
    before = list(drop.messages)
    wait(deliver_to(store, Content(b"new\r\n"), to(ALICE)))
    assert list(drop.messages) == before
    assert contents(wait, drop) == [b"old\r\n"]
    assert wait(drop.remove([0])) == frozenset()
    assert list(drop.messages) == before
    with pytest.raises(MessageVanished):
        wait(drop.read(0))
    drop.release()
    assert look(wait, store, ALICE) == [b"new\r\n"]


def test_removal(engine, wait):
    for number in range(6):
        wait(deliver_to(engine.store, Content(b"%d\r\n" % number), to(ALICE)))
    drop = wait(engine.store.maildrop(ALICE))
    uids = [message.uid for message in drop.messages]
    assert wait(drop.remove(iter([0, 2, 5]))) == frozenset()
    assert octets(wait(drop.read(1))) == b"1\r\n"
    # What is gone already counts as removed.
    assert wait(drop.remove([0, 1])) == frozenset()
    drop.release()
    assert look(wait, engine.store, ALICE) == [b"3\r\n", b"4\r\n"]
    engine.reopen()
    wait(deliver_to(engine.store, Content(b"6\r\n"), to(ALICE)))
    drop = wait(engine.store.maildrop(ALICE))
    assert [message.uid for message in drop.messages[:2]] == uids[3:5]
    assert drop.messages[2].uid not in uids
    drop.release()


def test_unique_ids_are_valid_distinct_and_stable(engine, wait):
    for _ in range(20):
        wait(deliver_to(engine.store, Content(MESSAGE), to(ALICE, ALICE)))
    drop = wait(engine.store.maildrop(ALICE))
    uids = [message.uid for message in drop.messages]
    drop.release()
    assert len(set(uids)) == 40
    for uid in uids:
        assert 1 <= len(uid) <= 70
        assert all(0x21 <= ord(character) <= 0x7E for character in uid)
    engine.reopen()
    drop = wait(engine.store.maildrop(ALICE))
    assert [message.uid for message in drop.messages] == uids
    drop.release()


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "/etc/x",
        ".",
        "..",
        "%2e",
        "\x00",
        "a/b",
        " ",
        ";`|\n",
        "ünïcödé",
        "\N{CYRILLIC SMALL LETTER A}lice",
        "a" * 255,
    ],
)
def test_hostile_names_are_mailboxes_like_any_other(store, wait, name):
    mailbox = Address(name, "[IPv6:2001:db8::1]")
    wait(deliver_to(store, Content(MESSAGE), to(mailbox)))
    assert look(wait, store, mailbox) == [MESSAGE]
    assert look(wait, store, ALICE) == []


def test_close_finishes_what_was_begun(engine, wait):
    deferreds = [deliver_to(engine.store, Content(MESSAGE), to(ALICE)) for _ in range(50)]
    deferreds.append(engine.store.close())
    assert wait(together(deferreds)) == [None] * 51
    engine.reopen()
    assert look(wait, engine.store, ALICE) == [MESSAGE] * 50
