"""Reports to senders: which are wanted (RFC 3461), what they are stored with, and where they go."""

import errno
from email.utils import parsedate_to_datetime

import attrs
import pytest
from twisted.logger import capturedLogs

from mailserver.mail import outcome
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope, ReportRequest
from mailserver.mail.ids import new_id
from mailserver.mail.verdict import Destination, Status
from mailserver.queue.requests import request_for
from tests.support.queue.runners import (
    BOTH,
    DAVE,
    ERIN,
    HOUR,
    RETRY,
    SCHEDULE,
    Recorded,
    by_alias,
    deliver_by,
    member,
)
from tests.support.queue.spools import NOW
from tests.support.store.messages import ALICE, BOB, MESSAGE

FRANK = Address("frank", "elsewhere.example")
GINA = Address("gina", "elsewhere.example")
UNKNOWN = outcome.Failed(Status(1, 1), "rejected", host="mx.example", reply="550 5.1.1 no such user")
LATER = outcome.Deferred(Status(4, 1), "connection refused", host="192.0.2.1")
RELAYED = outcome.Delivered("mx.example", "250 2.0.0 Ok")
CONFIRMS = attrs.evolve(RELAYED, reports=True)


def far(address):
    return Destination(address, address, remote=True)


def envelope(*to, notify="", orcpt="", ret="", envid="", reverse_path=ERIN):
    recipients = tuple(dict.fromkeys(each.delivered_to for each in to))
    reports = dict.fromkeys(recipients, ReportRequest(notify, orcpt))
    return Envelope(new_id(), reverse_path, recipients, to, ret=ret, envid=envid, reports=reports)


def send(queue, *to, data=MESSAGE, **options):
    message = queue.spools.spool.receive(envelope(*to, **options), b"Received: x\r\n")
    message.write(data)
    queue.spools.wait(message.commit())
    queue.finish()


def answering(queue, **outcomes):
    engine = Recorded(**outcomes)
    deliver_by(queue, smtp=engine)
    return engine


def fields(report):
    """The type of the returned content, and the fields of the message and of each recipient."""
    _, status, returned = report.iter_parts()
    message, *recipients = [dict(group.items()) for group in status.get_payload()]
    return returned.get_content_type(), message, recipients


def actions(queue, mailbox=ERIN):
    """What a mailbox has been told: pairs of an action and an address."""
    found = [one for report in queue.reports(mailbox) for one in fields(report)[2]]
    return [(one["Action"], one["Final-Recipient"].partition("; ")[2]) for one in found]


@pytest.mark.parametrize(
    ("result", "wanted", "action"),
    [
        (UNKNOWN, {"", "FAILURE", "SUCCESS,FAILURE", "delay,failure"}, "failed"),
        (LATER, {"", "DELAY", "delay,failure"}, "delayed"),
        (RELAYED, {"SUCCESS", "SUCCESS,FAILURE"}, "relayed"),
        (CONFIRMS, set(), ""),
    ],
)
@pytest.mark.parametrize(
    "notify", ["", "NEVER", "SUCCESS", "FAILURE", "DELAY", "SUCCESS,FAILURE", "delay,failure"]
)
def test_notify(queue, notify, result, wanted, action):
    queue.schedule = attrs.evolve(SCHEDULE, warn_after=HOUR)
    answering(queue, frank=result)
    send(queue, far(FRANK), notify=notify)
    queue.pass_time(3 * HOUR)
    assert actions(queue) == ([(action, "frank@elsewhere.example")] if notify in wanted else [])
    assert len(queue.waiting()) == (result is LATER)


@pytest.mark.parametrize("notify", ["", "SUCCESS,FAILURE,DELAY"])
@pytest.mark.parametrize("result", [UNKNOWN, LATER, RELAYED])
def test_nothing_in_answer_to_the_null_reverse_path(queue, notify, result):
    queue.schedule = attrs.evolve(SCHEDULE, warn_after=HOUR)
    answering(queue, frank=result)
    send(queue, far(FRANK), ALICE_HERE, notify=notify, reverse_path=None)
    queue.pass_time(2 * SCHEDULE.expire_after)
    assert queue.waiting() == []
    for mailbox in (BOB, DAVE, ERIN):
        assert queue.spools.look(mailbox) == []
    assert queue.reports(ALICE) == []


ALICE_HERE = Destination(ALICE, ALICE)
BOB_HERE = Destination(BOB, BOB)


