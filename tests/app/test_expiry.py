"""Old messages are removed when their time is over, and no others (RFC 2449 section 6.7)."""

import os
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from mailserver.accounts.entries import StoredNames
from mailserver.app.expiry import EVERY, FIRST, Expiry
from mailserver.app.listeners import pop3_options
from mailserver.app.routes import retentions
from mailserver.cluster.alone import Alone
from mailserver.commands.quarantine import AT_ONCE, Quarantine, QuarantineRules
from mailserver.config.loader import load
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError
from mailserver.events.messages import QuarantineExpired
from mailserver.events.storage import ExpiryFailed, MessagesExpired
from mailserver.interfaces import IMaildrop
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.quarantine import KeptAside
from mailserver.mail.retention import DAY, Retention
from mailserver.mail.verdict import Aside
from mailserver.queue.removal import SyncedMaildrops
from mailserver.store.maildir import MaildirStore
from tests.support.fakes import stand_in
from tests.support.reactor import FakeReactor
from tests.support.store.messages import ALICE, BOB, CAROL, Content, deliver_to, to

NOW = 1_700_000_000.0
ASIDE = Address("quarantine", "example.org")
RULES = QuarantineRules([ASIDE], 30 * DAY)
LIST = {"command": "quarantine list"}


@attrs.define
class Stand:
    """A server's mailboxes, of which some expire. Its wall clock is ``skew`` seconds ahead.

    ``uids`` are those that the checkpoint was asked about.
    """

    root: Path
    reactor: FakeReactor
    store: MaildirStore
    retentions: dict[Address, Retention]
    skew: float = 0.0
    uids: list[str] = attrs.field(factory=list)
    rules: QuarantineRules = RULES
    quarantine: Quarantine = attrs.field(init=False)
    expiry: Expiry = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        maildrops = SyncedMaildrops(self.store, stand_in(self), Alone())
        reactor = stand_in(self.reactor)
        self.quarantine = Quarantine(
            self.store, maildrops, stand_in(None), stand_in(None), lambda: self.rules, reactor
        )
        self.expiry = Expiry(
            self.store,
            maildrops,
            lambda: self.retentions,
            lambda: self.rules.mailboxes,
            self.quarantine.expire,
            reactor,
            self.now,
        )
        self.expiry.startService()

    def now(self) -> float:
        return NOW + self.reactor.seconds() + self.skew

    def put(self, mailbox: Address, age: float, head: bytes = b"") -> None:
        """Deliver a message that is as old as that, in seconds."""
        before = set(self.files(mailbox))
        self.wait(deliver_to(self.store, Content(b"x\r\n"), to(mailbox, head=head)))
        [path] = set(self.files(mailbox)) - before
        os.utime(path, (0, self.now() - age))

    def files(self, mailbox: Address) -> list[Path]:
        return list((self.root / mailbox.domain / mailbox.local).glob("[nc][eu][wr]/*"))

    def count(self, mailbox: Address = ALICE) -> int:
        return len(self.files(mailbox))

    def wait(self, deferred: Any) -> Any:
        results: list[Any] = []
        deferred.addBoth(results.append)
        return results[0]

    def synced(self, uids: Iterable[str]) -> None:
        """In place of a checkpoint: all messages are synced."""
        self.uids += uids


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    reactor, disk = FakeReactor(), Disk()
    root = tmp_path / "mail"
    damaged = DamagedFolder(tmp_path / "damaged", disk)
    store = MaildirStore(root, "h", disk, stand_in(reactor), damaged=damaged)
    store.open()
    stand = Stand(root, reactor, store, {ALICE: Retention(30)})
    yield stand
    stand.expiry.stopService()
    assert not reactor.getDelayedCalls()
    stand.wait(store.close())


def events_of(logs: Sequence[Any], kind: type) -> list[Any]:
    return [log["log_event"] for log in logs if isinstance(log.get("log_event"), kind)]


def test_what_is_due_goes_and_nothing_else(stand: Stand) -> None:
    stand.retentions[CAROL] = Retention(1)
    for age in (30 * DAY - FIRST + 1, 31 * DAY, 400 * DAY, 30 * DAY - FIRST - 1, 0, -DAY):
        stand.put(ALICE, age)
    stand.put(BOB, 400 * DAY)
    stand.put(CAROL, DAY)
    stand.reactor.advance(FIRST - 1)
    assert stand.count() == 6
    with capturedLogs() as logs:
        stand.reactor.advance(1)
    assert (stand.count(), stand.count(BOB), stand.count(CAROL)) == (3, 1, 0)
    expired = events_of(logs, MessagesExpired)
    assert [(event.mailbox, event.count) for event in expired] == [(str(ALICE), 3), (str(CAROL), 1)]
    stand.reactor.advance(EVERY)
    assert stand.count() == 2


def test_a_mailbox_with_an_open_session_waits(stand: Stand) -> None:
    stand.retentions[CAROL] = Retention(30)
    stand.put(ALICE, 31 * DAY)
    stand.put(CAROL, 31 * DAY)
    drop: IMaildrop = stand.wait(stand.store.maildrop(ALICE))
    stand.reactor.advance(FIRST)
    assert (stand.count(), stand.count(CAROL)) == (1, 0)
    drop.release()
    stand.reactor.advance(EVERY)
    assert stand.count() == 0
    stand.wait(stand.store.maildrop(ALICE)).release()  # and the lock is free again


@pytest.mark.parametrize("skew", [3650 * DAY, -3650 * DAY])
def test_a_clock_that_jumps_removes_nothing(stand: Stand, skew: float) -> None:
    # Both the clock and the time since the start must say that a message is old.
    stand.put(ALICE, 29 * DAY if skew > 0 else 31 * DAY)
    stand.skew = skew
    stand.reactor.advance(FIRST)
    stand.reactor.advance(EVERY)
    assert stand.count() == 1


