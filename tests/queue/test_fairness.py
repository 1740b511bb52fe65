"""The order of new messages: each sender gets the same share of a destination."""

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail import outcome
from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination
from mailserver.queue.fairness import DESTINATIONS, LAG, OLDEST, SENDERS, STEP, FairOrder
from tests.support.queue.runners import deliver_by
from tests.support.queue.spools import NOW
from tests.support.store.messages import ALICE, BOB

FAR = "smtp:far.example"


def order_of(order, *messages):
    """The senders in the order of the due times of their messages: ``(sender, recipients)`` each."""
    due = [
        (order.due(FAR, sender, count, NOW), index, sender) for index, (sender, count) in enumerate(messages)
    ]
    return "".join(sender for _, _, sender in sorted(due))


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([("a", 1)] * 3, "aaa"),
        ([("a", 1)] * 4 + [("b", 1)] * 2, "ababaa"),
        ([("a", 1)] * 3 + [("b", 1), ("c", 1)], "abcaa"),
        # A message to many recipients counts as many.
        ([("a", 3), ("a", 1)] + [("b", 1)] * 3, "abbba"),
    ],
)
def test_senders_take_turns(messages, expected):
    assert order_of(FairOrder(), *messages) == expected


def test_a_new_sender_comes_next_while_a_long_queue_is_worked_off():
    order = FairOrder()
    due = [order.due(FAR, "a", 1, NOW) for _ in range(1000)]
    order.reach(FAR, due[500])
    new = [order.due(FAR, "b", 1, NOW + 10) for _ in range(3)]
    assert due[499] < new[0] <= due[500] < new[1] <= due[501]


def test_messages_are_due_at_once():
    order = FairOrder()
    assert max(order.due(FAR, "a", 10_000_000, NOW) for _ in range(10)) <= NOW


def test_a_message_waits_at_most_for_an_hour_of_newer_ones():
    order = FairOrder()
    order.due(FAR, "a", 1, NOW)
    assert order.due(FAR, "b", 1, NOW + 2 * OLDEST) == NOW + OLDEST


def test_destinations_are_independent():
    order = FairOrder()
    for _ in range(100):
        order.due(FAR, "a", 1, NOW)
    assert order.due("smtp:other.example", "a", 1, NOW) == NOW - LAG


def test_its_memory_is_limited():
    order = FairOrder()
    for number in range(2 * DESTINATIONS):
        order.due(f"smtp:{number}.example", "a", 1, NOW)
    for number in range(2 * SENDERS):
        order.due(FAR, f"{number}", 1, NOW)
    assert len(order._reached) == len(order._clocks) == DESTINATIONS
    assert len(order._clocks[FAR]) == SENDERS
    order.reach(FAR, NOW + 1)
    order.due(FAR, "new", 1, NOW + 1)
    assert list(order._clocks[FAR]) == ["new"]


class Slow:
    """Another server that answers when the test says so."""

    def __init__(self):
        self.senders = []
        self.running = []

    def deliver(self, message, recipients):
        self.senders.append(message.reverse_path)
        answer = Deferred()
        self.running.append((answer, dict.fromkeys(recipients, outcome.Delivered())))
        return answer

    def answer(self):
        running, self.running = self.running, []
        for answer, outcomes in running:
            answer.callback(outcomes)


def test_a_sender_of_very_many_messages_delays_nobody_else(queue):
    """Messages that are accepted from two senders, for one server that takes twenty at a time."""
    slow = Slow()
    deliver_by(queue, smtp=slow)
    someone = Address("someone", "far.example")
    for sender, count in ((ALICE, 100), (BOB, 1)):
        for _ in range(count):
            queue.deliver(Destination(someone, someone, remote=True), reverse_path=sender)
    reactor = queue.reactor
    while slow.running or str(BOB) not in slow.senders:
        slow.answer()
        reactor.advance(0)
        while len(queue.runner._busy) > len(slow.running):
            reactor.run_call()
            reactor.advance(0)
    assert slow.senders.index(str(BOB)) <= 41  # those in progress and those that were read already
    assert len(slow.senders) == 101
    # The messages that have been read set the time for new ones.
    began = NOW - LAG
    assert queue.spools.spool.order.due(FAR, "new", 1, NOW) > began + 0.9 * 100 * STEP
