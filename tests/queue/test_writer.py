"""The spool's writer: what it takes together, and in which order."""

import threading

import attrs
import pytest
from twisted.internet.defer import Deferred

from mailserver.interfaces import Delivery
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.memory import MemorySpool
from mailserver.queue.writer import LARGE, MAX_GROUP, MUCH, Barrier, Job, SpoolWriter
from mailserver.store.memory import MemoryStore
from tests.support.fakes import stand_in
from tests.support.store.messages import ALICE, BOB, CAROL


@attrs.define(eq=False)
class Noted(Job):
    """Notes when it is committed."""

    name: str = attrs.field(kw_only=True)
    order: list[str] = attrs.field(kw_only=True)

    def record(self, transaction, check_room):
        self.order.append(self.name)


@attrs.define(eq=False)
class Gate(Job):
    """Keeps the writer busy until it may go on."""

    reached: threading.Event = attrs.field(factory=threading.Event)
    leave: threading.Event = attrs.field(factory=threading.Event)

    def record(self, transaction, check_room):
        self.reached.set()
        assert self.leave.wait(30)


@attrs.define(eq=False)
class NotedBarrier(Noted, Barrier):
    pass


def content(octets):
    return InMemoryContent(b"x" * octets)


SMALL = (content(1000), [Delivery(ALICE, b"")])
SHARED = (content(LARGE), [Delivery(mailbox, b"") for mailbox in (ALICE, BOB, CAROL)])
COPIED = (
    content(LARGE // 2),
    [Delivery(mailbox, bytes([97 + n])) for n, mailbox in enumerate((ALICE, BOB, CAROL))],
)
HUGE = (content(MUCH + 1), [Delivery(ALICE, b"")])
NOTHING = (None, ())


@pytest.mark.parametrize(
    ("submitted", "committed"),
    [
        ("s1 s2 s3", "s1 s2 s3"),
        # A small one does not wait behind gigabytes of others, nor behind many copies.
        ("h1 h2 h3 s1", "s1 h1 h2 h3"),
        ("h1 c1 s1 n1 m1", "s1 n1 m1 h1 c1"),
        # A barrier comes after all that were there before it.
        ("h1 s1 b1 s2", "s1 s2 h1 b1"),
        ("b1", "b1"),
        ("h1 h2 b1", "h1 h2 b1"),
    ],
)
def test_order(spools, submitted, committed):
    kinds = {"s": SMALL, "m": SHARED, "c": COPIED, "h": HUGE, "n": NOTHING, "b": NOTHING}
    order, gate = [], Gate()
    assert spools.spool.idle
    done = [spools.spool.submit(gate)]
    assert gate.reached.wait(30) and not spools.spool.idle
    for name in submitted.split():
        octets, deliveries = kinds[name[0]]
        make = NotedBarrier if name[0] == "b" else Noted
        done.append(spools.spool.submit(make(0, octets, deliveries, name=name, order=order)))
    gate.leave.set()
    for one in done:
        spools.wait(one)
    assert order == committed.split() and spools.spool.idle


def test_small_ones_that_come_meanwhile_go_first(spools):
    """Of 8 large ones one is committed at a time, and whatever small comes is in the next group."""
    order, gate, done = [], Gate(), []
    spools.spool.submit(gate)
    assert gate.reached.wait(30)
    second = Gate(0, *HUGE)
    done = [spools.spool.submit(second)]
    done += [spools.spool.submit(Noted(0, *HUGE, name="large", order=order)) for _ in range(7)]
    gate.leave.set()
    assert second.reached.wait(30)
    done += [spools.spool.submit(Noted(0, *SMALL, name="small", order=order)) for _ in range(MAX_GROUP + 5)]
    second.leave.set()
    for one in done:
        spools.wait(one)
    assert order == ["small"] * MAX_GROUP + ["large"] + ["small"] * 5 + ["large"] * 6


class LateReactor:
    """Keeps the calls of other threads."""

    def __init__(self) -> None:
        self.calls = []

    def callFromThread(self, call, *arguments):
        self.calls.append((call, arguments))


def test_a_busy_reactor_answers_all_groups_in_one_call():
    reactor, store = LateReactor(), MemoryStore()
    nothing = lambda *arguments: None  # noqa: E731
    writer = SpoolWriter(MemorySpool(), lambda: store.writer, stand_in(reactor), nothing, nothing)
    gates = [Gate(), Gate(), Gate()]
    for gate in gates:
        writer.submit(gate)
        assert gate.reached.wait(30)  # so each is a group, and the one before it is processed
        if gate is not gates[-1]:
            gate.leave.set()
    ((answer, _),) = reactor.calls
    answer()
    assert [gate.done.called for gate in gates] == [True, True, False]
    gates[-1].leave.set()
    closing = Deferred.fromCoroutine(writer.close())
    assert writer._thread is not None
    writer._thread.join(30)
    for call, arguments in reactor.calls[1:]:
        call(*arguments)
    assert gates[-1].done.called and closing.called and writer.idle


def test_the_end_syncs_the_large_ones_too(spools):
    for size in (LARGE + 1, 10, LARGE + 1):
        spools.deliver(b"y" * size, ALICE)
    spools.reopen()
    assert spools.rows() == []
    assert sorted(len(text.partition(b"y")[2]) + 1 for text in spools.look(ALICE)) == [
        10,
        LARGE + 1,
        LARGE + 1,
    ]
