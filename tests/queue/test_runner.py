"""The runner: who waits is tried on schedule, delivered when there is room, and reported in the end."""

import errno
import threading
from email import message_from_bytes, policy
from itertools import accumulate, chain, repeat

import pytest
from twisted.logger import capturedLogs

from mailserver.interfaces import Quota
from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination
from mailserver.queue.runner import Runner, Schedule
from mailserver.routing.router import Router
from mailserver.routing.table import MailingList, Names, RoutingTable
from tests.queue.spools import FIRST_RETRY, NOW, SENDER, Spools
from tests.store.messages import ALICE, BOB, MESSAGE

DAVE = Address("dave", "example.org")
ERIN = Address("erin", "example.org")
BOTH = Address("both", "example.org")
CLUB = Address("club", "example.org")
BOUNCES = Address("club-bounces", "example.org")
NAMES = Names(
    domains=["example.org"],
    accounts=[ALICE, BOB, DAVE, ERIN],
    aliases={BOTH: [ALICE, BOB]},
    lists={CLUB: MailingList((ALICE, BOB), DAVE)},
)
HOUR, YEAR = 3600.0, 365 * 86400.0
RETRY = (FIRST_RETRY, 900.0, 1800.0, HOUR)
SCHEDULE = Schedule(RETRY, 6 * HOUR)
FULL = Quota(octets=1)


def attempts_of(schedule):
    """When attempts are made, in seconds after the first: until ``expire_after``, and once not before it."""
    times = []
    for time in accumulate(chain(schedule.retry, repeat(schedule.retry[-1]))):
        times.append(time)
        if time >= schedule.expire_after:
            return times
    return times


TIMES = attempts_of(SCHEDULE)


def member(mailbox):
    return Destination(mailbox, CLUB, BOUNCES)


def by_alias(mailbox):
    return Destination(mailbox, BOTH)


