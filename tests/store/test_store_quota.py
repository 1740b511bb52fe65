"""Quotas: counted from the files, whoever has put or removed them, and for both engines the same."""

import errno

import pytest

from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError
from mailserver.interfaces import Delivery
from mailserver.mail.address import Address
from mailserver.mail.quota import Quota
from mailserver.store import quota as quotas
from mailserver.store.maildir import MaildirStore
from mailserver.store.memory import MemoryStore
from mailserver.store.quota import Quotas
from tests.support.faulty_calls import FaultyCalls
from tests.support.store.messages import ALICE, BOB, Content, deliver_to, to

KILO = b"x" * 998 + b"\r\n"


@pytest.mark.parametrize(
    ("quota", "messages", "octets", "more", "admitted"),
    [
        (Quota(), 10**9, 10**15, 10**15, True),
        (Quota(octets=1000), 0, 0, 1000, True),
        (Quota(octets=1000), 0, 0, 1001, False),
        (Quota(octets=1000), 10**6, 999, 1, True),
        (Quota(octets=1000), 1, 1000, 1, False),
        (Quota(octets=1000), 1, 5000, 1, False),
        (Quota(messages=3), 2, 10**15, 10**15, True),
        (Quota(messages=3), 3, 0, 0, False),
        (Quota(messages=3), 4, 0, 0, False),
        (Quota(octets=1000, messages=3), 2, 500, 500, True),
        (Quota(octets=1000, messages=3), 3, 500, 500, False),
        (Quota(octets=1000, messages=3), 2, 500, 501, False),
    ],
)
def test_admits(quota, messages, octets, more, admitted):
    assert quota.admits(messages, octets, more) is admitted


class Box:
    """A store with one quota, for alice."""

    def __init__(self, store, wait, limits, clock=None, calls=None):
        self.store = store
        self.wait = wait
        self.limits = limits
        self.clock = clock
        self.calls = calls

    def has_room(self, mailbox=ALICE):
        room = self.store.has_room(mailbox, 1)
        return room if isinstance(room, bool) else self.wait(room)

    def stage(self, *messages, mailbox=ALICE, head=b""):
        """How many of these, at once, are not for a full mailbox; what was staged stays invisible."""
        batch = [(Content(data), [Delivery(mailbox, head)]) for data in messages]
        staged = self.store.writer.stage(batch)
        return [one for one in staged if not isinstance(one, Exception) and not one.full]

    def fits(self, octets):
        """Whether a message of that size would be taken; nothing is changed."""
        staged = self.stage(b"x" * octets)
        for one in staged:
            self.store.writer.discard(one.copies)
        return bool(staged)

    def deliver(self, *messages, mailbox=ALICE):
        for data in messages:
            self.wait(deliver_to(self.store, Content(data), to(mailbox)))

    def remove(self, *indexes):
        drop = self.wait(self.store.maildrop(ALICE))
        assert self.wait(drop.remove(indexes)) == frozenset()
        drop.release()


@pytest.fixture
def clock(monkeypatch):
    """Seconds; a test sets what is written on it."""
    clock = [0.0]
    original = Quotas.__init__
    monkeypatch.setattr(
        Quotas,
        "__init__",
        lambda self, root, quota_of, **options: original(self, root, quota_of, lambda: clock[0], **options),
    )
    return clock


def maildir_store(path, calls, reactor, limits):
    disk = Disk(calls)
    store = MaildirStore(
        path / "mail",
        "mail.example.org",
        disk,
        reactor,
        damaged=DamagedFolder(path / "damaged", disk),
        quota_of=lambda mailbox: limits.get(mailbox.key),
    )
    store.open()
    return store


@pytest.fixture
def maildir(tmp_path, reactor, clock):
    limits, calls = {}, FaultyCalls()
    store = maildir_store(tmp_path, calls, reactor, limits)
    yield Box(store, reactor.wait, limits, clock, calls)
    calls.fail_none()
    reactor.wait(store.close())


@pytest.fixture(params=["maildir", "memory"])
def box(request, reactor):
    if request.param == "maildir":
        return request.getfixturevalue("maildir")
    limits = {}
    return Box(MemoryStore(lambda mailbox: limits.get(mailbox.key)), reactor.wait, limits, [0.0])


# ---------------------------------------------------------------- both engines


def test_a_mailbox_that_is_not_there_yet(box):
    box.limits[ALICE] = Quota(octets=1000, messages=1)
    assert box.has_room()
    assert box.has_room(BOB)
    assert (box.fits(1000), box.fits(1001)) == (True, False)


@pytest.mark.parametrize(
    ("quota", "taken"), [(Quota(octets=3000), 3), (Quota(octets=3999), 3), (Quota(messages=2), 2)]
)
def test_until_it_is_full(box, quota, taken):
    box.limits[ALICE] = quota
    for number in range(5):
        assert box.has_room() == (number < taken or bool(quota.octets % 1000))
        assert box.fits(1000) == (number < taken)
        if number < taken:
            box.deliver(KILO)


