"""A commit whose answer is lost: the database is asked, and what was not committed leaves no trace."""

import psycopg
import pytest

from mailserver.errors import StorageError
from mailserver.interfaces import Delivery, Staged
from mailserver.mail.quota import Quota
from mailserver.postgresql import transaction
from mailserver.postgresql.errors import CommitUnknown
from mailserver.queue.postgresql.engine import PostgreSQLSpool
from mailserver.store.postgresql.store import PostgreSQLStore
from tests.support.store.messages import ALICE, BOB, MESSAGE, Broken, Content, look, to


class Breaking:
    """A connection that breaks at a statement, before or after the database has done it."""

    def __init__(self, connection, at, *, done):
        self._connection = connection
        self._at = at
        self._done = done

    def execute(self, statement, *values):
        if str(statement).startswith(self._at):
            if self._done:
                self._connection.execute(statement, *values)
            self._connection.close()
            raise psycopg.OperationalError("the connection is lost")
        return self._connection.execute(statement, *values)

    def __getattr__(self, name):
        return getattr(self._connection, name)


@pytest.fixture
def store(database, reactor, wait):
    store = PostgreSQLStore(database, reactor)
    store.open()
    yield store
    wait(store.close())


@pytest.fixture
def engine(database, store):
    engine = PostgreSQLSpool(database)
    engine.open()
    yield engine
    engine.close()


def deliver(store, engine, *deliveries, at="", done=False):
    """As the writer of the spool does. Returns the unique-ids; raises ``OSError``."""
    (staged,) = store.writer.stage([(Content(MESSAGE), deliveries or to(ALICE, BOB))])
    work = engine.begin()
    group = store.database.group
    if at:
        group._connection = Breaking(group._connection, at, done=done)
    try:
        work.commit()
    except OSError:
        store.writer.discard(staged.copies)
        raise
    return [copy.uid for copy in staged.copies]


def usage(ask):
    return ask("SELECT messages, octets FROM mailbox ORDER BY path")


def test_the_database_has_committed(store, engine, wait, events, ask):
    deliver(store, engine, at="COMMIT", done=True)
    assert look(wait, store, ALICE) == look(wait, store, BOB) == [MESSAGE]
    assert [type(each).__name__ for each in events] == ["CommitConfirmed"]
    deliver(store, engine)
    assert look(wait, store, ALICE) == [MESSAGE] * 2
    assert ask("SELECT count(*) FROM body") == [(2,)], "one for two mailboxes"


@pytest.mark.parametrize("at", ["COMMIT", "UPDATE lease"])
def test_the_database_has_not(store, engine, wait, ask, at):
    deliver(store, engine)
    with pytest.raises(OSError, match="the connection is lost"):
        deliver(store, engine, at=at)
    assert look(wait, store, ALICE) == [MESSAGE]
    deliver(store, engine)
    assert usage(ask) == [(2, 2 * len(MESSAGE))] * 2


def test_the_database_still_works_on_it(postgresql, store, engine, wait):
    """As after a cut of the network: the answer is awaited."""
    group = store.database.group
    (staged,) = store.writer.stage([(Content(MESSAGE), to(ALICE))])
    work, real = engine.begin(), group._connection
    group._connection = Lingering(real, store.database.connections)
    work.commit()
    assert look(wait, store, ALICE) == [MESSAGE]
    assert staged.in_transaction


class Lingering(Breaking):
    """Its COMMIT is done when somebody else has connected."""

    def __init__(self, connection, connections):
        super().__init__(connection, "COMMIT", done=True)
        self._connections = connections

    def execute(self, statement, *values):
        if statement != "COMMIT":
            return self._connection.execute(statement, *values)
        connect = self._connections.connect

        def connect_first():
            del self._connections.connect
            asking = connect()
            self._connection.execute("COMMIT")
            self._connection.close()
            return asking

        self._connections.connect = connect_first
        raise psycopg.OperationalError("the connection is lost")

    def close(self):
        """It is not closed yet, as the database sees it."""


