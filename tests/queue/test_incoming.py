"""Messages on their way in: kept in memory or beside it, handed on once, forgotten without a trace."""

import errno
import os
from pathlib import Path

import attrs
import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.durable.spill import Spill
from mailserver.errors import StorageError, StorageFull
from mailserver.interfaces import IIncomingMessage, ISpool
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.verdict import Destination
from mailserver.queue.content import AT_ONCE, IN_MEMORY, IN_MEMORY_OF_ALL
from mailserver.queue.incoming import IncomingMessage, deliveries
from mailserver.queue.memory import MemorySpool
from mailserver.queue.spool import Spool
from mailserver.store.memory import MemoryStore
from tests.support.faulty_calls import open_files
from tests.support.reactor import FakeReactor
from tests.support.store.messages import ALICE, BOB

CAROL = Address("carol", "example.org")
SALES = Address("sales", "example.org")
CLUB = Address("club", "example.org")
BOUNCES = Address("club-bounces", "example.org")
TO_SALES = Destination(ALICE, SALES)
DAVE = Address("dave", "example.org")
KIB = 1024
MEMBERS = (Destination(BOB, CLUB, BOUNCES), Destination(CAROL, CLUB, BOUNCES))
ENVELOPE = Envelope("1m81yw237y5dnr66", Address("me", "x.example"), (ALICE,), (Destination(ALICE, ALICE),))


class Taking(Spool):
    """Reads the content when it is taken, and answers when the test says so."""

    content = b""
    deliveries = ()

    def accept(self, content, envelope, deliveries, remote=(), recorded=None, *, together=None):
        self.content = b"".join(content.chunks())
        assert content.size == len(self.content)
        self.deliveries = deliveries
        self.done = Deferred()
        return self.done


@pytest.fixture
def reactor():
    return FakeReactor()


@pytest.fixture
def spool(reactor, tmp_path):
    damaged = DamagedFolder(tmp_path / "damaged", Disk())
    return Taking(MemoryStore(), MemorySpool(), tmp_path, damaged, reactor, first_retry=lambda: 1.0)


@pytest.fixture
def message(spool):
    return spool.receive(ENVELOPE, b"Received: here\r\n")


def test_interfaces(spool, message):
    assert verifyObject(ISpool, spool)
    assert verifyObject(IIncomingMessage, message)


@pytest.mark.parametrize("size", [0, 1, 1000, IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 7])
def test_the_octets_arrive_whole(spool, message, tmp_path, size):
    before = open_files(tmp_path)
    text = os.urandom(size)
    for start in range(0, size, 50000):
        waiting = message.write(text[start : start + 50000])
        assert waiting is None or waiting.called
    fired = []
    message.commit().addBoth(fired.append)
    assert spool.content == text
    assert fired == []
    spool.done.callback(None)
    assert fired == [None]
    assert list(tmp_path.iterdir()) == []
    assert open_files(tmp_path) == before


def destinations(*recipients):
    return tuple(one if isinstance(one, Destination) else Destination(one, one) for one in recipients)


