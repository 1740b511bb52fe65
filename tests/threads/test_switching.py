"""Short turns last as long as the work that wants them."""

import sys
import threading

import pytest

from mailserver.threads.switching import SHORT, with_short_switch_interval


@pytest.fixture(autouse=True)
def usual():
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


def interval(*nothing):
    return round(sys.getswitchinterval(), 6)


def test_while_it_runs():
    assert with_short_switch_interval(interval)() == SHORT
    assert interval() == 0.005


def test_after_a_failure():
    with pytest.raises(ZeroDivisionError):
        with_short_switch_interval(lambda: 1 / 0)()
    assert interval() == 0.005


def test_until_the_last_of_them_ends():
    go, began = threading.Event(), threading.Event()

    def wait():
        began.set()
        go.wait(10)

    thread = threading.Thread(target=with_short_switch_interval(wait))
    thread.start()
    began.wait(10)
    assert with_short_switch_interval(interval)() == SHORT
    assert interval() == SHORT, "another one still runs"
    go.set()
    thread.join()
    assert interval() == 0.005
