"""The reserve: a message is staged only if all that will be written of it fits beside the reserve."""

import errno
import threading

import pytest

from mailserver.errors import StorageFull
from mailserver.interfaces import Delivery, Staged
from mailserver.mail.address import Address
from mailserver.mail.quota import Quota
from mailserver.mail.verdict import Destination
from mailserver.store import writer
from mailserver.store.writer import BLOCK, IN_SPOOL
from tests.support.queue.spools import Spools
from tests.support.store.messages import ALICE, BOB, CAROL, MESSAGE, Content, together

RESERVE = 1_000_000
LARGE = 4 * IN_SPOOL
FILE = LARGE + BLOCK
NOBODY: set[Address] = set()


@pytest.fixture
def spools(tmp_path, spool_reactor):
    spools = Spools(tmp_path / "data", spool_reactor, reserve=RESERVE)
    spools.open()
    yield spools
    spools.close()


def to(*mailboxes, head=b""):
    return [Delivery(mailbox, head) for mailbox in mailboxes]


def own(*mailboxes):
    """Copies that cannot share a file."""
    return [Delivery(mailbox, b"%d" % number) for number, mailbox in enumerate(mailboxes)]


@pytest.mark.parametrize(
    ("size", "deliveries", "full", "needed"),
    [
        (LARGE, to(ALICE), NOBODY, FILE),
        (LARGE, to(ALICE, BOB, CAROL), NOBODY, FILE),
        (LARGE, own(ALICE, BOB, CAROL), NOBODY, 3 * (FILE + 1)),
        # Somebody waits: the spool keeps the content.
        (LARGE, to(ALICE, BOB), {BOB}, FILE + 2 * LARGE),
        (LARGE, to(BOB), {BOB}, 2 * LARGE),
        # A small message is in the spool in any case.
        (1000, to(ALICE, BOB), NOBODY, 3 * 1000 + BLOCK),
        (1000, own(ALICE, BOB), NOBODY, 4 * 1000 + 2 * (BLOCK + 1)),
    ],
)
def test_what_is_counted(spools, monkeypatch, size, deliveries, full, needed):
    spools.quotas.update(dict.fromkeys(full, Quota(octets=1)))
    spools.quotas.setdefault(ALICE, Quota(messages=2))
    for more, fits in ((-1, False), (0, True), (1, True)):
        monkeypatch.setattr(writer, "room", lambda path, reserve: needed + more)  # noqa: B023
        (outcome,) = spools.store.writer.stage([(Content(b"x" * size), deliveries)])
        assert isinstance(outcome, Staged if fits else StorageFull)
        if isinstance(outcome, Staged):
            spools.store.writer.discard(outcome.copies)
        # Nothing is left, and the quota of ALICE is given back.
        assert spools.files("tmp") == spools.files("new") == []


def test_a_group_is_counted_together(spools, monkeypatch):
    """Three of these fit; what does not fit itself takes no room from those behind it."""
    monkeypatch.setattr(writer, "room", lambda path, reserve: 3 * FILE)
    copies = [to(ALICE), own(ALICE, BOB, CAROL), to(BOB), to(CAROL), to(ALICE)]
    outcomes = spools.store.writer.stage([(Content(b"x" * LARGE), each) for each in copies])
    assert [isinstance(one, Staged) for one in outcomes] == [True, False, True, True, False]
    assert len(spools.files("tmp")) == 3


def test_mail_for_other_servers_needs_room_once_for_a_group(tmp_path, spool_reactor):
    begun, go_on, full, asked = threading.Event(), threading.Event(), [], []

    def check_room():
        asked.append(True)
        begun.set()
        assert go_on.wait(30)
        if full:
            raise OSError(errno.ENOSPC, "full")

    far = Destination(BOB, BOB, remote=True)
    spools = Spools(tmp_path / "data", spool_reactor, check_room=check_room)
    spools.open()
    first = [spools.deliver(MESSAGE, far)]
    assert begun.wait(30)
    group = [spools.deliver(MESSAGE, to) for to in (ALICE, far, far, far)]
    go_on.set()
    assert spools.wait(together(first + group)) == [None] * 5
    assert len(asked) == 2, "the first message, and the group of the others"
    full.append(True)
    (failure,) = spools.wait(together([spools.deliver(MESSAGE, far)]))
    assert failure.type is StorageFull
    assert len(spools.waiting()) == 4
    spools.close()