def test_success_here(queue):
    queue.full(BOB)
    send(queue, ALICE_HERE, BOB_HERE, notify="SUCCESS", orcpt="rfc822;x@example.net", envid="A+2B")
    queue.pass_time(0)
    assert actions(queue) == [("delivered", "alice@example.org")]
    queue.full()
    queue.pass_time(max(RETRY))
    assert actions(queue) == [("delivered", "alice@example.org"), ("delivered", "bob@example.org")]
    for report in queue.reports(ERIN):
        returned, message, (recipient,) = fields(report)
        assert returned == "text/rfc822-headers"
        assert message["Original-Envelope-Id"] == "A+"
        assert recipient["Original-Recipient"] == "rfc822; x@example.net"
        assert recipient["Status"] == "2.0.0"
    assert "Subject: hello" in queue.reports(ERIN)[0].as_string()


@pytest.mark.parametrize("notify", ["", "FAILURE", "NEVER"])
def test_success_here_is_not_told_unless_wanted(queue, notify):
    send(queue, ALICE_HERE, notify=notify)
    queue.pass_time(HOUR)
    assert actions(queue) == []


def test_success_of_an_alias_and_of_a_list(queue):
    """RFC 3461 section 5.2.7: several addresses are told as one; members have no request of the sender's."""
    answering(queue, frank=RELAYED, gina=UNKNOWN)
    send(queue, by_alias(ALICE), Destination(FRANK, BOTH, remote=True), notify="SUCCESS")
    queue.pass_time(HOUR)
    assert actions(queue) == [("expanded", "both@example.org")]
    send(queue, member(BOB), attrs.evolve(member(GINA), remote=True), notify="SUCCESS")
    queue.pass_time(HOUR)
    assert actions(queue)[1:] == [("delivered", "club@example.org")]
    assert actions(queue, DAVE) == [("failed", "gina@elsewhere.example")]  # the owner


@pytest.mark.parametrize(
    ("notify", "passed"),
    [("", ""), ("FAILURE", "FAILURE"), ("SUCCESS", "NEVER"), ("success,delay", "DELAY"), ("NEVER", "NEVER")],
)
def test_the_request_of_an_alias(notify, passed):
    both = envelope(by_alias(ALICE), by_alias(BOB), notify=notify, orcpt="rfc822;x")
    assert request_for(both, both.destinations[0]) == ReportRequest(passed, "rfc822;x")
    one = envelope(by_alias(ALICE), notify=notify)
    assert request_for(one, one.destinations[0]) == ReportRequest(notify)
    club = envelope(member(ALICE), notify=notify, orcpt="rfc822;x")
    assert request_for(club, club.destinations[0]) == ReportRequest()


def test_fields(queue):
    answering(queue, frank=UNKNOWN)
    send(queue, far(FRANK), orcpt="rfc822;f@example.net", envid="E1")
    queue.pass_time(0)
    (report,) = queue.reports(ERIN)
    returned, message, (recipient,) = fields(report)
    assert returned == "message/rfc822"
    assert message["Original-Envelope-Id"] == "E1"
    assert parsedate_to_datetime(message["Arrival-Date"]).timestamp() == int(NOW)
    assert recipient["Original-Recipient"] == "rfc822; f@example.net"
    assert (recipient["Status"], recipient["Remote-MTA"]) == ("5.1.1", "dns; mx.example")
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert parsedate_to_datetime(recipient["Last-Attempt-Date"]).timestamp() == int(NOW)


