"""The file of the account store: whose it is, what it shows, and what is not one."""

import errno
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from mailserver.auth import passwords
from mailserver.auth.account_rows import VERSION
from mailserver.auth.accounts import Accounts
from mailserver.auth.directory import app_password_digest
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError, StorageFull
from tests.durable.faults import FaultyCalls

from .stores import ALICE, BOB, fill, make


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing need not cost much here."""
    monkeypatch.setattr(passwords, "_hasher", passwords.PasswordHasher(time_cost=1, memory_cost=64))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "accounts.db"


def test_it_is_for_its_owner_alone(path: Path) -> None:
    accounts = make(path)
    accounts.add(ALICE, "x")
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == dict.fromkeys(["accounts.db", "accounts.db-wal", "accounts.db-shm"], 0o600)
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
        (f"PRAGMA user_version = {VERSION + 1}", f"its schema has the version {VERSION + 1}"),
        ("PRAGMA user_version = 0", "its schema has the version 0, and 1 is known"),
        ("UPDATE setting SET value = x'00'", "its dummy key is none"),
        ("UPDATE setting SET value = 'text'", "its dummy key is none"),
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


@pytest.mark.parametrize("kind", ["no database", "no file", "no folder", "in a page"])
def test_a_file_that_is_none(path: Path, kind: str) -> None:
    if kind == "no database":
        path.write_bytes(b"something else entirely\n" * 100)
    elif kind == "no file":
        path.mkdir()
    elif kind == "no folder":
        path = path.parent / "missing" / path.name
    else:
        make_file(path)
        octets = path.read_bytes()
        path.write_bytes(octets[:4096] + bytes(len(octets) - 4096))
    with pytest.raises(StorageError) as caught:
        make(path).accounts()
    assert str(path) in str(caught.value)


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
    accounts = Accounts(path, Disk(calls))
    accounts.open()
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
    accounts = Accounts(path, Disk(calls))
    accounts.open()
    opened = [Path(name) for call, name in calls.made if call == "open"]
    assert opened[-1] == path.parent
    assert calls.names[-2:] == ["fsync", "close"]
    accounts.close()
