"""The window on the queue: a bounded part of it in memory, and nothing forgotten."""

import heapq
import random

import pytest

from mailserver.queue.window import QueueWindow


@pytest.mark.parametrize("seed", range(20))
def test_everything_is_tried_when_it_is_due(seed):
    """A spool of many messages that come and go, whose reads may be answered late."""
    dice = random.Random(seed)
    window, now = QueueWindow(10), 0.0
    due = {seq: dice.choice([0.0, dice.uniform(0, 100)]) for seq in range(dice.choice([0, 5, 300]))}
    late, new = [], len(due)
    answer = None
    for _ in range(5000):
        if answer is not None and dice.random() < 0.5:
            window.read(answer)
            answer = None
        if answer is None and (limit := window.wants(now)):
            earliest = heapq.nsmallest(limit, ((when, seq) for seq, when in due.items()))
            answer = [(seq, when) for when, seq in earliest]
        if (seq := window.take(now)) is not None:
            late.append(now - due.pop(seq, now))
            if dice.random() < 0.3 and now < 100:
                due[seq] = now + dice.uniform(0, 30)
            window.done(seq)
            if seq in due:
                window.plan(due[seq], seq)
            continue
        if dice.random() < 0.2 and now < 100:
            due[new] = now + dice.uniform(0, 50)
            window.plan(due[new], new)
            new += 1
        assert len(window._planned) <= 60
        if answer is None:
            at = window.next()
            if at is None:
                break
            now = max(now, min(at, now + 1.0))
    assert (due, max(late, default=0.0)) == ({}, pytest.approx(0.0, abs=1.0))  # type: ignore[comparison-overlap]


def test_what_is_held_does_not_keep_others_from_their_turn():
    window = QueueWindow(2)
    assert window.wants(0.0) == 2
    window.read([(1, 0.0), (2, 0.0)])
    for seq in (1, 2):
        assert window.take(0.0) == seq
        window.done(seq)
        window.hold(300.0, seq)
    assert window.wants(0.0) == 4
    window.read([(1, 0.0), (2, 0.0), (3, 0.0), (4, 0.0)])
    assert [window.take(0.0), window.take(0.0), window.take(0.0)] == [3, 4, None]


def test_a_spool_that_cannot_be_read_is_asked_again():
    window = QueueWindow(2)
    assert window.wants(5.0)
    window.not_read(60.0)
    assert (window.next(), window.wants(59.0), window.wants(60.0)) == (60.0, 0, 2)


def test_cleared():
    window = QueueWindow(2)
    window.wants(0.0)
    window.read([(1, 0.0), (2, 9.0)])
    window.clear()
    assert (window.take(99.0), window.next(), window.wants(99.0)) == (None, None, 0)
