"""What every spool does, on disk in front of Maildirs and in memory; then what only files can show."""

import errno
import os
import sqlite3
import threading
from contextlib import nullcontext

import pytest

from mailserver.errors import MailboxFull, StorageError
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope, ReportRequest
from mailserver.mail.queued import LOCAL, FailedAttempt
from mailserver.mail.quota import Quota
from mailserver.mail.verdict import MAILBOX_FULL, Destination
from mailserver.queue.content import IN_MEMORY
from mailserver.queue.entries import InMemoryContent, RecordedAttempt
from mailserver.queue.incoming import deliveries
from mailserver.queue.writer import MAX_GROUP
from mailserver.store.writer import IN_SPOOL
from tests.support.queue.spools import FIRST_RETRY, NOW, SENDER, ForwardingSpools, MemorySpools, Spools
from tests.support.store.messages import ALICE, BOB, CAROL, MESSAGE, together

HEAD = b"Return-Path: <me@x.example>\r\n"
ALIAS = Address("sales", "example.org")
CLUB = Address("club", "example.org")
BOUNCES = Address("club-bounces", "example.org")
FULL = Quota(octets=1)


def by_alias(mailbox):
    return Destination(mailbox, ALIAS)


def member(mailbox):
    return Destination(mailbox, CLUB, BOUNCES)


KINDS = {"disk": Spools, "memory": MemorySpools, "worker": ForwardingSpools}


@pytest.fixture(params=KINDS)
def engine(request, tmp_path, spool_reactor):
    spools = KINDS[request.param](tmp_path / "data", spool_reactor)
    spools.open()
    yield spools
    spools.calls.fail_none()
    spools.close()


def accept(engine, mailbox, recorded=None, **options):
    """Take a message that the server itself has made."""
    envelope = Envelope("1m8291p2p3504v4t", None, (mailbox,), (Destination(mailbox, mailbox),))
    content = InMemoryContent(MESSAGE)
    return engine.spool.accept(
        content, envelope, deliveries(envelope, b"", content.size), (), recorded, **options
    )


def bodies(found):
    return [message[message.index(b"Subject:") :] for message in found]


# ---------------------------------------------------------------- both


@pytest.mark.parametrize("size", [0, 1, IN_SPOOL, IN_SPOOL + 1, IN_MEMORY + 1])
def test_who_has_the_answer_sees_the_message(engine, size):
    data = os.urandom(size)
    message = engine.receive(ALICE, BOB)
    written = message.write(data)
    if written is not None:  # a part of it goes to the disk, in a thread
        engine.wait(written)
    engine.wait(message.commit())
    for mailbox in (ALICE, BOB):
        assert engine.look(mailbox) == [HEAD + data]
    assert engine.look(CAROL) == []
    engine.checkpoint()
    assert engine.rows() == []
    assert engine.look(ALICE) == [HEAD + data]