def test_one_octet_is_room(box):
    """What is known at RCPT is only whether anything fits."""
    box.limits[ALICE] = Quota(octets=1001)
    box.deliver(KILO)
    assert (box.has_room(), box.fits(1), box.fits(2)) == (True, True, False)
    box.limits[ALICE] = Quota(octets=1000)
    assert not box.has_room()


def test_the_head_counts(box):
    box.limits[ALICE] = Quota(octets=1010)
    assert len(box.stage(KILO, head=b"x" * 10)) == 1


@pytest.mark.parametrize("quota", [Quota(octets=3000), Quota(messages=3)])
def test_a_group_does_not_exceed_it(box, quota):
    """What is staged together is counted together, and again when nothing comes of it."""
    box.limits[ALICE] = quota
    staged = box.stage(*[KILO] * 10)
    assert len(staged) == 3
    for one in staged:
        box.store.writer.discard(one.copies)
    assert len(box.stage(*[KILO] * 10)) == 3


def test_one_message_for_several(box):
    box.limits.update({ALICE: Quota(messages=1), BOB: Quota(messages=2)})
    box.deliver(KILO, mailbox=BOB)
    for fuller in (set(), {ALICE}, {ALICE, BOB}):
        (staged,) = box.store.writer.stage([(Content(KILO), to(ALICE, BOB))])
        if fuller == set():
            assert staged.full == ()
            box.store.writer.publish(staged.copies)
        assert {delivery.mailbox for delivery in staged.full} == (fuller and {ALICE, BOB})


def test_removal_makes_room(box):
    box.limits[ALICE] = Quota(octets=3000)
    box.deliver(KILO, KILO, KILO)
    assert not box.has_room()
    box.remove(0, 2)
    box.clock[0] += quotas.COUNTED_FOR
    assert (box.fits(2000), box.fits(2001)) == (True, False)


def test_another_quota(box):
    """A reload gives another quota, or none; what is there may be more than it."""
    box.deliver(KILO, KILO)
    for quota, room in ((Quota(octets=1000), False), (Quota(octets=2001), True), (None, True)):
        box.limits[ALICE] = quota
        assert box.has_room() == room


def test_of_one_mailbox_alone(box):
    box.limits[ALICE] = Quota(octets=1000)
    box.deliver(KILO)
    box.deliver(KILO, KILO, mailbox=BOB)
    assert (box.has_room(), box.has_room(BOB)) == (False, True)
    assert not box.has_room(Address("Alice", "example.org"))


# ---------------------------------------------------------------- Maildirs


def put(box, folder, name, data):
    directory = box.store._root / "example.org/alice" / folder
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)
    return directory / name


def test_what_other_programs_have_put_there_counts(maildir):
    """Whatever its size is said to be in its name, as with Maildir++; what is in tmp/ does not count."""
    maildir.limits[ALICE] = Quota(octets=10_000)
    for folder, name, octets in (
        ("new", "1.foreign", 1000),
        ("cur", "2.foreign:2,S", 2000),
        ("cur", "3.foreign,S=3000,W=3100:2,ST", 3000),
        ("tmp", "4.foreign", 9000),
    ):
        put(maildir, folder, name, b"x" * octets)
    assert (maildir.fits(4000), maildir.fits(4001)) == (True, False)


@pytest.mark.parametrize("after", [0.0, quotas.COUNTED_FOR])
def test_a_change_from_outside_is_seen_in_a_while(maildir, after):
    maildir.limits[ALICE] = Quota(messages=2)
    maildir.deliver(KILO)
    assert maildir.has_room()
    put(maildir, "new", "2.foreign", KILO)
    maildir.clock[0] += after
    assert maildir.has_room() == (after == 0)


def count_counts(monkeypatch, seconds, clock):
    """Each count of a Maildir takes so long; the list has one item for each."""
    counts = []
    real = quotas.find_files  # type: ignore[attr-defined]

    def find_files(box):
        counts.append(box.name)
        clock[0] += seconds
        return real(box)

    monkeypatch.setattr(quotas, "find_files", find_files)
    return counts


@pytest.mark.parametrize(
    ("quota", "seconds", "passed", "counts"),
    [
        # Less than half is used: what other programs do meanwhile does not matter much.
        (Quota(octets=100_000, messages=100), 0.0, 250.0, 1),
        (Quota(octets=100_000, messages=100), 0.0, 650.0, 3),
        # It may soon be full: look again in two seconds, or later if it takes long.
        (Quota(messages=12), 0.0, 9.0, 5),
        (Quota(octets=12_000), 0.0, 9.0, 5),
        (Quota(messages=12), 0.2, 9.0, 3),
        (Quota(messages=12), 1.0, 18.0, 1),
    ],
)
def test_how_often_it_is_counted(maildir, monkeypatch, quota, seconds, passed, counts):
    """Whatever arrives here is added, and is no reason to count again."""
    maildir.limits[ALICE] = quota
    for number in range(7):
        put(maildir, "cur", f"{number}.foreign:2,S", KILO)
    counted = count_counts(monkeypatch, seconds, maildir.clock)
    for _ in range(4):
        maildir.deliver(KILO)
        for _ in range(10):
            assert maildir.has_room()
            maildir.clock[0] += passed / 40
    assert len(counted) == counts


