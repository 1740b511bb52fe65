"""Messages on their way in: kept in memory or beside it, delivered once, forgotten without a trace."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.durable.spill import Spill
from mailserver.errors import StorageError, StorageFull
from mailserver.interfaces import Delivery, IContent
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.verdict import Destination
from mailserver.queue.content import AT_ONCE, IN_MEMORY, IN_MEMORY_OF_ALL
from mailserver.queue.intake import IncomingMessage, Intake
from tests.fake_reactor import FakeReactor

ALICE = Address("alice", "example.org")
BOB = Address("bob", "example.org")
SALES = Address("sales", "example.org")
ENVELOPE = Envelope(
    "1m81yw237y5dnr66",
    Address("me", "x.example"),
    (ALICE, SALES),
    (Destination(ALICE, ALICE), Destination(BOB, SALES)),
)


@attrs.define
class FakeStore:
    """Reads the content when it is delivered, and answers when the test says so."""

    content: bytes = b""
    deliveries: Sequence[Delivery] = ()
    done: Deferred[None] = attrs.field(factory=Deferred)

    def deliver(self, content: IContent, deliveries: Sequence[Delivery]) -> Deferred[None]:
        self.content = b"".join(content.chunks())
        assert content.size == len(self.content)
        self.deliveries = deliveries
        return self.done


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def reactor() -> FakeReactor:
    return FakeReactor()


@pytest.fixture
def message(store: FakeStore, reactor: FakeReactor, tmp_path: Path) -> IncomingMessage:
    return Intake(store, tmp_path, reactor).receive(ENVELOPE, b"Received: here\r\n")  # type: ignore[arg-type]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("size", [0, 1, 1000, IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 7])
def test_the_octets_arrive_whole(
    message: IncomingMessage, store: FakeStore, tmp_path: Path, size: int
) -> None:
    before = open_files()
    text = os.urandom(size)
    for start in range(0, size, 50000):
        waiting = message.write(text[start : start + 50000])
        assert waiting is None or waiting.called
    fired: list[object] = []
    message.commit().addBoth(fired.append)
    assert store.content == text
    assert fired == []
    store.done.callback(None)
    assert fired == [None]
    assert list(tmp_path.iterdir()) == []
    assert open_files() == before


def test_each_destination_gets_its_own_head(message: IncomingMessage, store: FakeStore) -> None:
    message.write(b"Subject: x\r\n")
    message.commit()
    assert [(delivery.mailbox, delivery.head) for delivery in store.deliveries] == [
        (ALICE, b"Return-Path: <me@x.example>\r\nDelivered-To: alice@example.org\r\nReceived: here\r\n"),
        (BOB, b"Return-Path: <me@x.example>\r\nDelivered-To: sales@example.org\r\nReceived: here\r\n"),
    ]


def test_a_list_gets_its_own_bounces_but_not_those_of_a_bounce() -> None:
    to_list = Destination(BOB, SALES, bounces_to=Address("sales-bounces", "example.org"))
    assert str(ENVELOPE.reverse_path_for(to_list)) == "sales-bounces@example.org"
    assert ENVELOPE.reverse_path_for(Destination(ALICE, ALICE)) == ENVELOPE.reverse_path
    assert attrs.evolve(ENVELOPE, reverse_path=None).reverse_path_for(to_list) is None


def test_a_refused_delivery_is_handed_on(message: IncomingMessage, store: FakeStore) -> None:
    failed: list[Failure] = []
    message.write(b"x" * IN_MEMORY)
    before = open_files()
    message.commit().addErrback(failed.append)
    store.done.errback(StorageFull("no room"))
    assert failed[0].type is StorageFull
    assert open_files() == before - 1


def test_an_abandoned_message_leaves_nothing(message: IncomingMessage, tmp_path: Path) -> None:
    before = open_files()
    message.write(b"x" * IN_MEMORY)
    assert open_files() == before + 1
    message.abandon()
    assert open_files() == before
    assert list(tmp_path.iterdir()) == []


def test_messages_share_the_memory_and_give_it_back(store: FakeStore, tmp_path: Path) -> None:
    intake = Intake(store, tmp_path, FakeReactor())  # type: ignore[arg-type]
    part = b"x" * AT_ONCE
    before = open_files()

    def fill() -> list[IncomingMessage]:
        messages = [intake.receive(ENVELOPE, b"") for _ in range(IN_MEMORY_OF_ALL // IN_MEMORY)]
        for message in messages:
            for _ in range(IN_MEMORY // AT_ONCE - 1):
                assert message.write(part) is None
        return messages

    for end in (IncomingMessage.abandon, IncomingMessage.commit):
        messages = fill()
        rest = intake.receive(ENVELOPE, b"")
        while rest.write(part) is None:
            assert open_files() == before
        small = intake.receive(ENVELOPE, b"")
        assert small.write(b"y") is None
        assert open_files() == before + 1
        rest.write(b"the end")
        rest.commit()
        assert store.content == b"x" * (len(store.content) - 7) + b"the end"
        for message in messages:
            end(message)
        store.done.callback(None)
        store.done = Deferred()
        small.abandon()
        assert open_files() == before


def test_tiny_pieces_count_for_the_memory_they_take(message: IncomingMessage) -> None:
    before = open_files()
    for _ in range(IN_MEMORY // 48):
        message.write(b"xy")
    assert open_files() == before + 1
    message.abandon()


def test_abandoned_while_a_thread_writes(message: IncomingMessage, reactor: FakeReactor) -> None:
    before = open_files()
    reactor.held = True
    waiting = message.write(b"x" * IN_MEMORY)
    assert waiting is not None and not waiting.called
    message.abandon()
    reactor.run_threads()
    assert waiting.called
    assert open_files() == before


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StorageError)]
)
@pytest.mark.parametrize("where", ["open", "append"])
def test_a_failing_disk_is_told_at_the_end(
    message: IncomingMessage,
    store: FakeStore,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[StorageError],
    where: str,
) -> None:
    def broken(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    before = open_files()
    monkeypatch.setattr(Spill, "__init__" if where == "open" else "append", broken)
    for _ in range(3):
        waiting = message.write(b"x" * IN_MEMORY)
        assert waiting is None or waiting.called
    failed: list[Failure] = []
    message.commit().addErrback(failed.append)
    assert failed[0].type is kind
    assert store.deliveries == ()
    assert open_files() == before
