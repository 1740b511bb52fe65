"""What may be in flight when the disk fails.

A scenario prepares something, yields, and then does what the fault is to meet.
"""

import errno
import shutil
from collections.abc import Callable, Iterator

from mailserver.mail.address import Address
from mailserver.mail.verdict import Destination
from mailserver.store.writer import IN_SPOOL
from tests.crash.elsewhere import FAR, OTHER, far
from tests.crash.older import make_older
from tests.crash.stand import Stand
from tests.support.queue.spools import FIRST_RETRY, SENDER

ALICE, BOB, CAROL, DAVE = (Address(name, "example.org") for name in ("alice", "bob", "carol", "dave"))
TEAM = Address("team", "example.org")
LARGE = IN_SPOOL + 40_000  # octets


def _alias(mailbox: Address) -> Destination:
    return Destination(mailbox, Address(f"to-{mailbox.local}", "example.org"))


def one(stand: Stand) -> Iterator[None]:
    """A message for one mailbox."""
    stand.deliver(ALICE)
    yield
    stand.deliver(ALICE)


def sharing(stand: Stand) -> Iterator[None]:
    """A message for three mailboxes with one text."""
    stand.deliver(ALICE, BOB, CAROL)
    yield
    stand.deliver(ALICE, BOB, CAROL)


def heads(stand: Stand) -> Iterator[None]:
    """A message for three mailboxes with three texts."""
    stand.deliver(ALICE, BOB, CAROL)
    yield
    stand.deliver(_alias(ALICE), _alias(BOB), CAROL)


def large(stand: Stand) -> Iterator[None]:
    """A text that is kept beside the spool, and another of the same message."""
    stand.deliver(ALICE, BOB, CAROL, size=LARGE)
    stand.checkpoint()
    yield
    stand.deliver(_alias(ALICE), BOB, CAROL, size=LARGE)


def group(stand: Stand) -> Iterator[None]:
    """Ten messages that wait for one commit, two of them large."""
    stand.deliver(ALICE, BOB, CAROL)
    yield
    small = [((ALICE,), 200), ((ALICE, BOB), 200), ((_alias(CAROL), BOB), 3000), ((CAROL,), 0)]
    stand.group(*small, ((ALICE, CAROL), LARGE), *small, ((BOB,), LARGE))


def first(stand: Stand) -> Iterator[None]:
    """The first message for two mailboxes, and for one of another domain."""
    yield
    stand.deliver(ALICE, _alias(BOB), Address("eve", "example.net"))


def synced_removal(stand: Stand) -> Iterator[None]:
    """POP3 removes two of three messages; one has been moved to cur/."""
    for _ in range(3):
        stand.deliver(ALICE)
    stand.checkpoint()
    moved = stand.spools.files("new")[1]
    moved.rename(moved.parents[1] / "cur" / f"{moved.name}:2,S")
    remove = stand.remove(ALICE, 2)
    yield
    remove()


def early_removal(stand: Stand) -> Iterator[None]:
    """POP3 removes two of three messages that are not synced; one is large."""
    stand.deliver(ALICE)
    stand.deliver(ALICE, BOB, size=LARGE)
    stand.deliver(ALICE)
    remove = stand.remove(ALICE, 2)
    yield
    remove()


def checkpoint(stand: Stand) -> Iterator[None]:
    """Everything is synced: shared, large, moved to cur/ by another program, removed by one."""
    stand.deliver(ALICE)
    stand.deliver(ALICE, BOB, _alias(CAROL))
    stand.deliver(BOB, CAROL, size=LARGE)
    moved = stand.spools.files("new")[0]
    moved.rename(moved.parents[1] / "cur" / f"{moved.name}:2,S")
    stand.deliver(DAVE)
    stand.spools.files("new")[-1].unlink()
    stand.copies[-1].perhaps_removed = True
    yield
    stand.checkpoint()


def hidden(stand: Stand) -> Iterator[None]:
    """Everything is synced, when some of it could not be shown to everybody."""
    stand.deliver(ALICE)
    stand.calls.error = errno.EIO
    stand.calls.fails = lambda number, name: name == "link"
    stand.deliver(ALICE, BOB, CAROL)
    stand.deliver(ALICE, BOB, size=LARGE)
    stand.calls.fail_none()
    yield
    stand.checkpoint()


def attempt(stand: Stand) -> Iterator[None]:
    """Another attempt for two of the three members of an alias, one of whom still has no room."""
    stand.full(ALICE, BOB)
    stand.deliver(*(Destination(mailbox, TEAM) for mailbox in (ALICE, BOB, CAROL)))
    stand.full(BOB)
    stand.checkpoint()
    yield
    stand.attempt()


