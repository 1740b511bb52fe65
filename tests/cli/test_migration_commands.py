"""``mailserver import maildir|dovecot|mbox`` and ``export``, while no server runs."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.cli import Ended
from tests.support.e2e.commands import in_process
from tests.support.migration.boxes import contents, write_maildir

CONFIG = """
hostname = "mail.example.org"
data = "data"
domains = ["example.org"]
allow_root = true
account = [{ address = "alice", password = "x" }, { address = "O'Brien", password = "x" }]
"""
FILES = {"new/1700000000.M1P1.host": b"Subject: one\n\nOne\n", "cur/1700000001.M1P1.host:2,S": b"Two\n"}
DONE = "imported 2 messages (22 octets), skipped 0, verified"
OWNER = 65534


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mailserver.toml"
    path.write_text(CONFIG)
    (tmp_path / "data").mkdir(mode=0o700)
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    write_maildir(tmp_path / "old/.Sent", {"cur/1700000002.M1P1.host:2,S": b"Sent\n"})
    return write_maildir(tmp_path / "old", FILES)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "data/mail/example.org/alice"


def run(config: Path, *words: str | Path) -> Ended:
    return Ended(*in_process(*map(str, words), "--config", str(config)))


def test_a_mailbox_in_and_out_again(config: Path, old: Path, box: Path, tmp_path: Path) -> None:
    assert run(config, "account", "mailbox", "alice") == Ended(0, [str(box)], [])
    told = "folder Sent: 1 message not included; use --folder Sent"
    assert run(config, "import", "maildir", old, "--to", "alice") == Ended(0, [told, DONE], [])
    assert contents(box) == FILES
    both = run(config, "import", "maildir", old, "--to", "alice@example.org", "--folder", "Sent")
    assert both == Ended(0, ["imported 1 message (5 octets), skipped 2, verified"], [])
    assert contents(box / ".Sent") == contents(old / ".Sent")

    out = tmp_path / "out"
    for skipped in (0, 3):
        done = run(config, "export", "alice", "--maildir", out, "--folder", "Sent")
        copied = 3 - skipped
        octets = 27 if copied else 0
        assert done.out == [f"exported {copied} messages ({octets} octets), skipped {skipped}, verified"]
    assert contents(out) == FILES
    assert contents(out / ".Sent") == contents(old / ".Sent")
    assert run(config, "export", "alice", "--mbox", tmp_path / "mbox") == Ended(
        0, [told, "exported 2 messages (22 octets), skipped 0, verified"], []
    )
    assert run(config, "import", "mbox", tmp_path / "mbox", "--to", "o'brien").out == [DONE]
    assert sorted(contents(box.with_name("o%27brien")).values()) == sorted(FILES.values())


def test_an_account_without_mail_is_exported_as_nothing(config: Path, tmp_path: Path) -> None:
    done = run(config, "export", "alice", "--mbox", tmp_path / "mbox")
    assert done == Ended(0, ["exported 0 messages (0 octets), skipped 0, verified"], [])
    assert (tmp_path / "mbox").read_bytes() == b""


def test_unique_ids_of_dovecot(config: Path, old: Path, box: Path) -> None:
    done = run(config, "import", "dovecot", old, "--to", "alice")
    assert (done.status, done.err) == (
        1, [f"mailserver: {old} has no dovecot-uidlist; for another Maildir use: import maildir"],
    )  # fmt: skip
    lines = "3 V1700000000 N3 G1\n1 :1700000000.M1P1.host\n2 :1700000001.M1P1.host\n"
    (old / "dovecot-uidlist").write_text(lines)
    done = run(config, "import", "dovecot", old, "--to", "alice", "--uidl-format", "%v.%u")
    assert done.out[1:] == ["imported 2 messages (22 octets), skipped 0, kept the unique-ids of 2, verified"]
    assert [name.rpartition("UIDL=")[2] for name in contents(box)] == ["1700000000.1", "1700000000.2:2,S"]


@pytest.mark.parametrize(
    ("words", "status", "problem"),
    [
        ("import maildir {old} --to nobody", 1, "nobody@example.org is not an account in the account store"),
        ("import maildir {old} --to a@elsewhere.example", 1, "a@elsewhere.example is not an account in the"),
        ("import maildir {old}/nothing --to alice", 2, "Directory '{old}/nothing' does not exist."),
        ("import maildir {old}/cur --to alice", 1, "{old}/cur is not a Maildir: it has neither new nor cur"),
        ("import maildir {old} --to alice --folder Trash", 1, "has no folder Trash; its folders: Sent"),
        ("import mbox {config} --to alice", 1, "is not an mbox: its first line does not begin with"),
        (
            "import dovecot {old} --to alice --uidl-format %m",
            2,
            "'%m' is not a supported format",
        ),
        ("export alice", 2, "Give one of --maildir DIR and --mbox FILE."),
        ("export alice --mbox {old}/a --maildir {old}/b", 2, "Give one of --maildir DIR and --mbox FILE."),
        ("export alice --mbox {old}/a --folder Sent", 2, "--folder needs --maildir."),
        ("export alice --mbox {config}", 1, "mailserver.toml exists already"),
        ("export alice --maildir {config}", 1, "mailserver.toml is not a folder"),
        ("export alice --maildir {parent}", 1, "is not a Maildir: it has "),
        ("export alice --maildir {old}/no/where", 1, "No such file or directory"),
    ],
)
def test_what_is_refused(
    config: Path, old: Path, tmp_path: Path, words: str, status: int, problem: str
) -> None:
    places = {"old": old, "config": config, "parent": tmp_path}
    done = run(config, *(word.format(**places) for word in words.split()))
    assert (done.status, done.out, len(done.err)) == (status, [], 1), done
    assert problem.format(**places) in done.err[0]


def test_a_message_that_cannot_be_read(config: Path, old: Path) -> None:
    (old / "new/link").symlink_to("/etc/passwd")
    done = run(config, "import", "maildir", old, "--to", "alice", "--folder", "Sent")
    assert done == Ended(
        1,
        [
            f"{old}/new/link: a symbolic link, not a message",
            "imported 3 messages (27 octets), skipped 0, 1 not imported",
        ],
        [],
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_root_reads_the_source_and_the_mailbox_belongs_to_its_owner(
    old: Path,
) -> None:
    with TemporaryDirectory(prefix="mailserver-test-") as name:
        place = Path(name)
        place.chmod(0o755)  # the owner must reach it
        config, box, out = place / "mailserver.toml", place / "data/mail/example.org/alice", place / "out"
        config.write_text(CONFIG)
        (place / "data").mkdir(mode=0o700)
        os.chown(place / "data", OWNER, OWNER)
        assert run(config, "import", "maildir", old, "--to", "alice").out[-1] == DONE
        found = [path.stat() for path in (place / "data").rglob("*")]
        assert {(status.st_uid, status.st_gid) for status in found} == {(OWNER, OWNER)}
        assert (os.geteuid(), os.getegid()) == (0, 0)
        assert run(config, "export", "alice", "--maildir", out).status == 0
        assert {path.stat().st_uid for path in out.rglob("*")} == {0}
        assert contents(out) == contents(box) == FILES
