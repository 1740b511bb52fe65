"""The runner and ways to deliver that are not the store: outcomes, destinations, times."""

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