@pytest.mark.parametrize(
    ("recipients", "reverse_path", "heads"),
    [
        # One recipient: it is told, whatever it is.
        ((ALICE,), "me@x.example", ["me@x.example alice"]),
        ((TO_SALES,), "me@x.example", ["me@x.example sales"]),
        (MEMBERS, "me@x.example", ["club-bounces@example.org club"] * 2),
        ((ALICE,), None, [" alice"]),
        (MEMBERS, None, [" club"] * 2),
        # Several: only a name that is not the mailbox's own.
        ((ALICE, BOB), "me@x.example", ["me@x.example"] * 2),
        ((TO_SALES, BOB), "me@x.example", ["me@x.example sales", "me@x.example"]),
        ((ALICE, *MEMBERS), "me@x.example", ["me@x.example", *["club-bounces@example.org club"] * 2]),
        ((Destination(ALICE, Address("Alice", "example.org")), BOB), "me@x.example", ["me@x.example"] * 2),
        (
            (Destination(ALICE, Address("alice+x", "example.org")), BOB),
            "me@x.example",
            ["me@x.example alice+x", "me@x.example"],
        ),
    ],
)
def test_heads(spool, recipients, reverse_path, heads):
    ends = destinations(*recipients)
    envelope = Envelope(
        "id",
        Address.parse(reverse_path) if reverse_path else None,
        tuple(dict.fromkeys(end.delivered_to for end in ends)),
        ends,
    )
    spool.receive(envelope, b": here\r\n").commit(b"Received")
    assert [delivery.mailbox for delivery in spool.deliveries] == [end.mailbox for end in ends]
    expected = []
    for head in heads:
        path, _, name = head.partition(" ")
        delivered_to = f"Delivered-To: {name}@example.org\r\n" if name else ""
        expected.append(f"Return-Path: <{path}>\r\n{delivered_to}Received: here\r\n".encode())
    assert [delivery.head for delivery in spool.deliveries] == expected


@pytest.mark.parametrize(
    ("recipients", "size", "heads"),
    [
        # 200 mailboxes by 200 other names: small messages are copied, large ones shared.
        ([Destination(Address(f"u{n}", "x"), Address(f"u{n}+d", "x")) for n in range(200)], 5 * KIB, 200),
        ([Destination(Address(f"u{n}", "x"), Address(f"u{n}+d", "x")) for n in range(200)], 6 * KIB, 1),
        ([Destination(Address(f"u{n}", "x"), Address(f"u{n}+d", "x")) for n in range(200)], 40 * KIB**2, 1),
        # The only name among the recipients stays.
        ([Destination(Address(f"u{n}", "x"), SALES) for n in range(200)], 40 * KIB**2, 1),
        # Each list keeps its own reverse-path, and the name of the list.
        ([ALICE, *MEMBERS], 40 * KIB**2, 2),
        ([*MEMBERS, Destination(ALICE, SALES), Destination(DAVE, Address("x", "x"))], 40 * KIB**2, 2),
        ([*MEMBERS, Destination(ALICE, SALES), Destination(DAVE, Address("x", "x"))], 4 * KIB, 3),
    ],
)
def test_large_copies_share_their_head(recipients, size, heads):
    ends = destinations(*recipients)
    names = tuple(dict.fromkeys(end.delivered_to for end in ends))
    found = deliveries(Envelope("id", ENVELOPE.reverse_path, names, ends), b"Received: here\r\n", size)
    assert [delivery.mailbox for delivery in found] == [end.mailbox for end in ends]
    assert len({delivery.head for delivery in found}) == heads
    for delivery, end in zip(found, ends, strict=True):
        if end in MEMBERS:
            assert b"club-bounces" in delivery.head and b"Delivered-To: club@" in delivery.head


@pytest.mark.parametrize(("names", "marked"), [((ALICE,), True), ((ALICE, SALES), False)])
def test_one_mailbox_is_named_to_a_single_recipient(names, marked):
    (delivery,) = deliveries(Envelope("id", None, names, destinations(ALICE)), b"Received: here\r\n", 1)
    assert (b"Delivered-To: " in delivery.head) == marked


def test_a_list_gets_its_own_bounces_but_not_those_of_a_bounce():
    assert ENVELOPE.reverse_path_for(MEMBERS[0]) == BOUNCES
    assert ENVELOPE.reverse_path_for(TO_SALES) == ENVELOPE.reverse_path
    assert attrs.evolve(ENVELOPE, reverse_path=None).reverse_path_for(MEMBERS[0]) is None


def test_a_failure_is_handed_on(spool, message, tmp_path):
    failed = []
    message.write(b"x" * IN_MEMORY)
    before = open_files(tmp_path)
    message.commit().addErrback(failed.append)
    spool.done.errback(StorageFull("no room"))
    assert failed[0].type is StorageFull
    assert len(open_files(tmp_path)) == len(before) - 1


