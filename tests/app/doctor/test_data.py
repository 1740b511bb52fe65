"""Trouble on the machine: files, disk, clock, databases, mailboxes, accounts, queue, backup; each alone."""

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from mailserver.accounts.entries import StoredList
from mailserver.accounts.store import AccountStore
from mailserver.mail.address import Address
from mailserver.mail.queued import HELD, LOCAL, FailedAttempt
from mailserver.mail.verdict import Status
from tests.support.doctor.site import NOBODY, DoctorSite, FileSystem, findings

HOUR, DAY = 3600.0, 86400.0
ALICE, NOONE = Address("alice", "example.org"), Address("noone", "example.org")
FAILED = (FailedAttempt(0.0, Status(4, 1), "no connection", "mx.far.example", ""),)


def disk(**changes: int) -> Callable[[DoctorSite], None]:
    def plant(site: DoctorSite) -> None:
        site.machine = attrs.evolve(site.machine, status=lambda path: FileSystem(**changes))

    return plant


def server(**changes: object) -> Callable[[DoctorSite], None]:
    def plant(site: DoctorSite) -> None:
        assert site.server is not None
        site.server = attrs.evolve(site.server, **changes)  # type: ignore[arg-type]

    return plant


def workers(number: int, pid: int) -> Callable[[DoctorSite], None]:
    """One of three workers does not serve."""
    found = [
        {"number": one, "pid": pid if one == number else 9, "since": 1.0, "ready": one != number}
        for one in (1, 2, 3)
    ]
    return server(workers=found)


def many_workers(site: DoctorSite) -> None:
    site.text = f"workers = 5\n{site.text}"
    site.write()


def synchronised(value: bool | None) -> Callable[[DoctorSite], None]:
    def plant(site: DoctorSite) -> None:
        site.machine = attrs.evolve(site.machine, is_synchronised=lambda: value)

    return plant


def stopped(site: DoctorSite) -> None:
    site.server = None


def at(seconds: float) -> Callable[[DoctorSite], None]:
    def plant(site: DoctorSite) -> None:
        site.now = seconds

    return plant


def later(site: DoctorSite) -> None:
    """The clock is a day behind the files."""
    future = time.time() + DAY
    os.utime(site.data / "accounts.db", (future, future))


def mode(name: str, bits: int) -> Callable[[DoctorSite], None]:
    return lambda site: (site.folder / name).chmod(bits)


def foreign(name: str) -> Callable[[DoctorSite], None]:
    return lambda site: os.chown(site.folder / name, NOBODY - 1, -1)


def removed(name: str) -> Callable[[DoctorSite], None]:
    return lambda site: (site.folder / name).unlink()


def written(name: str, text: str) -> Callable[[DoctorSite], None]:
    def plant(site: DoctorSite) -> None:
        path = site.folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        site.give_away()

    return plant


def linked(site: DoctorSite) -> None:
    path = site.data / "accounts.db"
    path.rename(site.folder / "elsewhere.db")
    path.symlink_to(site.folder / "elsewhere.db")


def old_temporary(site: DoctorSite) -> None:
    written("data/tmp/left", "x")(site)
    os.utime(site.data / "tmp" / "left", (0, 0))


def exposed_password(site: DoctorSite) -> None:
    site.configure('[relay]\nsmarthost = "127.0.0.1:1"\nsmarthost_user = "u"\nsmarthost_password_file = "pw"')
    written("pw", "secret\n")(site)
    (site.folder / "pw").chmod(0o644)


def readable_hashes(site: DoctorSite) -> None:
    site.configure('[auth]\npasswd_file = "passwd"')
    written("passwd", "alice@example.org:x\n")(site)
    (site.folder / "passwd").chmod(0o644)


def set_aside(site: DoctorSite) -> None:
    for name, text in (
        ("20260101T000000.0.m", "x"),
        ("20260101T000000.0.m.reason", "the checksum is wrong\nx\n"),
    ):
        written(f"data/damaged/{name}", text)(site)


def mailbox(path: str, *sizes: int, age: float = 0.0, quota: str = "") -> Callable[[DoctorSite], None]:
    def plant(site: DoctorSite) -> None:
        site.mailbox(path, *sizes, age=age)
        if quota:
            site.configure(f"[storage]\n{quota}")

    return plant


def foreign_mailbox(site: DoctorSite) -> None:
    os.chown(site.mailbox("example.org/alice"), NOBODY - 1, -1)


def queued(recipients: int, age: float, **changes: object) -> Callable[[DoctorSite], None]:
    return lambda site: site.waits(recipients, age=age, **changes)


def config(*changes: str) -> Callable[[DoctorSite], None]:
    return lambda site: site.configure(*changes)


def stored(*changes: Callable[[AccountStore], object]) -> Callable[[DoctorSite], None]:
    def plant(site: DoctorSite) -> None:
        for change in changes:
            site.accounts(change)

    return plant