def test_many_at_once_arrive_once_and_in_order(engine):
    texts = [b"Subject: %d\r\n\r\n" % number for number in range(3 * MAX_GROUP // 2)]
    results = engine.wait(together([engine.deliver(text, ALICE, BOB) for text in texts]))
    assert results == [None] * len(texts)
    assert bodies(engine.look(ALICE)) == bodies(engine.look(BOB)) == texts


def test_an_abandoned_message_is_nowhere(engine):
    message = engine.receive(ALICE)
    message.write(MESSAGE)
    message.abandon()
    engine.wait(engine.deliver(b"Subject: other\r\n\r\n", ALICE))
    assert bodies(engine.look(ALICE)) == [b"Subject: other\r\n\r\n"]


@pytest.mark.parametrize(
    ("recipients", "full", "taken", "waiting"),
    [
        ((ALICE,), {ALICE}, False, []),
        ((ALICE, BOB), {ALICE, BOB}, False, []),
        ((ALICE, BOB), {ALICE}, True, [(ALICE, ALICE)]),
        ((by_alias(ALICE),), {ALICE}, False, []),
        ((by_alias(ALICE), by_alias(BOB)), {ALICE}, True, [(ALIAS, ALICE)]),
        ((member(ALICE),), {ALICE}, True, [(ALICE, ALICE)]),
        ((member(ALICE), member(BOB)), {ALICE}, True, [(ALICE, ALICE)]),
        ((member(ALICE), member(BOB)), {ALICE, BOB}, True, [(ALICE, ALICE), (BOB, BOB)]),
        ((ALICE, member(BOB)), {ALICE, BOB}, True, [(ALICE, ALICE), (BOB, BOB)]),
        ((ALICE, member(BOB)), {BOB}, True, [(BOB, BOB)]),
        ((Destination(ALICE, Address("ALICE", "example.org")),), {ALICE}, False, []),
    ],
)
def test_full_mailboxes(engine, recipients, full, taken, waiting):
    """If nobody has room the client is told so, but for a list: it takes what its members will have later.

    Whoever else is full waits, and the others do not. A member of a list is named to its owner.
    """
    engine.quotas.update(dict.fromkeys(full, FULL))
    told = []
    engine.first.spool.waits = lambda destinations, when: told.append((*destinations, when))
    delivery = engine.deliver(MESSAGE, *recipients)
    if taken:
        engine.wait(delivery)
    else:
        with pytest.raises(MailboxFull):
            engine.wait(delivery)
    found = [who for _, all_ in engine.waiting() for who in all_]
    assert [(who.recipient, who.address) for who in found] == [(str(a), str(b)) for a, b in waiting]
    assert {(who.attempts, who.next) for who in found} <= {(1, NOW + FIRST_RETRY)}
    assert [who.reverse_path for who in found] == [
        "club-bounces@example.org" if member(Address.parse(who.address)) in recipients else "me@x.example"
        for who in found
    ]
    assert told == [(LOCAL, NOW + FIRST_RETRY) for _ in engine.waiting()]
    for mailbox in (ALICE, BOB):
        asked = any(mailbox in (one, getattr(one, "mailbox", None)) for one in recipients)
        wanted = taken and asked and mailbox not in full
        assert len(engine.look(mailbox)) == (1 if wanted else 0)
    assert len(engine.rows()) == (1 if taken else 0)
    engine.checkpoint()
    assert len(engine.rows()) == (1 if waiting else 0)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        (Quota(), 5),
        (Quota(octets=3 * (len(HEAD) + len(MESSAGE))), 3),
        (Quota(octets=3 * (len(HEAD) + len(MESSAGE)) - 1), 2),
        (Quota(messages=2), 2),
        (Quota(octets=10**9, messages=4), 4),
    ],
)
@pytest.mark.parametrize("way", ["one by one", "all at once"])
def test_a_quota_holds(engine, quota, expected, way):
    engine.quotas[ALICE] = quota
    if way == "one by one":
        results = [engine.wait(engine.deliver(MESSAGE, ALICE, BOB)) for _ in range(5)]
    else:
        results = engine.wait(together([engine.deliver(MESSAGE, ALICE, BOB) for _ in range(5)]))
    assert results == [None] * 5
    assert (len(engine.look(ALICE)), len(engine.look(BOB))) == (expected, 5)
    assert sum(len(who) for _, who in engine.waiting()) == 5 - expected


def test_what_the_spool_knows_of_a_message_that_waits(engine):
    engine.quotas[ALICE] = FULL
    envelope = Envelope("1m8291p2p3504v4t", SENDER, (CLUB,), (member(ALICE), member(BOB)))
    message = engine.spool.receive(envelope, b"Received: here\r\n")
    message.write(MESSAGE)
    engine.wait(message.commit())
    engine.checkpoint()
    ((kept, (waiting,)),) = engine.waiting()
    assert (kept.id, kept.received, kept.reverse_path) == (envelope.id, NOW, "me@x.example")
    assert (kept.octets, b"".join(kept.content.chunks())) == (len(MESSAGE), MESSAGE)
    assert waiting.head == (
        b"Return-Path: <club-bounces@example.org>\r\nDelivered-To: club@example.org\r\nReceived: here\r\n"
    )
    assert (waiting.destination, waiting.address) == ("local", str(ALICE))
    assert waiting.history == (FailedAttempt(NOW, MAILBOX_FULL, "the mailbox is full"),)
    assert engine.engine.load(kept.seq + 1) is None


