"""Fixtures: Maildirs, and the reactor that they run on."""

import pytest

from tests.support.faulty_calls import FaultyCalls
from tests.support.store.maildirs import Maildirs, make_store
from tests.support.store.pumped import PumpedReactor


@pytest.fixture
def reactor():
    reactor = PumpedReactor()
    yield reactor
    reactor.stop()


@pytest.fixture
def maildirs(tmp_path, reactor):
    calls = FaultyCalls()
    root = tmp_path / "data/mail"
    root.parent.mkdir()
    store = make_store(root, calls, reactor)
    store.open()
    calls.fail_none()
    maildirs = Maildirs(root, reactor, calls, store)
    yield maildirs
    calls.fail_none()
    maildirs.wait(maildirs.store.close())