def alias(name: str, to: str) -> Callable[[AccountStore], object]:
    return lambda store: store.set_alias(Address(name, "example.org"), [Address(to, "example.org")])


def mailing_list(*members: Address, owner: Address | None = None) -> Callable[[AccountStore], object]:
    return lambda store: store.set_list(Address("team", "example.org"), StoredList(members, owner))


def old_format(site: DoctorSite) -> None:
    with closing(sqlite3.connect(site.data / "spool" / "queue.db")) as database:
        database.execute("PRAGMA user_version = 0")


def no_backup(age: float) -> Callable[[DoctorSite], None]:
    def plant(site: DoctorSite) -> None:
        (site.data / "last-backup.json").unlink()
        path = site.data / "made-accounts.db"
        os.utime(path, (site.now - age, site.now - age))

    return plant


def backup_elsewhere(site: DoctorSite) -> None:
    path = site.data / "last-backup.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "directory": "/nonexistent/disk"}))


NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
Plant = Callable[[DoctorSite], object]
# the check, what is planted, and the severity, the kind, the subject and a part of the text of the finding
CASES: list[Any] = [
    ("server", stopped, "error", "server-down", "server", "no server runs"),
    ("server", server(version="0.0.9"), "warning", "server-version", "server", "version 0.0.9 is running"),
    ("server", server(loaded=0.0), "warning", "configuration-not-loaded", "mailserver.toml", "has changed"),
    ("server", server(descriptors=1024), "warning", "few-descriptors", "limits.connections", "1024 files"),
    ("server", workers(3, 0), "error", "worker-down", "worker 3", "has ended"),
    ("server", workers(2, 7), "error", "worker-down", "worker 2", "it starts since 1970-01-01T00:00:01Z"),
    ("server", many_workers, "warning", "many-workers", "workers", "5 workers, and the machine has 4"),
    ("files", mode("data", 0o755), "warning", "data-exposed", "data", "0755"),
    ("files", mode("data", 0o777), "error", "file-writable", "data", "0777"),
    ("files", mode("data/accounts.db", 0o644), "warning", "file-exposed", "accounts.db", "0644"),
    ("files", mode("data/spool/queue.db", 0o666), "error", "file-writable", "queue.db", "0666"),
    ("files", linked, "error", "file-link", "accounts.db", "symbolic link to "),
    ("files", mode("s1.pem", 0o644), "error", "key-exposed", "s1.pem", "everybody can read it"),
    ("files", removed("s1.pem"), "error", "dkim-key-unusable", "dkim[1].key", "No such file"),
    ("files", written("s1.pem", "no key"), "error", "dkim-key-unusable", "dkim[1].key", "allowed:"),
    (
        "files", exposed_password, "error", "smarthost-password-unusable",
        "relay.smarthost_password_file", "read",
    ),
    ("files", readable_hashes, "error", "key-exposed", "passwd", "hashes"),
    ("files", old_temporary, "notice", "leftovers", "tmp", "1 temporary file"),
    ("disk", disk(f_bavail=1), "error", "disk-full", "data", "all mail is deferred"),
    ("disk", disk(f_bavail=100 << 8), "warning", "disk-nearly-full", "data", "36 MiB"),
    ("disk", disk(f_favail=10), "warning", "few-inodes", "data", "10 inodes"),
    ("disk", disk(f_flag=os.ST_RDONLY), "error", "disk-read-only", "data", "read-only"),
    ("clock", at(1_000_000_000.0), "error", "clock-wrong", "clock", "2001-09-09"),
    ("clock", later, "error", "clock-wrong", "clock", "accounts.db was changed at"),
    ("clock", synchronised(False), "notice", "clock-unsynchronised", "clock", "adjtimex"),
    ("databases", written("data/accounts.db", ""), "error", "database-damaged", "accounts.db", "is empty"),
    ("databases", removed("data/spool/queue.db"), "error", "database-damaged", "queue.db", "is missing"),
    (
        "databases", written("data/spool/worker-2/made-queue.db", "x"), "error",
        "database-damaged", "queue.db", "not synced to its mailboxes",
    ),
    (
        "databases", written("data/accounts.db", "x" * 99), "error",
        "database-damaged", "accounts.db", "not a database",
    ),
    ("databases", set_aside, "warning", "set-aside", "damaged", "the checksum is wrong"),
    (
        "accounts", config("account = []", "alias = []", "list = []"),
        "warning", "no-accounts", "accounts", "rejected",
    ),
    (
        "accounts", lambda site: site.accounts(lambda store: store.add(NOONE, None)),
        "warning", "no-password", "noone@example.org", "no password",
    ),
    (
        "accounts", lambda site: site.accounts(lambda store: store.add(ALICE, None)),
        "warning", "account-hidden", "alice@example.org", "same name",
    ),
    (
        "accounts", stored(lambda store: store.add(Address("eve", "other.example"), None)),
        "warning", "account-not-served", "eve@other.example", "is not in domains",
    ),
    ("accounts", stored(alias("sales", "gone")), "error", "alias-broken", "sales@example.org", "to gone@"),
    (
        "accounts", stored(alias("a", "alice"), alias("b", "a"), lambda store: store.set_alias(
            Address("a", "example.org"), [Address("b", "example.org")], replace=True)),
        "error", "alias-loop", "a@example.org", "alias loop: a@example.org -> b@example.org",
    ),
    (
        "accounts", stored(mailing_list(ALICE, NOONE)),
        "error", "list-member-unknown", "team@example.org", "leads to noone@example.org",
    ),
    (
        "accounts", stored(mailing_list(ALICE, owner=NOONE)),
        "warning", "list-owner-unknown", "team-bounces@example.org", "leads to noone@example.org",
    ),
    (
        "accounts", stored(lambda store: store.set_alias(
            Address("postmaster", "example.org"), [Address("me", "else.example")])),
        "error", "postmaster-missing", "postmaster@example.org", "another server",
    ),
    ("databases", written("data/format", "999\n"), "error", "format-newer", "data", "999"),
    ("databases", old_format, "notice", "format-old", "queue.db", "older version"),
    (
        "files", lambda site: shutil.rmtree(site.data),
        "warning", "data-missing", "data", "never started",
    ),
    ("accounts", config("alias = []"), "notice", "abuse-missing", "abuse@example.org", "RFC 2142"),
    (
        "mailboxes", mailbox("example.org/alice", 900, quota="quota = 1000"),
        "warning", "mailbox-nearly-full", "alice@example.org", "900 of 1000 octets",
    ),
    (
        "mailboxes", mailbox("example.org/alice", 600, 400, quota="quota = 1000"),
        "error", "mailbox-full", "alice@example.org", "1000 of 1000 octets",
    ),
    (
        "mailboxes", mailbox("example.org/alice", 1, 1, quota="quota_messages = 2"),
        "error", "mailbox-full", "alice@example.org", "2 of 2 messages",
    ),
    (
        "mailboxes", mailbox("example.org/gone", 5), "warning",
        "mailbox-without-account", "gone", "1 message in",
    ),
    (
        "mailboxes", mailbox("example.org/Alice"), "error",
        "mailbox-unusable", "Alice", "not the name of a mailbox",
    ),
    (
        "mailboxes", mailbox("example.org/quarantine", *[1] * 500), "warning",
        "quarantine-large", "quarantine@example.org", "500 messages",
    ),
    (
        "mailboxes", mailbox("example.org/quarantine", 1, age=40 * DAY),
        "notice", "quarantine-old", "quarantine@example.org", "40 days",
    ),
    (
        "queue", queued(1, 2 * DAY, history=FAILED, attempts=1), "warning",
        "queue-old", "far.example", "48 hours; the last attempt: no connection",
    ),
    ("queue", queued(1, 6 * DAY), "error", "queue-overdue", "far.example", "6.0 days"),
    ("queue", queued(1, 2 * HOUR, next=1.0), "error", "queue-stuck", "queue", "far.example"),
    (
        "queue", queued(100, HOUR, history=FAILED, attempts=1),
        "warning", "queue-deferred", "far.example", "100 recipients",
    ),
    ("queue", queued(1000, HOUR), "warning", "queue-long", "queue", "1000 recipients"),
    ("queue", queued(1, HOUR, next=HELD), "warning", "queue-held", "queue", "1 recipient"),
    ("queue", queued(1, 2 * DAY, destination=LOCAL), "warning", "queue-old", "mailboxes here", "48 hours"),
    ("backup", no_backup(DAY), "notice", "backup-never-new", "data", "no backup yet"),
    ("backup", no_backup(8 * DAY), "warning", "backup-never", "data", "for 8 days"),
    ("backup", lambda site: site.backed_up(9), "warning", "backup-old", "", "9 days old"),
    ("backup", backup_elsewhere, "warning", "backup-missing", "disk", "does not exist now"),
    (
        "backup", written("data/last-backup.json", "{}"), "warning",
        "backup-unknown", "last-backup.json", "does not say",
    ),
    pytest.param(
        "files", foreign("data/accounts.db"), "error", "file-foreign",
        "accounts.db", "belongs to", marks=NEEDS_ROOT,
    ),
    pytest.param(
        "mailboxes", foreign_mailbox, "error", "mailbox-unusable",
        "alice", "belongs to user", marks=NEEDS_ROOT,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("check", "plant", "severity", "kind", "subject", "text"), CASES)
def test_a_trouble(
    site: DoctorSite, check: str, plant: Plant, severity: str, kind: str, subject: str, text: str
) -> None:
    plant(site)
    [found] = findings(site.run(check))
    assert (found.severity, found.kind) == (severity, kind)
    assert found.subject == subject or Path(found.subject).name == subject or not subject
    assert text in found.text and found.mend