class Queue:
    """A spool with its runner, and the time when each attempt was begun, in seconds after the start.

    ``jump`` is how far the clock on the wall has been moved; the reactor's time only goes on.
    """

    def __init__(self, spools: Spools) -> None:
        self.spools = spools
        self.reactor = spools.reactor
        self.router = Router(RoutingTable(NAMES))
        self.jump = 0.0
        self.times: list[float] = []
        self.start()

    def start(self) -> None:
        self.runner = Runner(
            self.spools.spool,
            self.router,
            "mail.example.org",
            lambda: SCHEDULE,
            self.reactor,
            lambda: self.reactor.seconds() + self.jump,
        )
        self.runner.start()

    def stop(self) -> None:
        self.spools.wait(self.runner.stop())

    def restart(self, leave=Spools.close) -> None:
        self.stop()
        self.spools.reopen(leave)
        self.start()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due."""
        end = self.reactor.seconds() + seconds
        while True:
            self.finish()
            self.spools.checkpoint()
            due = [call.getTime() for call in self.reactor.getDelayedCalls()]
            if not due or min(due) > end:
                break
            self.reactor.advance(max(min(due) - self.reactor.seconds(), 0.0))
            if self.runner._busy:
                self.times.append(self.reactor.seconds() - NOW)
        self.reactor.advance(end - self.reactor.seconds())

    def finish(self) -> None:
        """Let the attempts that are under way end; nothing else happens."""
        while self.runner._busy:
            self.spools.wait(next(iter(self.runner._busy)))

    def deliver(self, *to, reverse_path=ALICE) -> None:
        self.spools.wait(self.spools.deliver(MESSAGE, *to, reverse_path=reverse_path))

    def waiting(self) -> list[str]:
        return [who.mailbox for _, all_ in self.spools.spool.waiting() for who in all_]

    def full(self, *mailboxes: Address) -> None:
        """From now on these have no room, and no others."""
        self.spools.quotas.clear()
        self.spools.quotas.update(dict.fromkeys(mailboxes, FULL))

    def reports(self, mailbox: Address):
        """The reports in a mailbox; nothing else may be there but messages of ours."""
        found = [message_from_bytes(data, policy=policy.SMTP) for data in self.spools.look(mailbox)]
        return [one for one in found if one.get_content_type() == "multipart/report"]


@pytest.fixture
def queue(spools):
    queue = Queue(spools)
    yield queue
    queue.stop()


# ---------------------------------------------------------------- the schedule


@pytest.mark.parametrize(
    ("retry", "expire_after", "attempts", "last"),
    [
        ((60.0,), 60.0, 2, 60.0),
        ((60.0,), 1.0, 2, 60.0),
        ((60.0,), 61.0, 3, 120.0),
        ((300.0, 900.0, 3600.0), 4800.0, 4, 4800.0),
        ((300.0, 900.0, 3600.0), 4801.0, 5, 8400.0),
        ((300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0), 5 * 86400.0, 36, 445800.0),
    ],
)
def test_schedule(retry, expire_after, attempts, last):
    """With the defaults the end comes at the first attempt that is five days old, and not before."""
    schedule = Schedule(retry, expire_after)
    over = next(number for number in range(1, 1000) if schedule.is_over(number))
    assert over == attempts
    assert sum(schedule.before(number) for number in range(1, over)) == last
    assert last >= expire_after > last - schedule.before(over - 1)
    assert [schedule.before(number) for number in range(1, 10)] == list((retry + (retry[-1],) * 9)[:9])


def test_tried_on_schedule(queue):
    queue.full(BOB)
    queue.deliver(member(ALICE), member(BOB))
    queue.pass_time(2 * SCHEDULE.expire_after)
    assert queue.times == TIMES
    assert queue.waiting() == []
    assert queue.spools.rows() == []
    assert queue.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("leave", [Spools.close, Spools.leave])
@pytest.mark.parametrize("after", [1.0, 299.0, 301.0, 5000.0])
def test_a_restart_changes_no_time(queue, after, leave):
    queue.full(BOB)
    queue.deliver(member(BOB))
    queue.pass_time(after)
    queue.restart(leave)
    queue.pass_time(2 * SCHEDULE.expire_after)
    assert queue.times == TIMES
    assert len(queue.reports(DAVE)) == 1


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 10 * YEAR, -10 * YEAR])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("before", [1.0, 5000.0])
def test_the_clock_on_the_wall_jumps(queue, jump, restarted, before):
    """No storm, no early report, and nobody is forgotten: at most one attempt comes early or late."""
    queue.full(BOB)
    queue.deliver(member(BOB))
    queue.pass_time(before)
    queue.jump = jump
    if restarted:
        queue.restart()
    queue.pass_time(SCHEDULE.expire_after - max(RETRY) - before)
    assert queue.reports(DAVE) == []
    assert queue.waiting() == [str(BOB)]
    queue.pass_time(SCHEDULE.expire_after)
    assert len(queue.reports(DAVE)) == 1
    assert abs(len(queue.times) - len(TIMES)) <= 1
    gaps = [later - earlier for earlier, later in zip(queue.times, queue.times[1:], strict=False)]
    assert max(gaps) <= max(RETRY) * 2
    assert sum(gap < RETRY[0] for gap in gaps) == 0 or (restarted and jump > 0)


# ---------------------------------------------------------------- delivered after all


def test_a_full_member_waits_and_gets_it_when_there_is_room(queue):
    queue.full(BOB)
    queue.deliver(member(ALICE), member(BOB), ERIN)
    assert [len(queue.spools.look(mailbox)) for mailbox in (ALICE, BOB, ERIN)] == [1, 0, 1]
    queue.pass_time(2 * HOUR)
    assert queue.waiting() == [str(BOB)]
    queue.full()
    queue.pass_time(HOUR)
    (data,) = queue.spools.look(BOB)
    assert (
        data == b"Return-Path: <club-bounces@example.org>\r\nDelivered-To: club@example.org\r\n" + MESSAGE
    )
    assert queue.waiting() == []
    assert queue.spools.rows() == []
    queue.pass_time(SCHEDULE.expire_after)
    assert [len(queue.spools.look(mailbox)) for mailbox in (ALICE, BOB, DAVE, ERIN)] == [1, 1, 0, 1]


def test_each_gets_it_when_there_is_room_for_him(queue):
    queue.full(ALICE, BOB)
    queue.deliver(member(ALICE), member(BOB))
    queue.pass_time(HOUR)
    queue.full(BOB)
    queue.pass_time(2 * HOUR)
    assert queue.waiting() == [str(BOB)]
    queue.full()
    queue.pass_time(2 * HOUR)
    assert len(queue.spools.look(ALICE)) == len(queue.spools.look(BOB)) == 1
    assert queue.spools.rows() == []


def test_what_an_attempt_delivers_is_safe_whatever_comes_then(queue):
    """The last attempt delivers one and gives up the other; before it is settled comes a crash."""
    queue.full(ALICE, BOB)
    queue.deliver(member(ALICE), member(BOB))
    queue.pass_time(TIMES[-2] + 1)
    queue.full(BOB)
    writer = queue.spools.store.writer
    writer.settle = list  # nothing is safe
    queue.reactor.advance(TIMES[-1] - TIMES[-2])
    queue.finish()
    assert queue.waiting() == []
    for path in queue.spools.files("new"):
        path.unlink()
    queue.restart(Spools.leave)
    assert len(queue.spools.look(ALICE)) == 1
    assert len(queue.reports(DAVE)) == 1
    assert queue.spools.rows() == []


def test_an_attempt_while_the_checkpoint_syncs(queue):
    """What it delivers was not synced with the rest, and stays in the spool until the next round."""
    queue.full(BOB)
    queue.deliver(member(ALICE), member(BOB))
    queue.full()
    inside, go_on = threading.Event(), threading.Event()
    writer = queue.spools.store.writer
    settle = writer.settle

    def slow(texts):
        unsafe = settle(texts)
        inside.set()
        assert go_on.wait(30)
        return unsafe

    writer.settle = slow
    settled = queue.spools.spool.checkpoint.run()
    assert inside.wait(30)
    queue.reactor.advance(FIRST_RETRY)
    queue.finish()
    writer.settle = list  # nothing is safe from now on
    go_on.set()
    queue.spools.wait(settled)
    for path in queue.spools.files("new"):
        if "bob" in path.parts:
            path.unlink()
    queue.restart(Spools.leave)
    assert len(queue.spools.look(ALICE)) == len(queue.spools.look(BOB)) == 1


def test_what_was_removed_meanwhile_does_not_come_back_with_an_attempt(queue):
    """An attempt has read the message; then its first copy is settled and removed; then it commits."""
    queue.full(BOB)
    queue.deliver(member(ALICE), member(BOB))
    queue.full()
    spool = queue.spools.spool
    entry = spool.load(queue.spools.rows()[0])
    spool.load = lambda seq: entry
    queue.spools.checkpoint()
    drop = queue.spools.wait(queue.spools.maildrops.maildrop(ALICE))
    assert queue.spools.wait(drop.remove([0])) == frozenset()
    drop.release()
    queue.reactor.advance(FIRST_RETRY)
    queue.finish()
    queue.restart(Spools.leave)
    assert (len(queue.spools.look(ALICE)), len(queue.spools.look(BOB))) == (0, 1)


@pytest.mark.parametrize("failing", ["commit", "write", "open"])
def test_a_failing_disk_is_nobodys_fault(queue, failing):
    """What fails for a reason of ours is tried again and does not count."""
    queue.full(BOB)
    queue.deliver(member(BOB))
    queue.full()
    queue.spools.calls.fail_all(failing, errno.EIO)
    queue.reactor.advance(FIRST_RETRY)
    queue.finish()
    assert queue.spools.look(BOB) == []
    queue.spools.calls.fail_none()
    ((_, (waiting,)),) = queue.spools.spool.waiting()
    assert waiting.attempts == 1
    queue.pass_time(max(RETRY))
    assert len(queue.spools.look(BOB)) == 1
    assert queue.spools.rows() == []


# ---------------------------------------------------------------- given up


def groups(part):
    """The groups of fields of a delivery status: of the message first, then of each recipient."""
    return [dict(group.items()) for group in part.get_payload()]


def test_the_report(queue):
    queue.full(BOB)
    with capturedLogs() as events:
        queue.deliver(by_alias(ALICE), by_alias(BOB), reverse_path=ERIN)
        queue.pass_time(2 * SCHEDULE.expire_after)
    assert [len(queue.spools.look(mailbox)) for mailbox in (ALICE, BOB, DAVE, ERIN)] == [1, 0, 0, 1]
    (report,) = queue.reports(ERIN)
    assert report["Return-Path"] == "<>"
    assert report["To"] == "erin@example.org"
    text, status, header = report.iter_parts()
    assert "both@example.org" in text.get_content() and "bob@" not in report.as_string()
    message, recipient = groups(status)
    assert message["Reporting-MTA"] == "dns; mail.example.org"
    assert recipient["Final-Recipient"] == "rfc822; both@example.org"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.2.2")
    assert header.get_payload() == "Subject: hello\r\n"
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
    assert any("given up" in str(event.get("log_format")) for event in events)


def test_a_report_that_leads_nowhere_keeps_the_message(queue):
    """It is told as soon as it can be, and once."""
    queue.full(BOB)
    queue.deliver(by_alias(ALICE), by_alias(BOB), reverse_path=SENDER)
    queue.pass_time(3 * SCHEDULE.expire_after)
    assert queue.waiting() == [str(BOB)]
    assert queue.times[: len(TIMES)] == TIMES
    queue.restart()
    queue.router.table = RoutingTable(
        Names(domains=["example.org", "x.example"], accounts=[*NAMES.accounts, SENDER])
    )
    queue.pass_time(2 * max(RETRY))
    assert (queue.waiting(), queue.spools.rows()) == ([], [])
    queue.pass_time(SCHEDULE.expire_after)
    assert len(queue.reports(SENDER)) == 1


def test_who_gets_room_while_the_report_cannot_go_gets_the_message(queue):
    queue.full(BOB)
    queue.deliver(by_alias(ALICE), by_alias(BOB), reverse_path=SENDER)
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
    queue.stop()
    assert len(queue.spools.look(BOB)) == 1
    queue.spools.checkpoint()
    assert queue.reactor.getDelayedCalls() == []
