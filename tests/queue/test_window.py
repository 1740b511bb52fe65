"""The window on the queue: a bounded part of it in memory, and nothing forgotten."""

import heapq
import random

import pytest

from mailserver.queue.window import QueueWindow


@pytest.mark.parametrize("seed", range(20))
def test_everything_is_tried_when_it_is_due(seed):
    """A spool of many destinations that come and go, whose reads may be answered late."""
    dice = random.Random(seed)
    window, now = QueueWindow(10), 0.0
    due = {str(seq): dice.choice([0.0, dice.uniform(0, 100)]) for seq in range(dice.choice([0, 5, 300]))}
    late, new = [], len(due)
    answer = None
    for _ in range(5000):
        if answer is not None and dice.random() < 0.5:
            window.read(answer)
            answer = None
        if answer is None and (limit := window.wants(now)):
            earliest = heapq.nsmallest(limit, ((when, name) for name, when in due.items()))
            answer = [(name, when) for when, name in earliest]
        if (name := window.take(now)) is not None:
            late.append(now - due.pop(name, now))
            if dice.random() < 0.3 and now < 100:
                due[name] = now + dice.uniform(0, 30)
            window.done(name)
            if name in due:
                window.plan(due[name], name)
            continue
        if dice.random() < 0.2 and now < 100:
            due[str(new)] = now + dice.uniform(0, 50)
            window.plan(due[str(new)], str(new))
            new += 1
        assert len(window._times) <= 60
        if answer is None:
            at = window.next()
            if at is None:
                break
            now = max(now, min(at, now + 1.0))
    assert due == {}
    assert max(late, default=0.0) <= 1.0


def test_the_earliest_time_counts():
    window = QueueWindow(2)
    window.wants(0.0)
    window.read([("b", 20.0)])
    for when in (30.0, 10.0, 15.0):
        window.hold(when, "a")
    window.plan(5.0, "b")
    assert [window.take(now) for now in (4.0, 5.0, 9.0, 10.0, 99.0)] == [None, "b", None, "a", None]
    assert window.is_taken("a")
    window.plan(1.0, "a")  # it is taken: whoever has it plans it again
    window.done("a")
    assert (window.is_taken("a"), window.take(99.0), window.next()) == (False, None, None)


def test_a_spool_that_cannot_be_read_is_asked_again():
    window = QueueWindow(2)
    assert window.wants(5.0)
    window.not_read(60.0)
    assert (window.next(), window.wants(59.0), window.wants(60.0)) == (60.0, 0, 2)


def test_cleared():
    window = QueueWindow(2)
    window.wants(0.0)
    window.read([("a", 0.0), ("b", 9.0)])
    window.clear()
    assert (window.take(99.0), window.next(), window.wants(99.0)) == (None, None, 0)