def test_an_abandoned_message_leaves_nothing(spool, message, tmp_path):
    before = open_files(tmp_path)
    message.write(b"x" * IN_MEMORY)
    assert len(open_files(tmp_path)) == len(before) + 1
    message.abandon()
    assert open_files(tmp_path) == before
    assert list(tmp_path.iterdir()) == []
    assert spool.deliveries == ()


@pytest.mark.parametrize("end", [IncomingMessage.abandon, IncomingMessage.commit])
def test_messages_share_the_memory_and_give_it_back(spool, end, tmp_path):
    part = b"x" * AT_ONCE
    before = open_files(tmp_path)
    for _ in range(2):
        messages = [spool.receive(ENVELOPE, b"") for _ in range(IN_MEMORY_OF_ALL // IN_MEMORY)]
        for message in messages:
            for _ in range(IN_MEMORY // AT_ONCE - 1):
                assert message.write(part) is None
        rest = spool.receive(ENVELOPE, b"")
        while rest.write(part) is None:
            assert open_files(tmp_path) == before
        small = spool.receive(ENVELOPE, b"")
        assert small.write(b"y") is None
        assert len(open_files(tmp_path)) == len(before) + 1
        rest.write(b"the end")
        rest.commit()
        assert spool.content.endswith(b"xthe end")
        assert spool.content.count(b"x") == len(spool.content) - len(b"the end")
        spool.done.callback(None)
        for message in messages:
            if end(message) is not None:
                spool.done.callback(None)
        small.abandon()
        assert open_files(tmp_path) == before


def test_tiny_pieces_count_for_the_memory_they_take(message, tmp_path):
    before = open_files(tmp_path)
    for _ in range(IN_MEMORY // 48):
        message.write(b"xy")
    assert len(open_files(tmp_path)) == len(before) + 1
    message.abandon()


def test_abandoned_while_a_thread_writes(message, reactor, tmp_path):
    before = open_files(tmp_path)
    reactor.held = True
    waiting = message.write(b"x" * IN_MEMORY)
    assert waiting is not None and not waiting.called
    message.abandon()
    reactor.run_threads()
    assert waiting.called
    assert open_files(tmp_path) == before


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StorageError)]
)
@pytest.mark.parametrize("where", ["__init__", "append"])
def test_a_failing_disk_is_told_at_the_end(spool, message, monkeypatch, number, kind, where, tmp_path):
    def broken(*args):
        raise OSError(number, os.strerror(number))

    before = open_files(tmp_path)
    monkeypatch.setattr(Spill, where, broken)
    for _ in range(3):
        waiting = message.write(b"x" * IN_MEMORY)
        assert waiting is None or waiting.called
    failed = []
    message.commit().addErrback(failed.append)
    assert failed[0].type is kind
    assert spool.deliveries == ()
    assert open_files(tmp_path) == before


def test_the_reserve_is_told_at_the_end(tmp_path, reactor):
    """``check_room`` is asked before each piece that goes to the disk, and never for what does not."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    asked = []

    def check_room():
        asked.append(True)
        raise full

    damaged = DamagedFolder(Path(tmp_path / "damaged"), Disk())
    spool = Taking(
        MemoryStore(),
        MemorySpool(),
        tmp_path,
        damaged,
        reactor,
        first_retry=lambda: 1.0,
        check_room=check_room,
    )
    small, large = spool.receive(ENVELOPE, b""), spool.receive(ENVELOPE, b"")
    small.write(b"x" * 1000)
    small.commit()
    assert (spool.content, asked) == (b"x" * 1000, [])
    large.write(b"x" * (IN_MEMORY + 1))
    failed = []
    large.commit().addErrback(failed.append)  # type: ignore[call-overload]
    assert (failed[0].type, asked) == (StorageFull, [True])