def test_other_retentions_are_in_force_at_once(stand: Stand) -> None:
    stand.put(ALICE, 31 * DAY)
    stand.retentions.clear()
    stand.reactor.advance(FIRST)
    assert stand.count() == 1
    stand.retentions[ALICE] = Retention(31)
    stand.reactor.advance(EVERY)
    assert stand.count() == 0


def test_a_failure_is_reported_and_stops_nothing(stand: Stand) -> None:
    stand.retentions = {ALICE: Retention(30), CAROL: Retention(30)}
    stand.put(ALICE, 31 * DAY)
    stand.put(CAROL, 31 * DAY)
    box = stand.root / "example.org" / "alice"
    (box / "cur").rename(box / "old")
    (box / "cur").symlink_to(box / "old")
    with capturedLogs() as logs:
        stand.reactor.advance(FIRST)
    assert [event.mailbox for event in events_of(logs, ExpiryFailed)] == [str(ALICE)]
    assert isinstance(events_of(logs, ExpiryFailed)[0].error, StorageError)
    assert (stand.count(), stand.count(CAROL)) == (1, 0)


def test_a_bug_in_one_mailbox_stops_nothing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.retentions = {ALICE: Retention(30), CAROL: Retention(30)}
    stand.put(CAROL, 31 * DAY)
    has_before = stand.store.has_before
    monkeypatch.setattr(
        stand.store,
        "has_before",
        lambda mailbox, before: 1 // 0 if mailbox == ALICE else has_before(mailbox, before),
    )
    with capturedLogs() as logs:
        stand.reactor.advance(FIRST)
    assert [event.mailbox for event in events_of(logs, ExpiryFailed)] == [str(ALICE)]
    assert stand.count(CAROL) == 0


def test_a_message_is_synced_before_it_is_removed(stand: Stand) -> None:
    """Otherwise it would come back after a crash."""
    stand.put(ALICE, 31 * DAY)
    [path] = stand.files(ALICE)
    stand.reactor.advance(FIRST)
    assert stand.uids == [path.name.partition(",")[0]]


def test_the_quarantine(stand: Stand) -> None:
    """Each of its messages has an event; a message that it has not put there stays."""
    for number, age in enumerate((29 * DAY, 31 * DAY, *[40 * DAY] * AT_ONCE)):
        envelope = Envelope(f"id{number}", CAROL, (ALICE, BOB), ())
        stand.put(ASIDE, age, KeptAside.of(envelope, Aside("a virus", "policy.milter[1]")).fields)
    stand.put(ASIDE, 50 * DAY)
    ids = ["id1", *(f"id{number}" for number in range(2, AT_ONCE + 2))]
    with capturedLogs() as logs:
        stand.reactor.advance(FIRST)
    assert stand.count(ASIDE) == 2
    assert sorted(event.id for event in events_of(logs, QuarantineExpired)) == sorted(ids)
    first = next(log for log in logs if log["log_event"].id == "id1")
    assert formatEvent(first) == (
        "id1: expired in the quarantine: <carol@example.net> to <alice@example.org>, <bob@example.org> "
        "(was: a virus (policy.milter[1])) (quarantine.expire_after)"
    )
    [left] = stand.wait(Deferred.fromCoroutine(stand.quarantine.run(LIST))).lines
    assert left.endswith("subject: none; expires 2023-11-15T22:13:20Z")
    # Another time is in force at once.
    stand.rules = QuarantineRules([ASIDE], 28 * DAY)
    stand.reactor.advance(EVERY)
    assert stand.count(ASIDE) == 1


def test_a_quarantine_without_end(stand: Stand) -> None:
    stand.rules = QuarantineRules([ASIDE], 0.0)
    envelope = Envelope("id", None, (ALICE,), ())
    stand.put(ASIDE, 9000 * DAY, KeptAside.of(envelope, Aside("a virus", "policy")).fields)
    stand.reactor.advance(FIRST)
    assert stand.count(ASIDE) == 1
    [line] = stand.wait(Deferred.fromCoroutine(stand.quarantine.run({**LIST, "json": True}))).lines
    assert '"received": "1999-' in line and '"expires": null' in line


CONFIG = """
domains = ["example.org"]
pop3 = { expire = "30d" }
listen = [{ protocol = "pop3", endpoint = "tcp:0" }]
account = [
    { address = "root", password = "x" },
    { address = "Bob", password = "x", expire = "7d" },
    { address = "carol", password = "x", expire = "never" },
    { address = "dora", password = "x", expire = 0 },
]
"""


def test_the_retentions_of_a_configuration(tmp_path: Path) -> None:
    """Accounts of the account store have that of [pop3], those of the configuration may have their own."""
    path = tmp_path / "mailserver.toml"
    path.write_text(CONFIG)
    config = load(path)
    names = ("root", "bob", "stored")
    days = (30, 7, 30)
    assert retentions(config, StoredNames((Address("Stored", "example.org"),))) == {
        Address(name, "example.org"): Retention(number) for name, number in zip(names, days, strict=True)
    }
    assert Retention(0).seconds == Retention().seconds == inf
    options = pop3_options(config, "h", config.listen[0], plaintext=False)
    assert options.least_retention == "0 USER"
    told = {name: str(options.retention(f"{name}@example.org")) for name in (*names, "carol", "dora")}
    assert told == {"root": "30", "bob": "7", "stored": "30", "carol": "NEVER", "dora": "0"}