@pytest.mark.parametrize("done", [True, False])
def test_nobody_can_tell(store, engine, wait, monkeypatch, ask, done):
    """The sender gets 451. If the message is there, the next commit removes it."""
    deliver(store, engine, Delivery(BOB, b""))
    monkeypatch.setattr(transaction, "CERTAIN_WITHIN", -1)
    with pytest.raises(CommitUnknown):
        deliver(store, engine, *to(ALICE, ALICE), at="COMMIT", done=done)
    assert len(look(wait, store, ALICE)) == 2 * done
    deliver(store, engine, Delivery(BOB, b""))
    assert look(wait, store, ALICE) == []
    assert usage(ask) == [(0, 0), (2, 2 * len(MESSAGE))]
    assert ask("SELECT count(*) FROM body") == [(2,)]


def test_a_message_that_fails_leaves_the_others(store, engine, wait, ask):
    """Whether its content cannot be read, or the spool has no place for its rows."""
    large = Content(b"x" * 600_000)
    broken = Broken(StorageError("gone"))
    broken.size = 600_000
    found = store.writer.stage(
        [(Content(MESSAGE), to(ALICE)), (broken, to(ALICE)), (large, to(ALICE, BOB)), (large, to(BOB))]
    )
    assert isinstance(found[1], StorageError)
    work = engine.begin()
    store.writer.discard(found[2].copies)
    work.commit()
    assert look(wait, store, ALICE) == [MESSAGE]
    assert look(wait, store, BOB) == [large.data]
    assert usage(ask) == [(1, len(MESSAGE)), (1, 600_000)]
    assert ask("SELECT count(DISTINCT id) FROM body") == [(2,)]


def test_a_session_that_lost_its_lease_removes_nothing(store, engine, wait, ask):
    """Another server has taken the mailbox meanwhile. Without the check of the fence this fails."""
    deliver(store, engine)
    drop = wait(store.maildrop(ALICE))
    ask("UPDATE lease SET node = 'other', fence = fence + 1 WHERE name NOT LIKE 'node %%'")
    with pytest.raises(StorageError, match="the lock of the mailbox was lost to another server"):
        wait(drop.remove([0]))
    drop.release()
    assert ask("SELECT count(*) FROM message") == [(2,)]
    assert ask("SELECT node FROM lease ORDER BY name") == [("other",), ("node",)]


def test_room(store, engine, database, reactor, wait):
    """Also before the store is open. Nearly full mailboxes are looked at each time."""
    quota = Quota(octets=4 * len(MESSAGE))
    limited = PostgreSQLStore(database, reactor, lambda mailbox: quota)
    assert wait(limited.has_room(ALICE, len(MESSAGE)))
    assert limited.has_room(ALICE, len(MESSAGE)) is True
    for _ in range(3):
        deliver(store, engine)
    assert limited.has_room(ALICE, len(MESSAGE)) is True, "the writer knows better"
    (staged,) = limited.writer.stage([(Content(MESSAGE), to(ALICE, BOB, ALICE))])
    assert isinstance(staged, Staged)
    assert [delivery.mailbox for delivery in staged.full] == [ALICE]
    store.database.group.rollback()
    limited = PostgreSQLStore(database, reactor, lambda mailbox: quota)
    for octets, fits in ((len(MESSAGE), True), (len(MESSAGE) + 1, False)):
        assert wait(limited.has_room(ALICE, octets)) is fits


def test_who_waits_for_a_lock_waits_in_the_same_order(store, wait):
    """Locks of mailboxes are taken by path, whatever the order of the deliveries."""
    boxes = store.writer._lock({"b/x", "c/x", "a/x"}) and store.writer._boxes
    assert list(boxes) == ["a/x", "b/x", "c/x"]
    store.database.group.rollback()