@pytest.mark.parametrize("fails", [False, True])
def test_changes_are_made_with_the_message_or_not_at_all(engine, fails):
    engine.quotas[ALICE] = FULL
    engine.wait(engine.deliver(MESSAGE, member(ALICE)))
    ((kept, recipients),) = engine.waiting()
    if fails:
        engine.calls.fail_all("commit", errno.EIO)
    with pytest.raises(StorageError) if fails else nullcontext():
        engine.wait(accept(engine, BOB, RecordedAttempt(kept, (), recipients)))
    engine.calls.fail_none()
    assert len(list(engine.waiting())) == fails
    assert len(engine.look(BOB)) == (not fails)


def test_what_no_mailbox_may_reject_waits(engine):
    engine.quotas[ALICE] = FULL
    with pytest.raises(MailboxFull):
        engine.wait(accept(engine, ALICE))
    engine.wait(accept(engine, ALICE, together=()))
    ((_, (waiting,)),) = engine.waiting()
    assert (waiting.address, waiting.reverse_path) == (str(ALICE), "")


@pytest.mark.parametrize(
    ("sets", "full", "rejected", "waiting"),
    [
        ([{ALICE}, {BOB}, {CAROL}], {ALICE}, {ALICE}, set()),
        ([{ALICE}, {BOB}, {CAROL}], {ALICE, BOB}, {ALICE, BOB}, set()),
        ([{ALICE, BOB}, {CAROL}], {ALICE}, set(), {ALICE}),
        ([{ALICE, BOB}, {CAROL}], {ALICE, BOB}, {ALICE, BOB}, set()),
        # alice is in two sets, and bob's is not rejected: her copy waits, and then carol's waits, too
        ([{ALICE}, {ALICE, BOB}, {CAROL}], {ALICE}, set(), {ALICE}),
        ([{ALICE, BOB}, {ALICE, CAROL}], {ALICE, CAROL}, set(), {ALICE, CAROL}),
        (None, {ALICE, BOB}, set(), {ALICE, BOB}),
        ([], {ALICE, BOB}, set(), {ALICE, BOB}),
        ([{ALICE}, {BOB}, {CAROL}], {ALICE, BOB, CAROL}, None, set()),
        (None, {ALICE, BOB, CAROL}, None, set()),
        ([], {ALICE, BOB, CAROL}, set(), {ALICE, BOB, CAROL}),
    ],
)
def test_full_mailboxes_reject_a_message_together(engine, sets, full, rejected, waiting):
    engine.quotas.update(dict.fromkeys(full, FULL))
    message = engine.receive(ALICE, BOB, CAROL)
    message.write(MESSAGE)
    with pytest.raises(MailboxFull) if rejected is None else nullcontext():
        assert set(engine.wait(message.commit(together=sets))) == rejected
    queued = {each.address for _, recipients in engine.waiting() for each in recipients}
    assert queued == set(map(str, waiting))
    for mailbox in (ALICE, BOB, CAROL):
        assert len(engine.look(mailbox)) == (mailbox not in full)


def test_a_recipient_that_has_rejected_the_message_is_no_success(engine):
    engine.quotas[ALICE] = FULL
    to = tuple(Destination(mailbox, mailbox) for mailbox in (ALICE, BOB))
    asked = dict.fromkeys((ALICE, BOB), ReportRequest("SUCCESS"))
    message = engine.spool.receive(Envelope("1m8291p2p3504v4t", SENDER, (ALICE, BOB), to, reports=asked), b"")
    message.write(MESSAGE)
    confirmed = []
    engine.first.spool.confirms = lambda message, who: confirmed.extend(each.address for each in who)
    engine.wait(message.commit(together=[{ALICE}, {BOB}]))
    assert confirmed == [str(BOB)]


def test_a_member_of_a_list_never_rejects_a_message(engine):
    engine.quotas[ALICE] = FULL
    message = engine.receive(member(ALICE), BOB)
    message.write(MESSAGE)
    assert not engine.wait(message.commit(together=[{ALICE}, {BOB}]))
    ((_, (waiting,)),) = engine.waiting()
    assert waiting.address == str(ALICE)


def test_a_group_is_what_has_come_meanwhile(engine):
    """While one is written the others wait; then they are one commit, and no group exceeds its limit."""
    inside, go_on = threading.Event(), threading.Event()
    stage = engine.store.writer.stage

    def slow(batch):
        inside.set()
        assert go_on.wait(30)
        return stage(batch)

    engine.store.writer.stage = slow
    deliveries = [engine.deliver(MESSAGE, ALICE)]
    assert inside.wait(30)
    engine.calls.fail_none()
    deliveries += [engine.deliver(MESSAGE, ALICE) for _ in range(MAX_GROUP + 20)]
    go_on.set()
    engine.wait(together(deliveries))
    assert engine.calls.names.count("commit") == 3
    assert len(engine.look(ALICE)) == 1 + MAX_GROUP + 20


