"""``mailserver import store`` and ``export --store``, killed on the way, as a POP3 client sees them."""

import poplib
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.corpus.messages import MESSAGES
from tests.support.e2e.commands import begin, end, mailserver
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import PASSWORD, Makes, Server, configuration, wait_until
from tests.support.migration.boxes import write_maildir

pytestmark = pytest.mark.slow
MANY, KILLED_AT = 500, 450
LOCK = 4711
WAITERS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

# Each makes the command wait for the test in the middle of a mailbox.
HALT = f"""
CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF NEW.number = {KILLED_AT} THEN PERFORM pg_advisory_xact_lock({LOCK}); END IF; RETURN NEW; END $$;
CREATE TRIGGER halt BEFORE INSERT ON message FOR EACH ROW EXECUTE FUNCTION halt();
"""
HALT_READING = f"""
CREATE FUNCTION halted(bytea) RETURNS bytea LANGUAGE plpgsql AS $$ BEGIN
PERFORM pg_advisory_xact_lock({LOCK}); RETURN $1; END $$;
ALTER TABLE body RENAME TO hidden;
CREATE VIEW body AS SELECT id, part, CASE WHEN id = (SELECT body FROM message
WHERE number = {KILLED_AT}) THEN halted(data) ELSE data END AS data FROM hidden;
"""
GO_ON = "DROP TRIGGER halt ON message; DROP FUNCTION halt"
GO_ON_READING = "DROP VIEW body; ALTER TABLE hidden RENAME TO body; DROP FUNCTION halted"


def seen(server: Server, name: str) -> list[tuple[bytes, bytes, list[bytes]]]:
    """The unique-id, the size and the lines of each message."""
    client = poplib.POP3(*server.pop3, timeout=60)
    client.user(f"{name}@example.org")
    client.pass_(PASSWORD)
    uids = [line.split()[1] for line in client.uidl()[1]]
    sizes = [line.split()[1] for line in client.list()[1]]
    texts = [client.retr(number)[1] for number in range(1, len(uids) + 1)]
    client.quit()
    return list(zip(uids, sizes, texts, strict=True))


@contextmanager
def killed(server: Server, url: str, halt: str, go_on: str, *words: str) -> Iterator[psycopg.Connection]:
    """A command that was killed on the way."""
    with psycopg.connect(url, autocommit=True) as test:
        test.execute(halt.encode())
        test.execute(f"SELECT pg_advisory_lock({LOCK})".encode())
        command = begin(server, *words)
        try:
            wait_until(lambda: test.execute(WAITERS.encode()).fetchone() == (1,), "the halt of the command")
        finally:
            command.send_signal(signal.SIGKILL)
            end(command)
        test.execute(b"SELECT pg_advisory_unlock_all()")
        wait_until(lambda: test.execute(WAITERS.encode()).fetchone() == (0,), "the end of its transaction")
        test.execute(go_on.encode())
        yield test


def test_there_and_back_with_a_kill_on_each_way(
    make_server: Makes, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poplib, "_MAXLINE", 1 << 20)  # a message has longer lines
    files = configuration(accounts=["alice", "bob"], tables="")
    database = files + f'\n[storage]\nengine = "postgresql"\nurl = "{database_url}"\n'
    server = make_server(files).start()
    assert mailserver(server, "account", "add", "carol", given=f"{PASSWORD}\n")[0] == 0
    for name in ("alice", "carol"):
        Mailbox(server, name).fill(*MESSAGES.values())
    foreign = {f"new/{number}.M1P1.host": b"Subject: %d\n\nLF\n" % number for number in range(MANY)}
    write_maildir(server.data / "mail/example.org/bob", foreign)
    before = {name: seen(server, name) for name in ("alice", "bob", "carol")}
    server.stop()
    server.configure(database)
    mailserver(server, "queue", "list")  # makes the tables
    load = ("import", "store", str(server.data))
    with killed(server, database_url, HALT, GO_ON, *load) as test:
        assert test.execute(b"SELECT messages FROM mailbox WHERE path LIKE '%/bob'").fetchone() == (400,)
    status, out, _ = mailserver(server, *load)
    assert status == 0, out
    assert out[0] == "imported 0 names (accounts, aliases and lists), skipped 1, verified"
    assert out[1].endswith(f"skipped {len(MESSAGES) + 400}, verified")
    server.start()
    assert {name: seen(server, name) for name in before} == before
    Mailbox(server, "bob").fill(MESSAGES["plain"])
    before["bob"] = seen(server, "bob")
    server.stop()

    new = server.directory / "new"
    dump = ("export", "--store", str(new))
    with killed(server, database_url, HALT_READING, GO_ON_READING, *dump):
        assert len(list((new / "mail/example.org/bob/new").iterdir())) == 400
    status, out, _ = mailserver(server, *dump)
    assert status == 0, out
    assert out[1].endswith(f"skipped {len(MESSAGES) + 400}, verified")
    server.data.rename(server.directory / "old")
    new.rename(server.data)
    server.configure(files)
    server.start()
    assert {name: seen(server, name) for name in before} == before
    Mailbox(server, "bob").fill(MESSAGES["dots"])
    assert seen(server, "bob")[:-1] == before["bob"]  # a later message comes last
