"""One thread works at a time, but none waits for long."""

import threading

import pytest

from mailserver.threads import turns

LONG = 10.0  # seconds


@pytest.fixture(autouse=True)
def own_lock(monkeypatch):
    """Scans of other tests do not count."""
    monkeypatch.setattr(turns, "_busy", threading.Lock())


def test_the_second_waits_for_the_first(monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", LONG)
    done, began = list[str](), threading.Event()

    def second():
        began.set()
        with turns.turn():
            done.append("second")

    thread = threading.Thread(target=second)
    with turns.turn():
        thread.start()
        assert began.wait(LONG)
        thread.join(0.05)  # long enough for a thread that does not wait
        done.append("first")
    thread.join(LONG)
    assert done == ["first", "second"]


def test_patience_ends(monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    done = threading.Event()

    def second():
        with turns.turn():
            done.set()

    thread = threading.Thread(target=second)
    with turns.turn():
        thread.start()
        assert done.wait(LONG), "the first still has the turn"
    thread.join(LONG)


def test_an_error_ends_the_turn():
    with pytest.raises(ZeroDivisionError), turns.turn():
        1 / 0  # noqa: B018
    assert not turns._busy.locked()


def test_who_did_not_wait_long_enough_ends_no_turn_of_others(monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    with turns.turn():
        with turns.turn():
            pass
        assert turns._busy.locked()