def report(stand: Stand) -> Iterator[None]:
    """The runner gives up and reports that to the sender."""
    stand.full(ALICE)
    stand.deliver(Destination(ALICE, TEAM), Destination(BOB, TEAM))
    stand.copies[0].taken = False
    stand.reports_to, stand.expire_after = SENDER, 1.0
    stand.checkpoint()
    yield
    stand.attempt()


def recovery(stand: Stand) -> Iterator[None]:
    """The start after a power cut that has taken what it could."""
    for _ in range(3):
        stand.deliver(ALICE)
    stand.deliver(ALICE, BOB, _alias(CAROL))
    stand.deliver(BOB, CAROL, size=LARGE)
    stand.power_cut()
    yield
    stand.start()


def start(stand: Stand) -> Iterator[None]:
    """The first start of all."""
    stand.stop()
    for folder in ("mail", "spool"):
        shutil.rmtree(stand.spools.root / folder, ignore_errors=True)
    yield
    stand.start()


def stop(stand: Stand) -> Iterator[None]:
    """A stop in good order, after a commit that failed."""
    stand.deliver(ALICE, BOB)
    stand.deliver(ALICE, BOB, size=LARGE)
    stand.calls.error = errno.EIO
    stand.calls.fails = lambda number, name: name == "commit"
    stand.deliver(ALICE)
    stand.errors.clear()
    stand.calls.fail_none()
    yield
    stand.stop()


def relay(stand: Stand) -> Iterator[None]:
    """Messages for the other server, one of them large, and for mailboxes here as well."""
    stand.deliver(far("a"))
    yield
    stand.deliver(far("a"), far("b"), ALICE, BOB)
    stand.deliver(far("a"), CAROL, far("c", OTHER), size=LARGE)


def again(stand: Stand) -> Iterator[None]:
    """Recipients that the other server defers, and an answer that is lost."""
    stand.deliver(far("a"), far("later"), size=LARGE)
    yield
    stand.deliver(far("lost"), far("later"), far("c"))
    stand.attempt()


def bounce(stand: Stand) -> Iterator[None]:
    """Recipients that the other server refuses; the reports go to a mailbox here, and to the other server."""
    stand.deliver(far("a"))
    yield
    stand.deliver(far("a"), far("no"), ALICE)
    stand.deliver(far("no"), far("b"), sender=Address("chief", FAR), size=LARGE)


def expiry(stand: Stand) -> Iterator[None]:
    """A recipient that is deferred until its sender is warned, and until the schedule ends."""
    stand.warn_after, stand.expire_after = FIRST_RETRY / 2, FIRST_RETRY * 1.5
    stand.deliver(far("never"), far("b"))
    yield
    stand.attempt()
    stand.attempt()


def success(stand: Stand) -> Iterator[None]:
    """A sender who wants to know of success, here and there."""
    stand.deliver(far("a"))
    yield
    stand.deliver(far("a"), far("b"), ALICE, notify="SUCCESS,FAILURE")
    stand.deliver(far("a"), sender=Address("chief", FAR), notify="SUCCESS")


def administration(stand: Stand) -> Iterator[None]:
    """Recipients are held, released, tried, removed and expired by the administrator."""
    stand.expire_after = FIRST_RETRY * 1.5
    stand.deliver(far("never"), far("later"), far("a"))
    stand.deliver(far("lost"), far("later"), ALICE, size=LARGE)
    yield
    for action, name in (
        ("hold", "later"), ("retry", "lost"), ("release", "later"), ("expire", "never"), ("remove", "later"),
    ):  # fmt: skip
        stand.administer(action, name)


def migration(stand: Stand) -> Iterator[None]:
    """The first start with a spool of an older version, in which recipients wait."""
    stand.full(ALICE)
    stand.deliver(far("later"), Destination(ALICE, TEAM), Destination(BOB, TEAM), size=LARGE)
    stand.full()
    stand.stop()
    make_older(stand.spools.root / "spool")
    yield
    stand.start()


RELAYS = (relay, again, bounce, expiry, success, administration, migration)

SCENARIOS: dict[str, Callable[[Stand], Iterator[None]]] = {
    scenario.__name__: scenario
    for scenario in (
        one, sharing, heads, large, group, first, synced_removal, early_removal,
        checkpoint, hidden, attempt, report, recovery, start, stop, *RELAYS,
    )
}  # fmt: skip
