"""The runner with very many messages that are due at once: a few attempts at a time, and a prompt stop."""

import zlib

import pytest

from mailserver.queue.runner import AT_ONCE
from tests.support.queue.runners import Queue
from tests.support.queue.spools import FIRST_RETRY, NOW, MemorySpools, Spools
from tests.support.store.messages import BOB, MESSAGE

NUMBERS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?)"


def fill(spools: Spools, count: int, due: float) -> None:
    """So many messages of which a copy for BOB waits, all due at the same time."""
    message = "INSERT INTO message SELECT x, 'id' || x, ?, 'me@x.example', ?, '[]', ?, ? FROM n"
    waiting = "INSERT INTO waiting SELECT x, 1, ?, 'me@x.example', ?, x'', 1, ?, 'full' FROM n"
    content = (NOW, len(MESSAGE), MESSAGE, zlib.crc32(MESSAGE))
    spools.wait(
        spools.spool.change(
            [
                (f"{NUMBERS} {message}", (count, *content)),
                (f"{NUMBERS} {waiting}", (count, str(BOB), str(BOB), due)),
            ]
        )
    )
    spools.spool._seq = count


@pytest.fixture(params=[Spools, MemorySpools])
def spools(request, tmp_path, spool_reactor):
    spools = request.param(tmp_path / "data", spool_reactor)
    spools.open()
    yield spools
    spools.close()


@pytest.mark.parametrize("count", [1, AT_ONCE, AT_ONCE + 1, 150, 1_000, 100_000])
@pytest.mark.parametrize("due", [NOW - 1, NOW + FIRST_RETRY])
def test_a_stop_ends_however_many_are_due(spools, count, due):
    """Only the attempts under way are finished; the rest stays in the spool for the next start."""
    fill(spools, count, due)
    queue = Queue(spools)
    spools.reactor.advance(FIRST_RETRY)
    under_way = len(queue.runner._busy)
    assert under_way == min(count, AT_ONCE)
    queue.stop()
    spools.checkpoint()
    assert (queue.runner._busy, spools.reactor.getDelayedCalls()) == (set(), [])
    assert spools.spool.rows("SELECT count(*) FROM waiting") == [(count - under_way,)]
    assert len(spools.look(BOB)) == under_way


def test_all_that_is_due_is_tried(spools):
    """Each once, by workers that go on by themselves, and so is what fails for a reason of ours."""
    fill(spools, 300, NOW)
    load, failed = spools.spool.load, []

    def failing(seq):
        if seq % 100 == 0 and seq not in failed:
            failed.append(seq)
            raise OSError(5, "I/O error") if seq == 100 else ValueError("a bug")
        return load(seq)

    spools.spool.load = failing
    queue = Queue(spools)
    queue.pass_time(1.0)
    assert queue.waiting() == [str(BOB)] * 3
    queue.pass_time(FIRST_RETRY)
    assert (sorted(failed), queue.waiting()) == ([100, 200, 300], [])
    assert len(spools.look(BOB)) == 300
    queue.stop()
