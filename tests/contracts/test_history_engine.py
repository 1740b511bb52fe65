"""The contract of every engine of the history of contacts; see ``mailserver.accounts.interfaces``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from mailserver.accounts.interfaces import IHistoryEngine
from mailserver.accounts.memory_history import MemoryHistory
from mailserver.accounts.sqlite.history import SQLiteHistory
from mailserver.durable.disk import Disk
from mailserver.mail.seen import Seen, SeenKey

ALICE: SeenKey = ("written", "alice@example.org")
HEARD: SeenKey = ("heard", "alice@example.org")
ODD: SeenKey = ("heard", "a\N{LATIN SMALL LETTER E WITH ACUTE}'\"%; \x00 --@example.org")


@pytest.fixture(params=["sqlite", "memory"])
def engine(request: Any, tmp_path: Path) -> Iterator[Any]:
    memory = request.param == "memory"
    engine: Any = MemoryHistory() if memory else SQLiteHistory(tmp_path / "history.db", Disk())
    yield engine
    engine.close()
    engine.close()


def test_entries_are_found_and_replaced(engine: Any) -> None:
    assert verifyObject(IHistoryEngine, engine)
    assert engine.find([ALICE, HEARD]) == {}
    engine.put({ALICE: Seen(1.5, 2.5), ODD: Seen(1.0, 1.0, 7)})
    assert engine.find([ALICE, HEARD, ODD]) == {ALICE: Seen(1.5, 2.5), ODD: Seen(1.0, 1.0, 7)}
    engine.put({ALICE: Seen(1.5, 9.0, 2), HEARD: Seen(0, 0)})
    assert engine.find([ALICE, HEARD]) == {ALICE: Seen(1.5, 9.0, 2), HEARD: Seen(0.0, 0.0)}
    assert engine.find([]) == {}
    engine.put({})


def test_old_entries_and_then_the_oldest_of_too_many_are_removed(engine: Any) -> None:
    keys: list[SeenKey] = [("passed", f"{number}") for number in range(10)]
    engine.put({key: Seen(0.0, float(number)) for number, key in enumerate(keys)})
    engine.put({ALICE: Seen(0.0, 0.0)})
    engine.trim("passed", 3.0, 100)
    assert list(engine.find(keys)) == keys[3:]
    engine.trim("passed", 0.0, 2)
    assert list(engine.find(keys)) == keys[8:]
    engine.trim("passed", 0.0, 0)
    assert engine.find([*keys, ALICE]) == {ALICE: Seen(0.0, 0.0)}
