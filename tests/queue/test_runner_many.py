"""The runner with very many messages that are due at once: a few attempts at a time, and a prompt stop."""

import pytest

from mailserver.interfaces import QueuedMessage
from mailserver.mail.queued import LOCAL, FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import MAILBOX_FULL
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.runner import LOCAL_AT_ONCE
from tests.support.queue.runners import Queue
from tests.support.queue.spools import FIRST_RETRY, NOW, MemorySpools, Spools
from tests.support.store.messages import BOB, MESSAGE


def fill(spools: Spools, count: int, due: float) -> None:
    """So many messages of which a copy for BOB waits, all due at the same time."""
    content = InMemoryContent(MESSAGE)
    history = (FailedAttempt(NOW, MAILBOX_FULL, "full"),)
    bob = QueuedRecipient(1, LOCAL, str(BOB), str(BOB), "me@x.example", b"", 1, due, history)
    transaction = spools.engine.begin()
    for seq in range(1, count + 1):
        transaction.enqueue(QueuedMessage(seq, f"id{seq}", NOW, "me@x.example", content.size, content), [bob])
    transaction.commit()
    spools.spool._seq = count


@pytest.fixture(params=[Spools, MemorySpools])
def spools(request, tmp_path, spool_reactor):
    spools = request.param(tmp_path / "data", spool_reactor)
    spools.open()
    yield spools
    spools.close()


@pytest.mark.parametrize("count", [1, LOCAL_AT_ONCE, LOCAL_AT_ONCE + 1, 150, 1_000, 3_000])
@pytest.mark.parametrize("due", [NOW - 1, NOW + FIRST_RETRY])
def test_a_stop_ends_however_many_are_due(spools, count, due):
    """Only the attempts under way are finished; the rest stays in the spool for the next start."""
    fill(spools, count, due)
    queue = Queue(spools)
    spools.reactor.advance(FIRST_RETRY)
    while queue.runner._running == 0 or queue.runner._window.is_taken(LOCAL):
        spools.reactor.run_call()
    under_way = queue.runner._running
    assert under_way == min(count, LOCAL_AT_ONCE)
    queue.stop()
    spools.checkpoint()
    assert (queue.runner._busy, spools.reactor.getDelayedCalls()) == (set(), [])
    assert spools.engine.waiting() == count - under_way
    assert len(spools.look(BOB)) == under_way


def test_all_that_is_due_is_tried(spools):
    """Each once, by workers that go on by themselves, and so is what fails for a reason of ours."""
    fill(spools, 300, NOW)
    load, failed = spools.engine.load, []

    def failing(seq, destination=None):
        if seq % 100 == 0 and seq not in failed:
            failed.append(seq)
            raise OSError(5, "I/O error") if seq == 100 else ValueError("a bug")
        return load(seq, destination)

    spools.engine.load = failing
    queue = Queue(spools)
    queue.pass_time(1.0)
    assert queue.waiting() == [str(BOB)] * 3
    queue.pass_time(FIRST_RETRY)
    assert (sorted(failed), queue.waiting()) == ([100, 200, 300], [])
    assert len(spools.look(BOB)) == 300
    queue.stop()
