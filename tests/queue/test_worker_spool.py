"""The spool of another worker: what it accepts itself, and what it gives to the first one."""

import errno
import os
import pickle

import attrs
import pytest

from mailserver.cluster.frames import content, failure, question
from mailserver.durable.disk import Disk
from mailserver.errors import MailboxFull, StorageError, StorageFull, StorageRefused
from mailserver.mail.address import Address
from mailserver.mail.envelope import ReportRequest
from mailserver.mail.handling import Handling
from mailserver.mail.queued import LOCAL
from mailserver.mail.quota import Quota
from mailserver.mail.verdict import Destination
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.shards.forwarding import ACCEPT, INLINE, remove_left_over
from mailserver.queue.sqlite.contents import FileContent
from tests.support.queue.crashed import HEAD
from tests.support.queue.spools import NOW, ForwardingSpools, envelope
from tests.support.store.messages import ALICE, BOB, CAROL, MESSAGE

FAR = Destination(Address("dave", "far.example"), Address("dave", "far.example"), remote=True)
FULL = Quota(octets=1)
LARGE = os.urandom(INLINE + 1)


@pytest.fixture
def worker(tmp_path, spool_reactor):
    worker = ForwardingSpools(tmp_path / "data", spool_reactor)
    worker.open()
    yield worker
    worker.calls.fail_none()
    worker.close()


def peer(worker):
    return worker.first.peers.__self__


def left(worker):
    """What there is of any message."""
    return [*worker.rows(), *worker.files("new"), *worker.files("tmp"), *(worker.root / "tmp").iterdir()]


def commit(worker, data, *to, changed=None, together=None, **options):
    received = worker.spool.receive(attrs.evolve(envelope(*to), **options), b"Received: here\r\n")
    written = received.write(data)
    if written is not None:
        worker.wait(written)
    return worker.wait(received.commit(changed=changed, together=together))


