"""New messages for other servers: they are tried from memory, unless others are due before them."""

import attrs
import pytest
from twisted.internet.defer import Deferred

from mailserver.mail import outcome
from mailserver.mail.address import Address
from mailserver.mail.verdict import MAIL_SYSTEM, Destination
from mailserver.queue.schedule import Concurrency
from mailserver.queue.sqlite.engine import IN_ROW
from tests.support.queue.runners import RETRY, deliver_by
from tests.support.store.messages import MESSAGE

FAR = "far.example"
SOMEONE = Address("someone", FAR)
REMOTE = Destination(SOMEONE, SOMEONE, remote=True)
DOWN = outcome.Deferred(MAIL_SYSTEM, "connection refused", unreachable=True)


class FarSide:
    """Another server: it answers when the test says so, and the messages are read from the spool or not."""

    def __init__(self, queue):
        self.queue, self.spool = queue, queue.spools.spool
        self.tried: list[int] = []
        self.contents: list[bytes] = []
        self.running: list[tuple[Deferred, list]] = []
        self.reads = 0
        self._read, self.spool.read_due = self.spool.read_due, self.read_due
        queue.runner._concurrency = lambda: Concurrency(10, 2)
        deliver_by(queue, smtp=self)

    def read_due(self, *arguments):
        self.reads += 1
        return self._read(*arguments)

    def deliver(self, message, recipients):
        self.tried.append(message.seq)
        self.contents.append(b"".join(message.content.chunks()))
        self.running.append((Deferred(), recipients))
        return self.running[-1][0]

    def receive(self, *to, data=MESSAGE):
        """Accept a message. Returns its number."""
        self.queue.spools.wait(self.queue.spools.deliver(data, *to or (REMOTE,)))
        return self.spool.last_seq

    def answer(self, result=None, count=None):
        for answer, recipients in self.running[:count]:
            answer.callback(dict.fromkeys(recipients, result or outcome.Delivered("far", "250 Ok")))
        del self.running[:count]
        self.settle()

    def settle(self):
        reactor = self.queue.reactor
        reactor.advance(0)
        while len(self.queue.runner._busy) > len(self.running):
            reactor.run_call()
            reactor.advance(0)


@pytest.fixture
def far(queue):
    """A server that has answered before."""
    far = FarSide(queue)
    far.receive()
    far.settle()
    assert far.reads, "not before it has answered"
    far.answer()
    far.tried.clear()
    far.reads = 0
    yield far
    while far.running:
        far.answer()
    assert queue.waiting() == []


@pytest.mark.parametrize("data", [MESSAGE, b"x" * IN_ROW + b"\r\n"])
def test_a_new_message_is_not_read_from_the_spool(far, data):
    seq = far.receive(data=data)
    assert (far.tried, far.reads, far.contents[-1]) == ([seq], 0, data)
    far.answer()
    assert far.queue.waiting() == []
    contents = far.queue.spools.root / "spool" / "contents"
    assert list(contents.iterdir()) == []


def test_messages_that_find_no_room_are_read_later_and_in_order(far):
    """As many as are tried at a time wait in memory, the others in the spool."""
    numbers = [far.receive() for _ in range(7)]
    assert (far.tried, far.reads) == (numbers[:2], 0)
    far.answer(count=2)
    assert (far.tried, far.reads) == (numbers[:4], 0)
    while far.running:
        far.answer(count=1)
    assert far.tried == numbers
    assert far.reads > 0


def test_a_message_that_is_due_goes_first(far):
    numbers = [far.receive() for _ in range(5)]
    far.queue.runner._concurrency = lambda: Concurrency(10, 10)
    numbers.append(far.receive())
    assert far.tried == numbers[:2]
    while far.running:
        far.answer(count=1)
    assert far.tried == numbers


def test_a_message_that_a_turn_has_read_is_not_tried_twice(far):
    """A turn may find a message between its commit and the news of it."""
    told = []
    far.spool.arrives = lambda message, recipients: told.append((message, recipients))
    seq = far.receive()
    far.spool.waits([f"smtp:{FAR}"], far.queue.reactor.seconds())
    far.settle()
    assert far.tried == [seq]
    far.queue.runner._arrives(*told[0])
    far.settle()
    assert far.tried == [seq]


def test_a_message_is_not_tried_while_a_turn_reads(far):
    """The turn may find it or not."""
    told = []
    far.spool.arrives = lambda message, recipients: told.append((message, recipients))
    seq = far.receive()
    far.spool.waits([f"smtp:{FAR}"], far.queue.reactor.seconds())
    far.queue.runner._arrives(*told[0])
    assert far.tried == []
    far.settle()
    assert far.tried == [seq]


def test_a_message_that_is_due_later(far):
    told = []
    far.spool.arrives = lambda message, recipients: told.append((message, recipients))
    far.receive()
    ((message, recipients),) = told
    later = attrs.evolve(recipients[0], next=far.queue.reactor.seconds() + 10)
    far.queue.runner._arrives(message, [later])
    far.settle()
    assert far.tried == []
    far.queue.reactor.advance(10)
    far.settle()
    assert far.tried == [message.seq]


def test_a_failed_attempt_is_repeated_from_the_spool(far):
    seq = far.receive()
    far.answer(outcome.Deferred(MAIL_SYSTEM, "later"))
    assert far.queue.waiting() == [str(SOMEONE)]
    far.queue.reactor.advance(RETRY[0])
    far.settle()
    assert (far.tried, far.reads) == ([seq, seq], 1)


def test_a_server_that_is_down_is_not_tried(far):
    far.receive()
    far.answer(DOWN)
    far.receive()
    far.settle()
    assert len(far.tried) == 1
    while far.queue.waiting():
        far.queue.reactor.advance(RETRY[0])
        far.settle()
        far.answer()


def test_the_recipients_of_each_server(far):
    other = Address("other", "other.example")
    far.receive(REMOTE, Destination(other, other, remote=True))
    far.settle()
    assert sorted(who.address for _, each in far.running for who in each) == [str(other), str(SOMEONE)]
