"""Synchronous replication: commits that the standby does not have, and a standby that takes over."""

import threading

import psycopg
import pytest

from mailserver.postgresql import transaction
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.database import PostgreSQLDatabase
from mailserver.postgresql.errors import CommitUnknown
from tests.support.e2e.server import wait_until
from tests.support.postgresql_pair import replicated

pytestmark = pytest.mark.slow
WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '{}%'"
    " AND application_name = 'mailserver'"
)
WRITE = "INSERT INTO setting VALUES ('word', %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
READ = "SELECT value FROM setting WHERE name = 'word'"


@pytest.fixture
def pair():
    with replicated() as pair:
        yield pair


@pytest.fixture
def database(pair, monkeypatch):
    monkeypatch.setattr(transaction, "CERTAIN_WITHIN", 60.0)  # the machine may be busy
    database = PostgreSQLDatabase(Connections(pair.url), lambda: "node")
    database.open()
    yield database
    database.close()


def commit(database, word):
    """As the thread that commits."""
    database.group.begin().execute(WRITE, (word,))
    database.group.commit()


def run(database, word):
    """As the threads that remove messages."""
    database.connections.run(lambda each: each.execute(WRITE, (word,)))


class Working:
    """Writes a word in a thread."""

    def __init__(self, write, database, word):
        self._outcome = None
        self._thread = threading.Thread(target=self._run, args=(write, database, word))
        self._thread.start()

    def _run(self, write, database, word):
        try:
            write(database, word)
        except OSError as error:
            self._outcome = error

    def end(self):
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self._outcome


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize(("write", "statement"), [(commit, "COMMIT"), (run, "INSERT")])
def test_the_new_primary_does_not_have_it(pair, database, write, statement, cancelled):
    """The end of the wait for the standby, by a timeout or an administrator, is no success."""
    pair.pause()
    working = Working(write, database, b"first")

    def waits(*before):
        return [row for row in pair.primary.execute(WAITING.format(statement)) if row not in before]

    [(pid,)] = wait_until(waits, "a commit that waits")
    if cancelled:
        pair.primary.execute(f"SELECT pg_cancel_backend({pid})")
        wait_until(lambda: waits((pid,)), "another commit that waits")
    pair.fail()
    pair.promote()
    outcome = working.end()
    if outcome is None:
        assert write is run, "only this is done again"
        assert pair.primary.execute(READ) == [(b"first",)]
    else:
        assert not isinstance(outcome, CommitUnknown)
        assert pair.primary.execute(READ) == []
    commit(database, b"next")
    assert pair.primary.execute(READ) == [(b"next",)]


class AnswerLost:
    """A connection that does something after a COMMIT instead of giving its answer."""

    def __init__(self, connection, then):
        self._connection = connection
        self._then = then

    def execute(self, statement, *values):
        result = self._connection.execute(statement, *values)
        if statement == "COMMIT":
            self._then()
            raise psycopg.OperationalError("the connection is lost")
        return result

    def __getattr__(self, name):
        return getattr(self._connection, name)


def test_the_new_primary_has_it(pair, database, events):
    def take_over():
        pair.fail()
        pair.promote()

    group = database.group
    group.begin()
    group._connection = AnswerLost(group._connection, take_over)
    commit(database, b"kept")
    assert pair.primary.execute(READ) == [(b"kept",)]
    assert "CommitConfirmed" in [type(each).__name__ for each in events]
