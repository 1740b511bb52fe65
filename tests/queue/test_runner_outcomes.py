"""The runner and ways to deliver that are not the store: outcomes, destinations, times."""

import errno

import attrs
import pytest
from twisted.logger import capturedLogs

from mailserver.errors import StorageError
from mailserver.mail import outcome
from mailserver.mail.queued import LOCAL, FailedAttempt
from mailserver.mail.verdict import BAD_MAILBOX, MAIL_SYSTEM
from tests.support.queue.runners import ERIN, RETRY, SCHEDULE, Recorded, deliver_by, enqueue
from tests.support.queue.spools import NOW
from tests.support.store.messages import BOB

FAR, FURTHER = "far@x.example", "further@y.example"


def test_each_destination_has_its_own_way(queue):
    far, near = Recorded(far=outcome.Delivered()), Recorded(further=outcome.Delivered())
    deliver_by(queue, smtp=far, lmtp=near)
    enqueue(queue, ("smtp:relay:25", FAR), ("lmtp:/run/lmtp", FURTHER), (LOCAL, str(BOB)))
    queue.pass_time(1.0)
    assert (far.asked, near.asked) == ([("id1", [FAR])], [("id1", [FURTHER])])
    assert len(queue.spools.look(BOB)) == 1
    assert (queue.waiting(), queue.spools.rows(), queue.spools.contents()) == ([], [], [])


def test_recipients_of_a_message_part(queue):
    """One is delivered, one is deferred, one fails: the sender is told of that one at once."""
    far = Recorded(
        a=outcome.Delivered(),
        b=outcome.Deferred(MAIL_SYSTEM, "not today"),
        c=outcome.Failed(BAD_MAILBOX, "no such mailbox", "relay.rule"),
    )
    deliver_by(queue, smtp=far)
    enqueue(queue, *[("smtp:x", f"{name}@x.example") for name in "abc"])
    with capturedLogs() as events:
        queue.pass_time(1.0)
    ((_, (waiting,)),) = queue.spools.waiting()
    assert (waiting.address, waiting.attempts, waiting.next) == ("b@x.example", 2, NOW + RETRY[1])
    assert waiting.history[1:] == (FailedAttempt(NOW, MAIL_SYSTEM, "not today"),)
    (report,) = queue.reports(ERIN)
    recipient = list(report.iter_parts())[1].get_payload()[1]
    assert (recipient["Final-Recipient"], recipient["Status"]) == ("rfc822; c@x.example", "5.1.1")
    (given_up,) = [event for event in events if "gave up" in event["log_format"]]
    assert (given_up["reason"], given_up["rule"]) == ("no such mailbox", "relay.rule")
    queue.pass_time(RETRY[1])
    assert far.asked[1:] == [("id1", ["b@x.example"])]


@pytest.mark.parametrize(
    ("until", "next_"),
    [(NOW + 7.0, 7.0), (NOW - 5.0, RETRY[1]), (NOW + 10 * max(RETRY), max(RETRY)), (None, RETRY[1])],
)
def test_until(queue, until, next_):
    """Not in the past, nor later than the schedule's longest time."""
    far = Recorded(far=outcome.Deferred(MAIL_SYSTEM, "later", until))
    deliver_by(queue, smtp=far)
    enqueue(queue, ("smtp", FAR))
    queue.reactor.advance(0)
    queue.finish()
    ((_, (waiting,)),) = queue.spools.waiting()
    assert waiting.next == NOW + next_


def test_who_is_due_later_is_not_tried_now(queue):
    later = outcome.Deferred(MAIL_SYSTEM, "later")
    far = Recorded(far=attrs.evolve(later, until=NOW + 60.0), further=later)
    deliver_by(queue, smtp=far)
    enqueue(queue, ("smtp", FAR), ("smtp", FURTHER))
    queue.pass_time(1.0)
    queue.pass_time(61.0)
    assert [asked for _, asked in far.asked] == [[FAR, FURTHER], [FAR]]


