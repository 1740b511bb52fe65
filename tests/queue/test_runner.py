"""The runner: who waits is tried on schedule, whatever the clock says, and delivered when there is room."""

import errno
import threading

import pytest

from mailserver.queue.schedule import Schedule
from tests.support.queue.runners import DAVE, ERIN, HOUR, RETRY, SCHEDULE, TIMES, YEAR, member
from tests.support.queue.spools import FIRST_RETRY, Spools
from tests.support.store.messages import ALICE, BOB, MESSAGE

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
    assert data == b"Return-Path: <club-bounces@example.org>\r\nDelivered-To: club@example.org\r\n" + MESSAGE
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
    """The last attempt delivers one and gives up the other; before it is synced comes a crash."""
    queue.full(ALICE, BOB)
    queue.deliver(member(ALICE), member(BOB))
    queue.pass_time(TIMES[-2] + 1)
    queue.full(BOB)
    writer = queue.spools.store.writer
    writer.sync = list  # nothing is safe
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
    sync = writer.sync

    def slow(texts):
        unsafe = sync(texts)
        inside.set()
        assert go_on.wait(30)
        return unsafe

    writer.sync = slow
    synced = queue.spools.spool.checkpoint.run()
    assert inside.wait(30)
    queue.reactor.advance(FIRST_RETRY)
    queue.finish()
    writer.sync = list  # nothing is safe from now on
    go_on.set()
    queue.spools.wait(synced)
    for path in queue.spools.files("new"):
        if "bob" in path.parts:
            path.unlink()
    queue.restart(Spools.leave)
    assert len(queue.spools.look(ALICE)) == len(queue.spools.look(BOB)) == 1


def test_what_was_removed_meanwhile_does_not_come_back_with_an_attempt(queue):
    """An attempt has read the message; then its first copy is synced and removed; then it commits."""
    queue.full(BOB)
    queue.deliver(member(ALICE), member(BOB))
    queue.full()
    spool = queue.spools.spool
    seq = queue.spools.rows()[0]
    queued = queue.spools.engine.load(seq)
    spool.read_due = lambda *arguments: ([(seq, queued)], None)
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
    ((_, (waiting,)),) = queue.spools.waiting()
    assert waiting.attempts == 1
    queue.pass_time(max(RETRY))
    assert len(queue.spools.look(BOB)) == 1
    assert queue.spools.rows() == []
