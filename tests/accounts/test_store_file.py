"""The file of the account store: whose it is, what it shows, and what is not one."""

import errno
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mailserver.accounts.directory import app_password_digest
from mailserver.accounts.sqlite.schema import VERSION
from mailserver.durable.database import marker
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError, StorageFull
from tests.support.accounts.stores import ALICE, BOB, CAROL, fill, make
from tests.support.faulty_calls import FaultyCalls

pytestmark = pytest.mark.usefixtures("cheap")


def test_it_is_for_its_owner_alone(path: Path) -> None:
    accounts = make(path)
    accounts.add(ALICE, "x")
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == dict.fromkeys(
        ["accounts.db", "accounts.db-wal", "accounts.db-shm", "made-accounts.db"], 0o600
    )
    accounts.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("ended", ["closed", "killed"])
def test_it_is_there_again(path: Path, tmp_path: Path, ended: str) -> None:
    accounts = make(path)
    fill(accounts)
    accounts.add(BOB, "x", ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"])
    accounts.disable(BOB)
    before = (accounts.dummy_key, accounts.accounts(), accounts.names())
    if ended == "killed":
        shutil.copytree(tmp_path, tmp_path / "copy")
        path = tmp_path / "copy" / path.name
    accounts.close()
    accounts.close()
    again = make(path)
    assert (again.dummy_key, again.accounts(), again.names()) == before
    again.close()


def test_the_dummy_key(path: Path) -> None:
    first, second = make(path), make(None)
    assert len(first.dummy_key) == len(second.dummy_key) == 32
    assert first.dummy_key != second.dummy_key
    first.close()
    second.close()


def test_what_is_kept_shows_no_app_password_and_no_password(path: Path) -> None:
    accounts = make(path)
    accounts.add(ALICE, "wonderland", ["SCRAM-SHA-256"])
    password = accounts.add_app_password(ALICE, "phone")
    accounts.close()
    octets = path.read_bytes()
    assert app_password_digest(password) in octets
    for secret in ("wonderland", password, password.replace("-", "")):
        assert secret.encode() not in octets


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def make_file(path: Path) -> None:
    accounts = make(path)
    fill(accounts)
    accounts.close()


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (f"PRAGMA user_version = {VERSION + 1}", f"its schema has version {VERSION + 1}"),
        ("PRAGMA user_version = 0", "its schema has version 0, but only version 1 is supported"),
        ("UPDATE setting SET value = x'00'", "invalid dummy key"),
        ("UPDATE setting SET value = 'text'", "invalid dummy key"),
        ("DROP TABLE account", "has no column|the row of|no such column"),
    ],
)
def test_another_schema(path: Path, statement: str, text: str) -> None:
    make_file(path)
    if statement.startswith("DROP"):
        change(path, statement, "CREATE TABLE account (key TEXT)")
        with pytest.raises(StorageError, match=text) as caught:
            make(path).accounts()
    else:
        change(path, statement)
        before = path.read_bytes()
        with pytest.raises(StorageError, match=text) as caught:
            make(path)
        assert path.read_bytes() == before or "dummy" in text
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["a folder", "no folder above"])
def test_a_file_that_cannot_be_opened(path: Path, kind: str) -> None:
    if kind == "a folder":
        path.mkdir()
    else:
        path = path.parent / "missing" / path.name
    with pytest.raises(StorageError) as caught:
        make(path).accounts()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path, octets: path.write_bytes(b""), "is empty"),
        (lambda path, octets: path.unlink(), "is missing"),
        (lambda path, octets: path.write_bytes(b"something else entirely\n" * 100), "not a database"),
        (lambda path, octets: path.write_bytes(bytes(len(octets))), "not a database"),
        (lambda path, octets: path.write_bytes(octets[:100]), "malformed"),
        (lambda path, octets: path.write_bytes(octets[:4096]), "malformed"),
        (lambda path, octets: path.write_bytes(octets[:-4096]), "malformed"),
        (lambda path, octets: path.write_bytes(octets[:4096] + bytes(len(octets) - 4096)), "malformed|Page"),
        (lambda path, octets: path.write_bytes(octets[:-4096] + bytes(4096)), "malformed|Page"),
    ],
)
def test_a_damaged_file(path: Path, spoil: Callable[[Path, bytes], object], reason: str) -> None:
    make_file(path)
    spoil(path, path.read_bytes())
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(
        StorageError, match=f"^{path}: .*({reason}).*; restore it from a backup, or, "
    ) as caught:
        make(path)
    assert "\n" not in str(caught.value)
    assert before == (path.read_bytes() if path.exists() else None), "it is as it was"
    for each in path.parent.glob("*accounts.db*"):
        each.rename(each.with_name(f"old-{each.name}"))
    again = make(path)
    assert not again.accounts(), "begun anew, on purpose"
    again.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda log: log.unlink(),
        lambda log: log.write_bytes(b""),
        lambda log: log.write_bytes(b"garbage\n" * 10_000),
        lambda log: log.write_bytes(bytes(40_000)),
    ],
)
@pytest.mark.parametrize("index", ["kept", "lost"])
def test_a_log_that_is_lost_loses_nothing(
    path: Path, tmp_path: Path, spoil: Callable[[Path], object], index: str
) -> None:
    accounts = make(path)
    fill(accounts)
    accounts.add(BOB, "x", ["SCRAM-SHA-256"])
    before = accounts.dummy_key, accounts.accounts(), accounts.names()
    killed = tmp_path / "copy" / path.name
    shutil.copytree(tmp_path, killed.parent)
    accounts.close()
    spoil(killed.with_name(f"{path.name}-wal"))
    if index == "lost":
        killed.with_name(f"{path.name}-shm").unlink()
    again = make(killed)
    assert (again.dummy_key, again.accounts(), again.names()) == before
    again.add(CAROL, None)
    again.close()


