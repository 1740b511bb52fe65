"""The runner: who has waited long enough is given up, and the sender is told, once and if at all possible."""

import errno

import pytest
from twisted.logger import capturedLogs

from mailserver.mail.address import Address
from mailserver.routing.router import UNKNOWN
from mailserver.routing.table import Names, RoutingTable
from tests.support.queue.runners import (
    DAVE,
    ERIN,
    HOUR,
    NAMES,
    RETRY,
    SCHEDULE,
    TIMES,
    by_alias,
    member,
)
from tests.support.queue.spools import FIRST_RETRY
from tests.support.store.messages import ALICE, BOB

GONE = Address("gone", "example.org")  # no account has it


def groups(part):
    """The groups of fields of a delivery status: of the message first, then of each recipient."""
    return [dict(group.items()) for group in part.get_payload()]


def nobody_is_known(queue):
    queue.router.route = lambda recipient: UNKNOWN


def test_the_report(queue):
    queue.full(BOB)
    with capturedLogs() as events:
        queue.deliver(by_alias(ALICE), by_alias(BOB), reverse_path=ERIN)
        queue.pass_time(2 * SCHEDULE.expire_after)
    assert [len(queue.spools.look(mailbox)) for mailbox in (ALICE, BOB, DAVE, ERIN)] == [1, 0, 0, 1]
    (report,) = queue.reports(ERIN)
    assert report["Return-Path"] == "<>"
    assert report["To"] == "erin@example.org"
    text, status, whole = report.iter_parts()
    assert "both@example.org" in text.get_content() and "bob@" not in report.as_string()
    message, recipient = groups(status)
    assert message["Reporting-MTA"] == "dns; mail.example.org"
    assert recipient["Final-Recipient"] == "rfc822; both@example.org"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.2.2")
    assert whole.get_payload(0)["Subject"] == "hello"
    # One identifier in the log, the spool, the report.
    ids = {event["id"] for event in events if "id" in event}
    assert message["X-Queue-ID"] in ids


def test_a_list_reports_to_its_owner_and_names_the_member(queue):
    """RFC 5321 section 3.9.2: whoever administers the list is told, and not the author."""
    queue.full(ALICE, BOB)
    queue.deliver(member(ALICE), member(BOB), reverse_path=ERIN)
    queue.pass_time(2 * SCHEDULE.expire_after)
    assert queue.spools.look(ERIN) == []
    (report,) = queue.reports(DAVE)
    assert report["To"] == "club-bounces@example.org"
    _, *recipients = groups(list(report.iter_parts())[1])
    assert [one["Final-Recipient"] for one in recipients] == [
        "rfc822; alice@example.org",
        "rfc822; bob@example.org",
    ]


def test_each_reverse_path_has_its_own_report(queue):
    queue.full(ALICE, BOB)
    queue.deliver(ALICE, member(BOB), reverse_path=ERIN)
    queue.pass_time(2 * SCHEDULE.expire_after)
    found = {}
    for mailbox in (DAVE, ERIN):
        (report,) = queue.reports(mailbox)
        _, *recipients = groups(list(report.iter_parts())[1])
        found[mailbox] = [one["Final-Recipient"] for one in recipients]
    assert found == {DAVE: ["rfc822; bob@example.org"], ERIN: ["rfc822; alice@example.org"]}


def test_nobody_is_told_of_a_bounce(queue):
    """RFC 5321 section 6.1: never to the null reverse-path."""
    queue.full(BOB)
    queue.deliver(member(ALICE), member(BOB), reverse_path=None)
    with capturedLogs() as events:
        queue.pass_time(2 * SCHEDULE.expire_after)
    assert [len(queue.spools.look(mailbox)) for mailbox in (ALICE, BOB, DAVE, ERIN)] == [1, 0, 0, 0]
    assert (queue.waiting(), queue.spools.rows()) == ([], [])
    assert any("gave up" in str(event.get("log_format")) for event in events)


def test_a_report_that_leads_nowhere_keeps_the_message(queue):
    """It is told as soon as it can be, and once."""
    nobody_is_known(queue)
    queue.full(BOB)
    queue.deliver(by_alias(ALICE), by_alias(BOB), reverse_path=GONE)
    queue.pass_time(3 * SCHEDULE.expire_after)
    assert queue.waiting() == [str(BOB)]
    assert queue.times[: len(TIMES)] == TIMES
    queue.restart()
    del queue.router.route
    queue.router.table = RoutingTable(Names(domains=["example.org"], accounts=[*NAMES.accounts, GONE]))
    queue.pass_time(2 * max(RETRY))
    assert (queue.waiting(), queue.spools.rows()) == ([], [])
    queue.pass_time(SCHEDULE.expire_after)
    assert len(queue.reports(GONE)) == 1


def test_who_gets_room_while_the_report_cannot_go_gets_the_message(queue):
    nobody_is_known(queue)
    queue.full(BOB)
    queue.deliver(by_alias(ALICE), by_alias(BOB), reverse_path=GONE)
    queue.pass_time(2 * SCHEDULE.expire_after)
    queue.full()
    queue.pass_time(2 * max(RETRY))
    assert len(queue.spools.look(BOB)) == 1
    assert (queue.waiting(), queue.spools.rows()) == ([], [])


def test_a_report_waits_for_room_and_then_arrives_once(queue):
    queue.full(BOB, ERIN)
    queue.deliver(by_alias(ALICE), by_alias(BOB), reverse_path=ERIN)
    queue.pass_time(SCHEDULE.expire_after + 2 * HOUR)
    assert queue.spools.look(ERIN) == []
    queue.full(BOB)
    queue.pass_time(2 * max(RETRY))
    assert len(queue.reports(ERIN)) == 1
    queue.pass_time(2 * SCHEDULE.expire_after)
    assert len(queue.spools.look(ERIN)) == 1
    assert queue.spools.rows() == []


def test_no_report_about_a_report(queue):
    queue.full(BOB, ERIN)
    queue.deliver(by_alias(ALICE), by_alias(BOB), reverse_path=ERIN)
    queue.pass_time(4 * SCHEDULE.expire_after)
    queue.full()
    queue.pass_time(2 * SCHEDULE.expire_after)
    assert [len(queue.spools.look(mailbox)) for mailbox in (ALICE, BOB, DAVE, ERIN)] == [1, 0, 0, 0]
    assert (queue.waiting(), queue.spools.rows()) == ([], [])
    assert queue.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("failing", ["commit", "write"])
def test_a_report_that_cannot_be_written_comes_later_and_once(queue, failing):
    queue.full(BOB)
    queue.deliver(by_alias(ALICE), by_alias(BOB), reverse_path=ERIN)
    queue.pass_time(TIMES[-1] - 1)
    queue.spools.calls.fail_all(failing, errno.EIO)
    queue.reactor.advance(1)
    queue.finish()
    assert queue.spools.look(ERIN) == []
    queue.spools.calls.fail_none()
    queue.pass_time(2 * max(RETRY))
    assert len(queue.reports(ERIN)) == 1
    assert (queue.waiting(), queue.spools.rows()) == ([], [])


def test_stop_lets_an_attempt_end_and_begins_no_other(queue):
    queue.full(BOB)
    queue.deliver(member(BOB))
    queue.full()
    queue.reactor.advance(FIRST_RETRY)
    while not queue.runner._running or queue.runner._window.is_taken("local"):
        queue.reactor.run_call()
    queue.stop()
    assert len(queue.spools.look(BOB)) == 1
    queue.spools.checkpoint()
    assert queue.reactor.getDelayedCalls() == []
