"""The engines that the contract tests of mailbox stores run with."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define

from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.database import PostgreSQLDatabase
from mailserver.store.maildir import MaildirStore
from mailserver.store.memory import MemoryStore
from mailserver.store.postgresql.store import PostgreSQLStore
from tests.support.store.pumped import PumpedReactor


@define
class Engine:
    """A store, a way to wait for it, and a way to open it anew with the same mail in it."""

    store: Any
    wait: Callable[..., Any]
    reopen: Callable[[], None]


@pytest.fixture
def reactor():
    reactor = PumpedReactor()
    yield reactor
    reactor.stop()


@pytest.fixture(params=["maildir", "memory", pytest.param("postgresql", marks=pytest.mark.slow)])
def engine(request, tmp_path, reactor):
    if request.param == "memory":
        store = MemoryStore()
        store.open()
        yield Engine(store, reactor.wait, lambda: None)
        reactor.wait(store.close())
        return

    def opened():
        if request.param == "postgresql":
            url = request.getfixturevalue("database_url")
            store: Any = PostgreSQLStore(PostgreSQLDatabase(Connections(url), lambda: "node"), reactor)
            store.open()
            return store
        disk = Disk()
        damaged = DamagedFolder(tmp_path / "damaged", disk)
        store = MaildirStore(tmp_path / "mail", "mail.example.org", disk, reactor, damaged=damaged)
        store.open()
        return store

    def reopen():
        reactor.wait(own.store.close())
        own.store = opened()

    own = Engine(opened(), reactor.wait, reopen)
    yield own
    reactor.wait(own.store.close())


@pytest.fixture
def store(engine):
    return engine.store


@pytest.fixture
def wait(engine):
    return engine.wait
