"""What a start requires of a database."""

import threading

import pytest

from mailserver.errors import StorageRefused
from mailserver.postgresql import schema
from mailserver.postgresql.connections import Connections
from mailserver.postgresql.database import PostgreSQLDatabase, prepare
from mailserver.postgresql.schema import MIGRATIONS


def test_tables_are_made_once(connections, database_url, ask):
    """Also by servers that start at the same time."""
    others = [Connections(database_url) for _ in range(4)]
    threads = [threading.Thread(target=prepare, args=(each,)) for each in (*others, connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in others:
        each.forget()
    prepare(connections)
    assert ask("SELECT version FROM mailserver_format") == [(len(MIGRATIONS),)]


def test_an_older_format_is_converted(connections, ask, monkeypatch):
    monkeypatch.setattr(schema, "MIGRATIONS", MIGRATIONS[:1])
    prepare(connections)
    ask("INSERT INTO mailbox (path) VALUES ('a/b')")
    monkeypatch.undo()
    prepare(connections)
    assert ask("SELECT version FROM mailserver_format") == [(len(MIGRATIONS),)]
    assert ask("SELECT (SELECT count(*) FROM mailbox), (SELECT count(*) FROM account)") == [(1, 0)]


def test_a_newer_format_is_refused(connections, ask):
    prepare(connections)
    ask("UPDATE mailserver_format SET version = 99")
    with pytest.raises(StorageRefused, match=r"^the database has format 99, of a newer version"):
        prepare(connections)


def test_synchronous_commit_is_needed(database, database_url, ask):
    connections = Connections(f"{database_url}%20-csynchronous_commit%3Doff")
    with pytest.raises(StorageRefused, match="synchronous_commit = off, which loses accepted mail"):
        prepare(connections)
    connections.forget()
    database.group.begin().execute("SET LOCAL synchronous_commit = off")  # somebody changes it later
    with pytest.raises(OSError, match="synchronous_commit = off"):
        database.group.commit()


def test_several_servers_use_it(database, database_url, ask):
    other = PostgreSQLDatabase(Connections(database_url), lambda: "other")
    other.open()
    other.open()
    other.close()
    assert ask("SELECT count(*) FROM lease") == [(2,)], "the other one is open for one more"
    other.close()
    assert ask("SELECT name FROM lease") == [("node node",)]


def test_a_copied_data_directory_commits_nothing(database, database_url):
    """Two servers with the id of one node: the second takes over, as after a kill of the first."""
    again = PostgreSQLDatabase(Connections(database_url), lambda: "node")
    again.open()
    database.group.begin()
    with pytest.raises(OSError, match="another server uses the database with the id of this one"):
        database.group.commit()
    again.close()


def test_a_lease_that_ended_is_free(database, database_url, ask, events):
    assert database.leases.take("box") is not None
    other = PostgreSQLDatabase(Connections(database_url), lambda: "other")
    assert other.leases.take("box") is None
    ask("UPDATE lease SET until = now() - interval '1 s'")
    database.leases.renew()
    assert other.leases.take("box") is None, "nobody took it before the heartbeat"
    ask("UPDATE lease SET until = now() - interval '1 s' WHERE name = 'box'")
    fence = other.leases.take("box")
    assert fence is not None
    for _ in range(2):
        database.leases.renew()
    assert [(type(each).__name__, each.name) for each in events] == [("LeaseLost", "box")]
    other.leases.release(fence + 1)
    assert ask("SELECT fence FROM lease WHERE name = 'box'") == [(fence,)]
    other.leases.release(fence)
    other.leases.close()
    other.connections.forget()
    assert ask("SELECT name FROM lease") == [("node node",)]


def test_a_lease_that_could_not_be_released_is_released_later(database, ask, monkeypatch):
    fence = database.leases.take("box")

    def fail(work):
        raise OSError("the connection is lost")

    with monkeypatch.context() as broken:
        broken.setattr(database.connections, "run", fail)
        with pytest.raises(OSError, match="the connection is lost"):
            database.leases.release(fence)
    database.leases.renew()
    assert ask("SELECT name FROM lease") == [("node node",)]