# ---------------------------------------------------------------- on disk


@pytest.mark.parametrize("size", [100, IN_SPOOL + 1])
def test_the_order_of_the_steps(spools, size):
    """Temporary files, commit, visible; and no sync but the commit's for what is in the database."""
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    spools.checkpoint()
    spools.calls.fail_none()
    spools.wait(spools.deliver(b"x" * size, ALICE, BOB))
    names = spools.calls.names
    commit = names.index("commit")
    syncs = [number for number, name in enumerate(names) if name in ("fsync", "syncfs")]
    assert names.index("write") < commit < names.index("link")
    assert names.count("commit") == 1
    assert bool(syncs) == (size > IN_SPOOL)
    assert all(number < commit for number in syncs)
    database = sqlite3.connect(spools.root / "spool" / "queue.db")
    ((content,),) = database.execute("SELECT content FROM entry")
    assert content == (None if size > IN_SPOOL else b"x" * size)
    database.close()


@pytest.mark.parametrize(
    ("recipients", "files"),
    [
        ((ALICE,), [["alice"]]),
        ((ALICE, BOB, CAROL), [["alice", "bob", "carol"]]),
        ((by_alias(ALICE), by_alias(BOB), CAROL), [["alice", "bob"], ["carol"]]),
        ((member(ALICE), member(BOB), by_alias(CAROL)), [["alice", "bob"], ["carol"]]),
        ((ALICE, by_alias(BOB), member(CAROL)), [["alice"], ["bob"], ["carol"]]),
        ((Destination(ALICE, Address("alice+x", "example.org")), BOB), [["alice"], ["bob"]]),
    ],
)
@pytest.mark.parametrize("size", [100, IN_SPOOL + 1])
def test_who_has_the_same_text_shares_a_file(spools, recipients, files, size):
    spools.wait(spools.deliver(b"x" * size, *recipients))
    spools.checkpoint()
    shared = {}
    for path in spools.files("new"):
        shared.setdefault(path.stat().st_ino, []).append(path.parent.parent.name)
        assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(map(sorted, shared.values())) == files
    assert all(path.stat().st_nlink == len(shared[path.stat().st_ino]) for path in spools.files("new"))
    assert spools.files("tmp") == []


def test_a_commit_whose_failure_is_in_doubt(spools, monkeypatch):
    """It is said to have failed and is on the disk all the same: the next commit takes it back."""
    commit = spools.calls.commit

    def doubtful(*arguments):
        commit(*arguments)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    spools.wait(spools.deliver(b"Subject: first\r\n\r\n", ALICE, BOB))
    with monkeypatch.context() as patch:
        patch.setattr(type(spools.calls), "commit", staticmethod(doubtful))
        for _ in range(2):
            with pytest.raises(StorageError):
                spools.wait(spools.deliver(b"Subject: doubtful\r\n\r\n", ALICE, BOB))
    assert len(spools.rows()) == 2
    spools.wait(spools.deliver(b"Subject: last\r\n\r\n", ALICE, BOB))
    assert len(spools.rows()) == 2
    spools.reopen(Spools.leave)
    assert bodies(spools.look(ALICE)) == [b"Subject: first\r\n\r\n", b"Subject: last\r\n\r\n"]


def test_close_syncs_and_open_finds_nothing_to_do(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    before = {path: path.stat().st_ino for path in spools.files("new")}
    spools.reopen()
    assert spools.rows() == []
    assert {path: path.stat().st_ino for path in spools.files("new")} == before
    spools.wait(spools.deliver(MESSAGE, ALICE))
    assert len(spools.look(ALICE)) == 2


def test_the_numbers_of_rows_go_on_after_a_restart(spools):
    """A message that waits keeps its number for itself."""
    spools.quotas[ALICE] = FULL
    spools.wait(spools.deliver(MESSAGE, member(ALICE)))
    spools.reopen()
    spools.wait(spools.deliver(MESSAGE, member(ALICE)))
    assert [len(who) for _, who in spools.waiting()] == [1, 1]