def test_a_file_of_an_older_version_is_marked(path: Path) -> None:
    make_file(path)
    marker(path).unlink()
    make(path).close()
    path.unlink()
    with pytest.raises(StorageError, match="is missing"):
        make(path)


def test_an_empty_file_that_a_kill_has_left(path: Path) -> None:
    path.touch()
    make_file(path)
    again = make(path)
    assert list(again.accounts()) == [ALICE.key]
    again.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE account SET address = 'nonsense'",
        "UPDATE account SET address = x'00'",
        "UPDATE account SET key = 'nonsense'",
        "UPDATE account SET password = '{NONSENSE}x'",
        "UPDATE account SET secret = 3.5, password = x'00'",
        "UPDATE alias SET targets = '[]'",
        "UPDATE alias SET targets = '{}'",
        "UPDATE alias SET targets = '[3]'",
        "UPDATE list SET members = 'nonsense'",
        "UPDATE list SET owner = 'nonsense'",
    ],
)
def test_a_row_that_nobody_here_wrote(path: Path, statement: str) -> None:
    make_file(path)
    change(path, statement)
    accounts = make(path)
    with pytest.raises(StorageError, match=f"^{path}: the row of .* is damaged: ") as caught:
        accounts.accounts(), accounts.names()
    assert "\n" not in str(caught.value)
    accounts.close()


def test_a_disk_that_fails(path: Path) -> None:
    calls = FaultyCalls()
    accounts = make(path, Disk(calls))
    fill(accounts)
    calls.fail_all("commit", errno.ENOSPC)
    with pytest.raises(StorageFull):
        accounts.add(BOB, "x")
    calls.fail_none()
    assert list(accounts.accounts()) == [ALICE.key]
    accounts.add(BOB, "x")
    accounts.close()
    with pytest.raises(StorageError, match=str(path)):
        accounts.accounts()


def test_the_folder_is_synced_when_the_file_is_new(path: Path) -> None:
    calls = FaultyCalls()
    accounts = make(path, Disk(calls))
    opened = [Path(name) for call, name in calls.made if call == "open"]
    assert opened[-1] == path.parent
    assert calls.names[-2:] == ["fsync", "close"]
    accounts.close()
