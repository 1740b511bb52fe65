"""An open database, and the events that are reported meanwhile."""

import pytest

from mailserver.events.base import observe, stop_observing
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.database import PostgreSQLDatabase
from tests.support.fakes import stand_in
from tests.support.store.pumped import PumpedReactor


@pytest.fixture
def reactor():
    reactor = PumpedReactor()
    yield reactor
    reactor.stop()


@pytest.fixture
def wait(reactor):
    return reactor.wait


@pytest.fixture
def events():
    """What is reported."""
    found = []

    def observer(record):
        found.append(record["log_event"])

    observe(stand_in(observer))
    yield found
    stop_observing(stand_in(observer))


@pytest.fixture
def connections(database_url):
    connections = Connections(database_url)
    yield connections
    connections.forget()


@pytest.fixture
def database(connections):
    database = PostgreSQLDatabase(connections, lambda: "node")
    database.open()
    yield database
    database.close()


@pytest.fixture
def ask(connections):
    """Runs a statement by itself, and returns its rows."""

    def ask(statement, *values):
        def work(connection):
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

        return connections.run(work)

    return ask
