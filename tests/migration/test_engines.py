"""``mailserver import store`` and ``export --store``: between Maildirs and a database, and back."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from mailserver.app.data import data_lock, queue_file
from mailserver.durable.disk import Disk
from mailserver.migration import engines
from mailserver.migration.engines import EngineTransfer, MailboxAddition
from mailserver.migration.maildirs import Maildirs
from mailserver.postgresql.bodies import PART
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.database import prepare
from mailserver.postgresql.leases import Leases
from mailserver.queue.sqlite.engine import SQLiteSpool
from mailserver.store import names
from mailserver.store.postgresql.copying import DatabaseMailboxes
from tests.support.cli import Ended
from tests.support.e2e.commands import in_process
from tests.support.migration.boxes import write_maildir

ALICE, BOB = "example.org/alice", "example.org/bob"
CONFIG = """
hostname = "mail.example.org"
data = "data"
domains = ["example.org"]
allow_root = true
[storage]
engine = "{engine}"
"""
OWN = "1700000000.M000001P7Q1R0123456789ab.mail.example.org"
LARGE = b"Subject: large\r\n\r\n" + b"x" * 62 * 10_000 + "ü".encode() + b"\r\n"
UTF8 = "Subject: Grüße\r\n\r\nbare \n line".encode()
FILES = {
    f"new/{names.with_sizes(OWN, 36, 38, utf8=True)}": UTF8 + b"\r\n.",
    "cur/1600000000.M1P1.host,S=21,W=25:2,S": b"Subject: LF\n\nof\n Bob\n",
    "cur/foreign": b"Subject: last\r\n\r\n",
    f"cur/1650000000.M5P1.host,UIDL={'%2c' * 40}:2,": b"one line",
    "new/1800000000.M5P1.host": LARGE,
    "new/1800000001.M5P1.host": b"x" * PART,
    "new/1800000002.M5P1.host": b"",
}
DONE = "{} {} names (accounts, aliases and lists), skipped {}, verified"
MAIL = "{} {} messages ({} octets), skipped {}, verified"
OCTETS = 25 + len(UTF8 + b"\r\n.") + 17 + 8 + len(LARGE) + PART + 4


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> "Site":
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    for number, (name, content) in enumerate(FILES.items()):
        box = write_maildir(data / "mail" / ALICE, {name: content}, 1_600_000_000.25 - number)
    write_maildir(box / ".Sent", {"cur/1": b"Subject: sent\n\n"})
    write_maildir(data / "mail" / BOB, {"new/1.M1P1.host": b"Bob"})
    site = Site(tmp_path, database_url)
    for words in (
        "account add carol --no-password",
        "alias add sales carol",
        "list add club carol --owner sales",
    ):
        assert in_process(*words.split(), "--config", site.config("maildir"))[0] == 0
    assert (
        in_process("account", "app-password", "add", "carol", "p", "--config", site.config("maildir"))[0] == 0
    )
    return site


@attrs.frozen
class Site:
    """A data directory with Maildirs, and an empty database."""

    folder: Path
    url: str

    def config(self, engine: str = "postgresql") -> str:
        path = self.folder / f"{engine}.toml"
        path.write_text(
            CONFIG.format(engine=engine) + (f'url = "{self.url}"\n' if engine == "postgresql" else "")
        )
        return str(path)

    def run(self, *words: str | Path, engine: str = "postgresql") -> Ended:
        return Ended(*in_process(*map(str, words), "--config", self.config(engine)))

    def database(self) -> DatabaseMailboxes:
        return DatabaseMailboxes(Connections(self.url))


def everything(boxes: Maildirs | DatabaseMailboxes, path: str) -> list[tuple[Any, ...]]:
    """What POP3 shows of a mailbox, with the times of arrival."""
    box = boxes.listed(path)
    return [
        (each.uid, each.size, each.surrogate, box.whens[index], b"".join(box.chunks(index)))
        for index, each in enumerate(box.messages)
    ]


def test_there_and_back(site: Site) -> None:
    data, out = site.folder / "data", site.folder / "out"
    before = {path: everything(Maildirs(data, Disk()), path) for path in (ALICE, BOB)}
    assert [uid for uid, *_ in before[ALICE]][1] == "," * 40
    remark = f"{ALICE}: folder Sent: 1 message not copied"
    done = site.run("import", "store", data)
    assert done == Ended(
        0, [remark, DONE.format("imported", 3, 0), MAIL.format("imported", 8, OCTETS, 0)], []
    )
    assert {path: everything(site.database(), path) for path in (ALICE, BOB)} == before
    again = site.run("import", "store", data)
    assert again.out[1:] == [DONE.format("imported", 0, 3), MAIL.format("imported", 0, 0, 8)]

    for skipped in (0, 8):
        done = site.run("export", "--store", out)
        copied = MAIL.format("exported", 8 - skipped, 0 if skipped else OCTETS, skipped)
        entries = DONE.format("exported", 0 if skipped else 3, 3 if skipped else 0)
        assert done == Ended(0, [entries, copied], [])
    assert {path: everything(Maildirs(out, Disk()), path) for path in (ALICE, BOB)} == before
    for command in ("account list", "alias list", "list list", "account app-password list carol"):
        there = site.run(*command.split())
        assert there.out, command
        (site.folder / "data").rename(site.folder / "old")
        out.rename(site.folder / "data")
        assert site.run(*command.split(), engine="maildir") == there
        (site.folder / "data").rename(out)
        (site.folder / "old").rename(site.folder / "data")


class Interrupted(Exception):
    """The process ends here."""


@attrs.define
class Interruption:
    """Mailboxes that take only so many more messages; ``commits`` says whether the last ones are
    committed."""

    target: Any
    left: int

    def listed(self, path: str) -> Any:
        return self.target.listed(path)

    @contextmanager
    def adding(self, path: str) -> Iterator[Any]:
        with self.target.adding(path) as addition:
            yield _Interrupted(self, addition)


@attrs.define
class _Interrupted:
    to: Interruption
    addition: MailboxAddition

    def add(self, message: Any) -> None:
        self.addition.add(message)
        self.to.left -= 1
        if self.to.left < 0:
            raise Interrupted

    def commit(self) -> None:
        self.addition.commit()


@pytest.mark.parametrize("is_import", [True, False])
def test_an_interrupted_copy_goes_on(site: Site, is_import: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "AT_ONCE", 2)
    data, out = site.folder / "data", site.folder / "out"
    before = everything(Maildirs(data, Disk()), ALICE)
    source: Any = Maildirs(data, Disk())
    database = site.database()
    prepare(database._connections)
    target: Any = database
    if not is_import:
        EngineTransfer(source, target, lambda done, total: None).run()
        out.mkdir()
        source, target = database, Maildirs(out, Disk())
    for left in (0, 1, 3, 0, 2):
        with pytest.raises(Interrupted):
            EngineTransfer(source, Interruption(target, left), lambda done, total: None).run()
        there = everything(target, ALICE)
        assert there == before[: len(there)]
        assert len(there) % 2 == 0
    result = EngineTransfer(source, target, lambda done, total: None).run()
    assert (result.copied + result.skipped, result.problems) == (8, [])
    assert result.skipped > 3
    assert everything(target, ALICE) == before


def other_octets(site: Site) -> None:
    path = site.folder / "data/mail" / BOB / "new/1.M1P1.host"
    path.write_bytes(b"Boo")


def no_account(site: Site) -> None:
    run = site.run("account", "disable", "carol", engine="maildir")
    assert run.status == 0


def a_link(site: Site) -> None:
    (site.folder / "data/mail" / BOB / "new/link").symlink_to("/etc/passwd")


def another_name(site: Site) -> None:
    write_maildir(site.folder / "data/mail/example.org/Bob", {"new/1": b""})


def another_place(site: Site) -> None:
    write_maildir(site.folder / "data/mail" / BOB, {"new/0.M1P1.host": b"Earlier"})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (other_octets, f"{BOB}: message 1.M1P1.host: the target has other octets under this unique-id"),
        (no_account, "carol@example.org: the target has another account, alias or list of this name"),
        (a_link, "{data}/mail/example.org/bob/new/link is not copied: a symbolic link"),
        (another_name, "{data}/mail/example.org/Bob: is not the name of a mailbox, so it is not copied"),
        (another_place, f"{BOB}: message 1.M1P1.host: has another place among the messages of the target"),
    ],
)
def test_what_cannot_be_copied_is_named(site: Site, change: Callable[[Site], None], problem: str) -> None:
    data = site.folder / "data"
    assert site.run("import", "store", data).status == 0
    change(site)
    done = site.run("import", "store", data)
    assert (done.status, done.err) == (1, [])
    assert problem.format(data=data) in done.out[1]
    assert [line for line in done.out if line.endswith(", 1 not imported")]


def running_server(site: Site) -> Any:
    lock = data_lock(site.folder / "data")
    lock.acquire()
    return lock.release


def other_server(site: Site) -> Any:
    connections = Connections(site.url)
    prepare(connections)
    leases = Leases(connections)
    leases.node = "other"
    fence = leases.take("node other")
    assert fence is not None

    def end() -> None:
        leases.release(fence)
        leases.close()

    return end


WAITING = (
    "INSERT INTO queued (seq, id, received, reverse_path, octets, content, checksum, ret, envid, handling)"
    " VALUES (1, 'one', 1, '', 1, '', 1, '', '', '')"
)


def waiting_in_files(site: Site) -> None:
    path = queue_file(site.folder / "data")
    path.parent.mkdir(exist_ok=True)
    spool = SQLiteSpool(path, Disk())
    spool.open()
    spool.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(WAITING)


def waiting_in_the_database(site: Site) -> None:
    connections = Connections(site.url)
    prepare(connections)
    connections.run(lambda each: each.execute(WAITING))


NOBODY: Callable[[Site], Any] = lambda site: None  # noqa: E731


@pytest.mark.parametrize(
    ("words", "change", "status", "problem"),
    [
        ("import store {data}", running_server, 1, "this command needs a stopped server"),
        ("export --store {data}/../out", running_server, 1, "this command needs a stopped server"),
        ("import store {data}", other_server, 1, "another server uses the database"),
        (
            "import store {data}",
            waiting_in_files,
            1,
            "messages wait in the queue of {data}: start the server",
        ),
        (
            "export --store {data}/../out",
            waiting_in_the_database,
            1,
            "messages wait in the queue of the data",
        ),
        ("import store {data}/nothing", NOBODY, 2, "Directory '{data}/nothing' does not exist."),
        ("import store {data}/mail", NOBODY, 1, "{data}/mail is no data directory: it has neither mail nor"),
        ("export alice --store {data}", NOBODY, 2, "--store takes neither an ADDRESS nor another option."),
        ("export --maildir {data}", NOBODY, 2, "Missing argument 'ADDRESS'."),
        ("export --store {data}/lock", NOBODY, 2, "is a file."),
    ],
)
def test_what_is_refused(
    site: Site, words: str, change: Callable[[Site], Any], status: int, problem: str
) -> None:
    data = site.folder / "data"
    end = change(site)
    try:
        done = site.run(*(word.format(data=data) for word in words.split()))
    finally:
        if end is not None:
            end()
    assert (done.status, done.out, len(done.err)) == (status, [], 1), done
    assert problem.format(data=data) in done.err[0]


def test_the_engine_must_be_the_database(site: Site) -> None:
    done = site.run("import", "store", site.folder / "data", engine="maildir")
    text = (
        'mailserver: storage.engine is "maildir": this command needs "postgresql" and the URL of the database'
    )
    assert done == Ended(1, [], [text])


def test_a_unique_id_that_no_file_name_can_keep(site: Site) -> None:
    database = site.database()
    prepare(database._connections)
    write_maildir(site.folder / "data/mail" / BOB, {"new/" + "%" * 70: b"long", "new/2.M1P1.host": b"Bob"})
    EngineTransfer(Maildirs(site.folder / "data", Disk()), database, lambda done, total: None).run()
    done = site.run("export", "--store", site.folder / "out")
    problem = f"{BOB}: message {'%' * 70}: no file name is long enough for this unique-id"
    assert (done.status, done.out[0]) == (1, problem)
    uids = [uid for uid, *_ in everything(Maildirs(site.folder / "out", Disk()), BOB)]
    assert uids == ["1.M1P1.host", "2.M1P1.host"]


def test_sizes_are_counted_where_a_name_is_wrong(site: Site) -> None:
    write_maildir(site.folder / "data/mail" / BOB, {"new/2.M1P1.host,S=4,W=6": b"a\n\nb"})
    assert site.run("import", "store", site.folder / "data").status == 0
    size, _, _, content = everything(site.database(), BOB)[1][1:]
    assert (size, content) == (8, b"a\r\n\r\nb")
