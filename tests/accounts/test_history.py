"""The history of contacts: its cache, its writes, and a database that cannot be used."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from mailserver.accounts import history as module
from mailserver.accounts.history import (
    LIFETIMES,
    MAX_TIME,
    REPORTED_AGAIN,
    TRIM_INTERVAL,
    WRITE_DELAY,
    ContactHistory,
)
from mailserver.accounts.memory_history import MemoryHistory
from mailserver.accounts.sqlite.history import SQLiteHistory, verify
from mailserver.durable.disk import Disk
from mailserver.errors import StorageError
from mailserver.mail.seen import Seen, SeenKey

ALICE: SeenKey = ("heard", "alice@example.org")
BOB: SeenKey = ("heard", "bob@example.org")


class Observed(MemoryHistory):
    """Counts its calls, and may fail or hang."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.is_broken = False
        self.waiting: Deferred[None] | None = None

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        self.calls.append(getattr(function, "__name__", "open"))
        if self.waiting is not None:
            return self.waiting.addCallback(lambda _: function(*arguments))
        if self.is_broken:
            return execute(self._fail)
        return execute(function, *arguments)

    def _fail(self) -> None:
        raise StorageError("disk full")


class Case:
    def __init__(self) -> None:
        self.clock, self.engine = Clock(), Observed()
        self.history = ContactHistory(lambda: self.engine, self.engine.run, self.clock, self.now)

    def now(self) -> float:
        return 1e9 + self.clock.seconds()

    def find(self, *keys: SeenKey) -> Any:
        found = self.history.find(*keys)
        results: list[Any] = []
        if not isinstance(found, Deferred):
            return found
        found.addBoth(results.append)
        return results[0] if results else None


@pytest.fixture
def case() -> Case:
    return Case()


def test_what_is_cached_is_not_asked_again(case: Case) -> None:
    assert case.engine.calls == []
    assert case.find(ALICE) == {} and case.find(ALICE, BOB) == {} and case.find(ALICE, BOB) == {}
    assert case.engine.calls == ["<lambda>", "find", "find"]
    assert isinstance(case.history.find(ALICE), dict)
    seen = Seen(case.now(), case.now())
    case.history.record(BOB, seen)
    assert case.history.find(ALICE, BOB) == {BOB: seen}


def test_changes_are_written_together_and_at_the_end(case: Case) -> None:
    first, second = Seen(case.now(), case.now()), Seen(case.now(), case.now(), 2)
    case.history.record(ALICE, first)
    case.clock.advance(WRITE_DELAY - 1)
    case.history.record(BOB, first)
    case.history.record(BOB, second)
    assert "put" not in case.engine.calls
    case.clock.advance(1)
    assert case.engine.calls.count("put") == 1
    assert case.engine.find([ALICE, BOB]) == {ALICE: first, BOB: second}
    case.history.record(ALICE, second)
    Deferred.fromCoroutine(case.history.close())
    assert case.engine.find([ALICE]) == {ALICE: second}
    assert not case.clock.getDelayedCalls()


def test_entries_expire_and_are_trimmed_once_an_hour(case: Case) -> None:
    seen = Seen(case.now(), case.now())
    case.history.record(ALICE, seen)
    case.history.record(("waiting", "x"), seen)
    case.clock.advance(WRITE_DELAY)
    assert case.engine.calls.count("trim") == len(LIFETIMES)
    case.clock.advance(LIFETIMES["waiting"] - WRITE_DELAY)
    assert case.history.find(ALICE, ("waiting", "x")) == {ALICE: seen}
    assert case.engine.find([("waiting", "x")]) != {}
    case.history.record(BOB, seen)
    case.clock.advance(WRITE_DELAY)
    assert case.engine.find([("waiting", "x")]) == {}
    case.history.record(BOB, seen)
    case.clock.advance(TRIM_INTERVAL - 1)
    assert case.engine.calls.count("trim") == 2 * len(LIFETIMES)


def test_the_disk_is_bounded(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if very many clients come within an hour."""
    monkeypatch.setattr(module, "MOST_ENTRIES", 100)
    monkeypatch.setattr(module, "TRIM_WRITES", 50)
    for number in range(20):
        for other in range(25):
            case.history.record(("waiting", f"{number} {other}"), Seen(case.now(), case.now()))
        case.clock.advance(WRITE_DELAY)
        assert len(case.engine._entries) < 100 + 50
    assert ("waiting", "19 24") in case.engine._entries


def test_memory_is_bounded(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CACHED", 3)
    monkeypatch.setattr(module, "MOST_CHANGED", 2)
    keys: list[SeenKey] = [("heard", str(number)) for number in range(5)]
    for key in keys:
        case.history.record(key, Seen(case.now(), case.now()))
    assert len(case.history._cache) == 3 and len(case.history._changed) == 2
    case.engine.is_broken = True
    case.clock.advance(WRITE_DELAY)
    assert list(case.history._changed) == keys[3:]


def test_a_failure_is_reported_once_an_hour_and_nothing_is_lost(case: Case) -> None:
    case.engine.is_broken = True
    seen = Seen(case.now(), case.now())
    with capturedLogs() as events:
        case.history.record(ALICE, seen)
        case.clock.advance(WRITE_DELAY)
        assert case.find(BOB).check(StorageError)
        case.clock.advance(REPORTED_AGAIN)
        assert case.find(BOB).check(StorageError)
    text = "history of contacts unusable: disk full; accepting mail without it"
    assert [formatEvent(event) for event in events] == [text, text]
    case.engine.is_broken = False
    case.history.record(BOB, seen)
    case.clock.advance(WRITE_DELAY)
    assert case.engine.find([ALICE, BOB]) == {ALICE: seen, BOB: seen}


def test_a_disk_that_hangs(case: Case) -> None:
    """The lookup ends in time; the engine is opened only once."""
    waiting = case.engine.waiting = Deferred()
    found = case.history.find(ALICE)
    results: list[Any] = []
    found.addBoth(results.append)  # type: ignore[union-attr]
    case.history.record(BOB, Seen(case.now(), case.now()))
    case.clock.advance(MAX_TIME)
    assert results[0].check(StorageError)
    case.engine.waiting = None
    waiting.callback(None)
    assert case.find(ALICE) == {}
    assert case.engine.calls.count("<lambda>") == 1 and "put" in case.engine.calls


def test_the_database_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    engine = SQLiteHistory(path, Disk())
    engine.put({ALICE: Seen(1.0, 2.0)})
    engine.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(verify(path)) == []
    engine = SQLiteHistory(path, Disk())
    assert engine.find([ALICE]) == {ALICE: Seen(1.0, 2.0)}
    engine.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE seen SET count = 'x'")
    engine = SQLiteHistory(path, Disk())
    with pytest.raises(StorageError, match="a row is damaged"):
        engine.find([ALICE])
    engine.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
    with pytest.raises(StorageError, match="version 2, but only version 1 is supported"):
        SQLiteHistory(path, Disk())
    for each in tmp_path.glob("history.db*"):
        each.write_bytes(b"x" * 5000)
    with pytest.raises(StorageError, match="not a database"):
        SQLiteHistory(path, Disk())
    [finding] = verify(path)
    assert "remove it and made-history.db" in finding.repair
