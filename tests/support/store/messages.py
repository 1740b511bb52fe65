"""Content, addresses and shorthands for tests of mailbox stores."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from mailserver.interfaces import Delivery, IContent, IMaildrop
from mailserver.mail.address import Address
from mailserver.store.content import LARGE_CHUNK

ALICE = Address("alice", "example.org")
BOB = Address("bob", "example.org")
CAROL = Address("carol", "example.net")
OLD = time.time() - 3600
MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


@implementer(IContent)
class Content:
    """Content given in advance, in pieces of a chosen length."""

    def __init__(self, data: bytes, piece: int = 8192) -> None:
        self.data = data
        self.size = len(data)
        self._piece = piece

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), self._piece):
            yield self.data[start : start + self._piece]


@implementer(IContent)
class Broken:
    """Content that cannot be read to its end."""

    size = 1000

    def __init__(self, error: Exception) -> None:
        self._error = error

    def chunks(self) -> Iterator[bytes]:
        yield b"x" * 500
        raise self._error


def to(*mailboxes: Address, head: bytes = b"") -> list[Delivery]:
    return [Delivery(mailbox, head) for mailbox in mailboxes]


def octets(content: Any) -> bytes:
    """What ``read`` gave, whole; the pieces must be bounded and as many octets as promised."""
    if isinstance(content, bytes):
        return content
    pieces = list(content.chunks())
    assert max(map(len, pieces)) <= 2 * LARGE_CHUNK
    data = b"".join(pieces)
    assert content.size == len(data)
    return data


def as_sent(data: bytes) -> int:
    """How many octets POP3 sends for this content, byte-stuffing apart."""
    return len(data) if not data or data.endswith(b"\r\n") else len(data) + 2


def contents(wait: Any, drop: IMaildrop) -> list[bytes]:
    """All messages of a maildrop; the sizes must be right."""
    found = [octets(wait(drop.read(index))) for index in range(len(drop.messages))]
    assert [message.size for message in drop.messages] == [as_sent(data) for data in found]
    return found


def look(wait: Any, store: Any, mailbox: Address) -> list[bytes]:
    """All messages of a mailbox, in a session of its own."""
    drop = wait(store.maildrop(mailbox))
    try:
        return contents(wait, drop)
    finally:
        drop.release()


def together(deferreds: "list[Deferred[Any]]") -> "Deferred[list[Any]]":
    """Fires when all have, with results and failures."""
    results: list[Any] = []
    done: Deferred[list[Any]] = Deferred()

    def arrived(result: Any) -> None:
        results.append(result)
        if len(results) == len(deferreds):
            done.callback(results)

    for deferred in deferreds:
        deferred.addBoth(arrived)
    return done


def age(maildirs: Any) -> None:
    """As if nothing had changed for a long time."""
    for folder in ("new", "cur"):
        os.utime(maildirs.box() / folder, (OLD, OLD))


def deliver_to(store: Any, content: Any, deliveries: Sequence[Delivery]) -> "Deferred[None]":
    """What a spool does, for one message and at once: staged, published, synced."""
    return execute(_deliver, store, content, deliveries)


def _deliver(store: Any, content: Any, deliveries: Sequence[Delivery]) -> None:
    (staged,) = store.writer.stage([(content, deliveries)])
    if isinstance(staged, Exception):
        raise staged
    copies = staged.copies
    failed = store.writer.publish(copies)
    for failures in failed.values():
        raise next(iter(failures.values()))
    assert store.writer.sync(copies) == []
    store.writer.forget(copies)


def deliver(maildirs: Any, *messages: bytes, mailbox: Address = ALICE) -> None:
    """Deliver one after the other."""
    for data in messages:
        maildirs.wait(deliver_to(maildirs.store, Content(data), to(mailbox)))