@pytest.mark.parametrize(
    ("ret", "size", "returned"),
    [
        ("HDRS", 10, "text/rfc822-headers"),
        ("", 100_000, "text/rfc822-headers"),
        ("FULL", 100_000, "message/rfc822"),
    ],
)
def test_ret(queue, ret, size, returned):
    answering(queue, frank=UNKNOWN)
    send(queue, far(FRANK), ret=ret, data=b"Subject: x\r\n\r\n" + b"x" * 98 * (size // 100) + b"\r\n")
    queue.pass_time(0)
    assert fields(queue.reports(ERIN)[0])[0] in (returned, "text/rfc822-headers")


def test_the_delay_is_told_once_also_after_a_restart(queue):
    queue.schedule = attrs.evolve(SCHEDULE, warn_after=HOUR)
    answering(queue, frank=LATER, gina=LATER)
    send(queue, far(FRANK))
    queue.pass_time(2 * HOUR)
    assert actions(queue) == [("delayed", "frank@elsewhere.example")]
    (recipient,) = fields(queue.reports(ERIN)[0])[2]
    assert recipient["Status"] == "4.4.1"
    until = parsedate_to_datetime(recipient["Will-Retry-Until"]).timestamp()
    queue.restart()
    answering(queue, frank=LATER)
    queue.pass_time(until - queue.reactor.seconds() - RETRY[-1])
    assert actions(queue) == [("delayed", "frank@elsewhere.example")]
    queue.pass_time(2 * RETRY[-1])
    assert actions(queue)[1:] == [("failed", "frank@elsewhere.example")]
    assert "tried for" in queue.reports(ERIN)[1].as_string()


def test_the_warning_and_its_mark_are_one_commit(queue):
    queue.schedule = attrs.evolve(SCHEDULE, warn_after=RETRY[0])
    engine = answering(queue, frank=LATER)
    send(queue, far(FRANK))
    queue.pass_time(RETRY[0] - 1)
    accept = queue.spools.spool.accept

    def fail(*arguments, **options):
        queue.spools.calls.fail_all("commit", errno.EIO)
        return accept(*arguments, **options)

    queue.spools.spool.accept = fail
    queue.pass_time(2)
    queue.spools.spool.accept = accept
    queue.spools.calls.fail_none()
    ((_, (waiting,)),) = queue.spools.waiting()
    assert (waiting.attempts, waiting.warned, actions(queue)) == (2, False, [])
    queue.pass_time(HOUR)
    ((_, (waiting,)),) = queue.spools.waiting()
    assert waiting.warned and len(actions(queue)) == 1
    assert len(engine.asked) >= 3


def test_a_success_that_cannot_be_told_is_not_repeated(queue):
    """The other server has the message."""
    engine = answering(queue, frank=RELAYED)
    accept = queue.spools.spool.accept
    send(queue, ALICE_HERE)

    def behind(*arguments, **options):
        queue.spools.spool.checkpoint.__class__.is_behind = property(lambda self: True)
        try:
            return accept(*arguments, **options)
        finally:
            queue.spools.spool.checkpoint.__class__.is_behind = was

    was = queue.spools.spool.checkpoint.__class__.is_behind
    with capturedLogs() as events:
        message = queue.spools.spool.receive(envelope(far(FRANK), notify="SUCCESS"), b"Received: x\r\n")
        message.write(MESSAGE)
        queue.spools.wait(message.commit())
        queue.spools.spool.accept = behind
        queue.pass_time(HOUR)
    assert len(engine.asked) == 1
    assert (queue.waiting(), actions(queue)) == ([], [])
    assert any("not sent" in event["log_format"] for event in events)


def test_a_sender_that_does_not_exist(queue):
    """Its bounce goes to the postmaster, who is told why."""
    answering(queue, frank=UNKNOWN)
    send(queue, far(FRANK), reverse_path=Address("gone", "example.org"))
    queue.pass_time(HOUR)
    assert queue.waiting() == []
    (report,) = queue.reports(ALICE)  # the first account
    assert report["To"] == "postmaster@example.org"
    assert "<gone@example.org>" in next(report.iter_parts()).get_content()


def test_a_report_that_fails_goes_to_the_postmaster(queue):
    """Once, and without end only if there were no end."""
    engine = answering(queue, frank=UNKNOWN, gina=UNKNOWN)
    send(queue, far(FRANK), reverse_path=GINA)
    queue.pass_time(HOUR)
    assert queue.waiting() == []
    assert [to for _, to in engine.asked] == [["frank@elsewhere.example"], ["gina@elsewhere.example"]]
    assert actions(queue, ALICE) == [("failed", "gina@elsewhere.example")]
    (report,) = queue.reports(ALICE)
    assert report["Return-Path"] == "<>"
    # Not if the postmaster cannot have it either.
    queue.full(ALICE)
    send(queue, far(FRANK), reverse_path=GINA)
    queue.pass_time(2 * SCHEDULE.expire_after)
    assert queue.waiting() == []
    assert len(queue.reports(ALICE)) == 1


def test_the_null_reverse_path_of_others_is_no_report_of_this_server(queue):
    answering(queue, frank=UNKNOWN)
    send(queue, far(FRANK), reverse_path=None)
    queue.pass_time(HOUR)
    assert queue.waiting() == [] and queue.reports(ALICE) == []


def test_different_wishes_in_one_message(queue):
    answering(queue, frank=UNKNOWN, gina=UNKNOWN)
    both = attrs.evolve(
        envelope(far(FRANK), far(GINA)),
        reports={FRANK: ReportRequest("NEVER"), GINA: ReportRequest("FAILURE")},
    )
    message = queue.spools.spool.receive(both, b"Received: x\r\n")
    message.write(MESSAGE)
    queue.spools.wait(message.commit())
    with capturedLogs() as events:
        queue.pass_time(HOUR)
    assert actions(queue) == [("failed", "gina@elsewhere.example")]
    assert queue.waiting() == []
    assert sum("wants no bounce" in event["log_format"] for event in events) == 1


def test_a_delay_that_leads_nowhere_is_only_logged(queue):
    queue.schedule = attrs.evolve(SCHEDULE, warn_after=HOUR)
    answering(queue, frank=LATER)
    send(queue, far(FRANK), reverse_path=Address("gone", "example.org"))
    with capturedLogs() as events:
        queue.pass_time(2 * HOUR)
    assert queue.reports(ALICE) == []
    assert any("not sent" in event["log_format"] for event in events)