@pytest.mark.parametrize(
    ("quota", "messages", "octets", "counts"),
    [
        # More than half is used, but there is much room.
        (Quota(messages=200_000), 200_000 - quotas.MUCH_MESSAGES - 10, 0, 1),
        (Quota(octets=20 << 30), 0, (20 << 30) - quotas.MUCH_OCTETS - 10_000, 1),
        (Quota(messages=200_000), 200_000 - quotas.MUCH_MESSAGES, 0, 5),
        (Quota(octets=20 << 30), 0, (20 << 30) - quotas.MUCH_OCTETS, 5),
        (Quota(20 << 30, 200_000), 200_000 - quotas.MUCH_MESSAGES - 10, (20 << 30) - 10_000, 5),
    ],
)
def test_a_large_mailbox_with_much_room_is_rarely_counted(
    tmp_path, monkeypatch, quota, messages, octets, counts
):
    counted = []
    monkeypatch.setattr(quotas, "count_usage", lambda box: counted.append(box) or (octets, messages))
    monkeypatch.setattr(quotas, "check", lambda box: object())  # the mailbox has changed
    clock = [0.0]
    here = Quotas(tmp_path, lambda mailbox: quota, lambda: clock[0])
    for _ in range(5):
        assert here.take(ALICE, "example.org/alice", 1000)
        clock[0] += quotas.COUNTED_FOR + 1
    assert len(counted) == counts


def test_what_is_known_needs_no_thread(maildir, monkeypatch):
    """At RCPT the answer is there at once, when a delivery has counted."""
    maildir.limits[ALICE] = Quota(messages=3)
    maildir.deliver(KILO)
    for room in (True, True, False):
        assert maildir.store.has_room(ALICE, 1) is room
        maildir.deliver(KILO) if room else None
    assert maildir.store.has_room(BOB, 1) is True


def test_moving_a_message_changes_nothing(maildir):
    maildir.limits[ALICE] = Quota(octets=1001)
    maildir.deliver(KILO)
    (path,) = (maildir.store._root / "example.org/alice/new").iterdir()
    path.rename(path.parents[1] / "cur" / f"{path.name}:2,S")
    maildir.clock[0] += quotas.COUNTED_FOR
    assert (maildir.fits(1), maildir.fits(2)) == (True, False)


def test_after_a_restart(maildir, tmp_path, reactor):
    maildir.deliver(KILO, KILO, KILO)
    limits = {ALICE: Quota(octets=4000)}
    store = maildir_store(tmp_path, FaultyCalls(), reactor, limits)
    box = Box(store, reactor.wait, limits)
    assert (box.fits(1000), box.fits(1001)) == (True, False)
    reactor.wait(store.close())


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("size", [1000, 100_000])
def test_what_fails_takes_no_room(maildir, error, size):
    """Each system call of a delivery fails once; whatever does not arrive does not count."""
    maildir.limits[ALICE] = Quota(octets=5000 + size)
    maildir.deliver(b"x" * 5000)
    writer = maildir.store.writer
    for number in range(1, 100):
        maildir.calls.fail_at(number, error)
        (staged,) = writer.stage([(Content(b"x" * size), to(BOB, ALICE))])
        made = len(maildir.calls.made)
        maildir.calls.fail_none()
        if not isinstance(staged, Exception):
            assert staged.full == (), f"after call {number - 1} failed"
            writer.discard(staged.copies)
        if number > made:
            break
    assert 3 < number < 100
    assert (maildir.fits(size), maildir.fits(size + 1)) == (True, False)


def test_a_mailbox_that_is_refused_takes_no_room(maildir, tmp_path):
    maildir.limits[ALICE] = Quota(octets=1000)
    other = maildir.store._root / "example.org/bob"
    other.parent.mkdir(parents=True)
    other.symlink_to(tmp_path)
    (other / "new").symlink_to(tmp_path)
    for _ in range(3):
        (staged,) = maildir.store.writer.stage([(Content(KILO), to(ALICE, BOB))])
        assert isinstance(staged, StorageError)
    assert maildir.fits(1000)


def test_a_mailbox_that_cannot_be_counted(maildir, tmp_path):
    maildir.limits[ALICE] = Quota(octets=1000)
    box = maildir.store._root / "example.org/alice"
    box.mkdir(parents=True)
    (box / "new").symlink_to(tmp_path)
    with pytest.raises(StorageError):
        maildir.has_room()
    (box / "new").unlink()
    assert maildir.has_room()


def test_without_a_quota_nothing_is_counted(maildir, monkeypatch):
    monkeypatch.setattr(quotas, "find_files", lambda box: 1 / 0)
    maildir.deliver(KILO)
    assert maildir.has_room()