@pytest.mark.parametrize(
    ("to", "options", "full", "own", "waiting"),
    [
        ((ALICE,), {}, (), True, []),
        ((ALICE, BOB, CAROL), {}, (), True, []),
        ((ALICE, FAR), {}, (), False, ["dave"]),
        ((FAR,), {}, (), False, ["dave"]),
        ((ALICE,), {"handling": Handling(release=NOW + 60)}, (), False, ["alice"]),
        ((ALICE,), {"reports": {ALICE: ReportRequest("SUCCESS")}}, (), False, []),
        ((ALICE, BOB), {}, (BOB,), False, ["bob"]),
    ],
)
@pytest.mark.parametrize("size", [100, INLINE + 1])
def test_who_accepts(worker, to, options, full, own, waiting, size):
    """The whole message is in one spool, and its trace fields are there once."""
    data = os.urandom(size)
    confirmed = []
    worker.first.spool.confirms = lambda message, who: confirmed.extend(who)
    worker.quotas.update(dict.fromkeys(full, FULL))
    assert not commit(worker, data, *to, **options)
    assert [subject for subject, _ in peer(worker).asked] == ([] if own else [ACCEPT])
    assert worker.engine.unsynced() == own
    found = [each for _, recipients in worker.waiting() for each in recipients]
    assert [each.address.partition("@")[0] for each in found] == waiting
    for message, _ in worker.waiting():
        assert b"".join(message.content.chunks()) == data
    for mailbox in {ALICE, BOB, CAROL} & set(to):
        local = str(mailbox).partition("@")[0] in waiting
        (seen,) = worker.look(mailbox) or [None]
        assert (seen is None) == local
        assert seen is None or (seen.endswith(b"Received: here\r\n" + data) and seen.startswith(HEAD))
    assert bool(confirmed) == ("reports" in options)
    assert list((worker.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("changed", [True, False])
@pytest.mark.parametrize("data", [MESSAGE, LARGE])
def test_a_large_content_is_in_a_file(worker, changed, data, monkeypatch):
    accept, seen = peer(worker)._answers[ACCEPT], []

    def noted(message):
        seen.append((len(question(1, 1, ACCEPT, message).payload), message.content))
        return accept(message)

    monkeypatch.setitem(peer(worker)._answers, ACCEPT, noted)
    commit(worker, b"other" if changed else data, FAR, changed=InMemoryContent(data) if changed else None)
    ((octets, passed),) = seen
    assert octets < 5000
    assert isinstance(passed, FileContent if data is LARGE else InMemoryContent)
    ((message, _),) = worker.waiting()
    assert b"".join(message.content.chunks()) == data
    assert list((worker.root / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        StorageError("none"),
        StorageFull("no space left"),
        StorageRefused("denied"),
        MailboxFull("the mailbox is full", ("alice@example.org",)),
    ],
)
def test_an_error_comes_back_as_it_is(worker, error, monkeypatch):
    def refuse(message):
        raise error

    monkeypatch.setitem(peer(worker)._answers, ACCEPT, refuse)
    with pytest.raises(type(error)) as raised:
        commit(worker, LARGE, FAR)
    assert (str(raised.value), vars(raised.value)) == (str(error), vars(error))
    crossed = content(failure(1, 1, error))
    assert (type(crossed), str(crossed), vars(crossed)) == (type(error), str(error), vars(error))
    assert left(worker) == []


def test_all_mailboxes_are_full(worker):
    worker.quotas.update({ALICE: FULL, BOB: FULL})
    with pytest.raises(MailboxFull) as raised:
        commit(worker, MESSAGE, ALICE, BOB, together=[{ALICE}, {BOB}])
    assert set(raised.value.mailboxes) == {str(ALICE), str(BOB)}
    assert left(worker) == []
    assert commit(worker, MESSAGE, ALICE, CAROL, together=[{ALICE}, {CAROL}]) == {ALICE}
    assert len(worker.look(CAROL)) == 1


@pytest.mark.parametrize("to", [FAR, ALICE])
@pytest.mark.parametrize("data", [MESSAGE, LARGE])
def test_the_first_worker_is_gone(worker, to, data):
    """Only the messages for mailboxes here are accepted."""
    peer(worker).gone = True
    if to is ALICE:
        commit(worker, data, ALICE)
        assert len(worker.look(ALICE)) == 1
        worker.quotas[ALICE] = FULL
    before = len(left(worker))
    with pytest.raises(StorageError):
        commit(worker, data, to)
    assert len(left(worker)) == before


@pytest.mark.parametrize("again", [1, 2])
def test_the_answer_is_lost(worker, monkeypatch, again):
    """The first worker is killed after its commit. The client sends the message again: it is there twice."""
    accept = peer(worker)._answers[ACCEPT]

    def lost(_):
        raise StorageError("worker 1 has ended")

    worker.quotas[BOB] = FULL
    monkeypatch.setitem(peer(worker)._answers, ACCEPT, lambda message: accept(message).addCallback(lost))
    for _ in range(again):
        with pytest.raises(StorageError):
            commit(worker, LARGE, ALICE, BOB)
    worker.first.leave()
    worker.first._make()
    worker.first.open()
    assert len(worker.look(ALICE)) == again
    assert len(worker.waiting()) == again
    assert list((worker.root / "tmp").iterdir()) == []


def test_no_space_for_the_file(worker):
    worker.calls.fail_all("write", errno.ENOSPC)
    with pytest.raises(StorageFull):
        commit(worker, LARGE, FAR)
    worker.calls.fail_none()
    assert left(worker) == []


def test_files_that_are_left_over(worker):
    """A worker that starts removes its own, and the first one those of workers that do not exist."""
    names = [f"forwarded.{number}.0" for number in (2, 3)] + ["forwarded.4", "other"]
    for name in names:
        (worker.root / "tmp" / name).write_bytes(b"x")
    worker.reopen()
    assert {path.name for path in (worker.root / "tmp").iterdir()} == {*names} - {"forwarded.2.0"}
    disk = Disk()
    remove_left_over(worker.root / "tmp", disk, lambda number: number > 2)
    assert {path.name for path in (worker.root / "tmp").iterdir()} == {"forwarded.4", "other"}
    remove_left_over(worker.root / "missing", disk, lambda number: True)


def test_the_worker_has_ended_before_its_message_is_accepted(worker, monkeypatch):
    """Its next start has removed the file."""
    accept = peer(worker)._answers[ACCEPT]

    def late(message):
        worker.spool._forwarded.remove_left_over()
        return accept(message)

    monkeypatch.setitem(peer(worker)._answers, ACCEPT, late)
    with pytest.raises(StorageError, match="is missing"):
        commit(worker, LARGE, FAR, ALICE)
    assert left(worker) == []


def test_the_waiting_recipient_is_tried_by_the_first_worker(worker):
    told = []
    worker.first.spool.waits = lambda destinations, when: told.append(list(destinations))
    worker.quotas[ALICE] = FULL
    commit(worker, MESSAGE, ALICE, BOB)
    assert told == [[LOCAL]]
    assert pickle.loads(pickle.dumps(worker.waiting()[0][1])) == worker.waiting()[0][1]