def test_recipients_of_a_message_with_different_times(queue):
    """Nobody is forgotten because another one of the same message was tried at another time."""
    times = {"a": 50.0, "b": 700.0, "c": 90.0}
    far = Recorded(**{name: outcome.Deferred(MAIL_SYSTEM, "later", NOW + at) for name, at in times.items()})
    deliver_by(queue, smtp=far)
    enqueue(queue, *[("smtp:x", f"{name}@x.example") for name in times])
    queue.pass_time(1.0)
    far.answers = dict.fromkeys(times, outcome.Delivered())
    queue.pass_time(800.0)
    assert [who for _, who in far.asked[1:]] == [["a@x.example"], ["c@x.example"], ["b@x.example"]]
    assert queue.spools.rows() == []


@pytest.mark.parametrize("end", ["time passes", "it stops"])
@pytest.mark.parametrize("down", [False, True])
def test_what_cannot_be_recorded_is_not_delivered_again(queue, end, down):
    """The other server has accepted it; only the record is repeated."""
    later = outcome.Deferred(MAIL_SYSTEM, "later", unreachable=down)
    far = Recorded(a=outcome.Delivered(), b=later, c=later)
    deliver_by(queue, smtp=far)
    enqueue(queue, ("smtp:x", "a@x.example"), ("smtp:x", "b@x.example"))
    queue.spools.calls.fail_all("commit", errno.EIO)
    queue.pass_time(RETRY[0] * 0.8)
    queue.spools.calls.fail_none()
    if end == "it stops":
        queue.restart()
        deliver_by(queue, smtp=far)
    enqueue(queue, ("smtp:x", "c@x.example"))
    queue.pass_time(RETRY[0] * 0.2 + 1)
    assert "a@x.example" not in queue.waiting()
    queue.pass_time(4 * RETRY[0])
    assert far.asked[0] == ("id1", ["a@x.example", "b@x.example"])
    assert down or ("id1", ["b@x.example"]) in far.asked
    assert all("a@x.example" not in who for _, who in far.asked[1:])
    assert queue.waiting() == ["b@x.example", "c@x.example"]


def test_a_way_that_fails_is_no_attempt_and_stops_no_other(queue):
    deliver_by(queue, smtp=Recorded(far=StorageError("no")), lmtp=Recorded(further=outcome.Delivered()))
    enqueue(queue, ("smtp", FAR), ("lmtp", FURTHER))
    with capturedLogs() as events:
        queue.pass_time(1.0)
    ((_, (waiting,)),) = queue.spools.waiting()
    assert (waiting.address, waiting.attempts) == (FAR, 1)
    assert [str(event["error"]) for event in events if "error" in event] == ["no"]
    deliver_by(queue, smtp=Recorded(far=outcome.Delivered()))
    queue.pass_time(RETRY[0])
    assert queue.spools.rows() == []


def test_a_postponed_attempt_does_not_count(queue):
    later = outcome.Deferred(MAIL_SYSTEM, "the limit is reached", NOW + 60.0, "throttle", tried=False)
    far = Recorded(far=later)
    deliver_by(queue, smtp=far)
    enqueue(queue, ("smtp", FAR))
    queue.pass_time(1.0)
    ((_, (waiting,)),) = queue.spools.waiting()
    assert (waiting.attempts, waiting.next, len(waiting.history)) == (1, NOW + 60.0, 1)
    far.answers["far"] = attrs.evolve(later, until=None)
    queue.pass_time(2 * SCHEDULE.expire_after)
    assert queue.waiting() == [FAR], "it never expires by waiting for its turn"


def test_recipients_without_an_outcome_are_tried_again(queue):
    class OneByOne(Recorded):
        def deliver(self, message, recipients):
            return super().deliver(message, recipients[:1])

    deliver_by(queue, smtp=OneByOne(far=outcome.Delivered(), further=outcome.Delivered()))
    enqueue(queue, ("smtp", FAR), ("smtp", FURTHER))
    queue.pass_time(1.0)
    assert queue.waiting() == [FURTHER]
    queue.pass_time(RETRY[0])
    assert queue.waiting() == []


def test_a_destination_that_nothing_delivers_to(queue):
    """It is deferred like any other, and reported in the end."""
    enqueue(queue, ("pigeon:loft", FAR))
    queue.pass_time(2 * SCHEDULE.expire_after)
    (report,) = queue.reports(ERIN)
    assert "no delivery engine for destination pigeon:loft" in next(report.iter_parts()).get_content()
    assert queue.spools.rows() == []
