"""Damage: rows that make no sense, a mailbox that cannot be written, a file that is no database."""

import sqlite3

import pytest
from twisted.logger import capturedLogs

from mailserver.errors import StorageError
from mailserver.events.queue import SpoolDamaged, SpoolRecovered
from mailserver.mail.quota import Quota
from tests.support.queue.crashed import HEAD, crash, damaged, is_missing, is_short, is_wrong, row, serves
from tests.support.queue.runners import Queue
from tests.support.queue.spools import FIRST_RETRY
from tests.support.store.messages import ALICE, BOB, CAROL, MESSAGE

ROWS = {
    "no JSON": "UPDATE entry SET copies = '{'",
    "cut": "UPDATE entry SET copies = substr(copies, 1, length(copies) - 4)",
    "null": "UPDATE entry SET copies = 'null'",
    "numbers": "UPDATE entry SET copies = '[1]'",
    "too few": "UPDATE entry SET copies = '[[\"name\"]]'",
    "other types": "UPDATE entry SET copies = '[[1,2,3,4,5,6,7]]'",
    "no UTF-8": "UPDATE entry SET copies = CAST(x'ff' AS TEXT)",
    "octets": "UPDATE entry SET copies = x'00ff'",
    "content gone": "UPDATE entry SET content = NULL",
    "content a text": "UPDATE entry SET content = 'text'",
    "content a number": "UPDATE entry SET content = 5",
    "content wrong": "UPDATE entry SET content = zeroblob(length(content))",
    # A value of another type than the column's.
    "size a text": "UPDATE entry SET octets = 'many'",
    "size negative": "UPDATE entry SET octets = -1",
    "time a text": "UPDATE entry SET received = 'yesterday'",
    "time octets": "UPDATE entry SET received = x'00ff'",
    "time without end": "UPDATE entry SET received = 9e999",
    "id octets": "UPDATE entry SET id = x'2e2e2f'",
    # Names that would be paths to other places.
    "mailbox above": """UPDATE entry SET copies = replace(copies, 'example.org/', '../')""",
    "mailbox far above": """UPDATE entry SET copies = replace(copies, 'example.org/', '../../../../tmp/')""",
    "mailbox beside": """UPDATE entry SET copies = replace(copies, 'example.org/alice', 'example.org/..')""",
    "mailbox absolute": """UPDATE entry SET copies = replace(copies, 'example.org/', '/')""",
    "mailbox with NUL": """UPDATE entry SET copies = replace(copies, '/alice', '/a\\u0000lice')""",
    "mailbox empty": """UPDATE entry SET copies = replace(copies, 'example.org/alice', '')""",
    "name above": """UPDATE entry SET copies = replace(copies, '[["', '[["../../')""",
    "name absolute": """UPDATE entry SET copies = replace(copies, '[["', '[["/')""",
    "unique-id above": """UPDATE entry SET copies = replace(copies, ', "1', ', "../1')""",
    "source elsewhere": """UPDATE entry SET copies = replace(copies, ', ""]', ', "../../passwd"]')""",
}


@pytest.mark.parametrize("damage", ROWS)
@pytest.mark.parametrize("waits", [False, True])
def test_damaged_rows(spools, damage, waits):
    """The row is set aside with all that it has, and the others are recovered; who waits, waits on."""
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, *([BOB] if waits else [])))
    spools.wait(spools.deliver(b"Subject: another\r\n\r\n", ALICE))
    crash(spools)
    for path in spools.files("new"):
        is_missing(path)
    ((id_,),) = row(spools, "SELECT id FROM entry WHERE seq = 1")
    row(spools, f"{ROWS[damage]} WHERE seq = 1")
    with capturedLogs() as events:
        spools.open()
    (told,) = (event["log_event"] for event in events if isinstance(event.get("log_event"), SpoolRecovered))
    assert (told.damaged, told.synced, told.waiting) == (1, 1, waits)
    ((path, octets),) = damaged(spools).items()
    assert id_ in path.name or damage == "id octets"
    if "content" not in damage:
        assert octets == MESSAGE
    reason = path.with_name(f"{path.name}.reason").read_text(errors="replace")
    assert "me@x.example" in reason
    assert any(str(path) in str(event.get("path")) for event in events)
    (found,) = spools.look(ALICE)
    assert found.endswith(b"another\r\n\r\n")
    assert len(spools.rows()) == waits
    assert {path.name for path in (spools.root / "mail").iterdir()} <= {"example.org", "example.net"}
    assert {path.name for path in spools.root.iterdir()} == {"damaged", "mail", "spool", "tmp"}
    serves(spools)


RECIPIENTS = {
    "mailbox no address": "address = '../../x'",
    "mailbox with NUL": "address = 'bob' || char(0) || '@example.org'",
    "mailbox a number": "address = 5",
    "mailbox a folder above": "address = '../x@../y'",
    "reverse-path no address": "reverse_path = 'nobody'",
    "head a text": "head = 'Received: here'",
    "attempts a text": "attempts = 'many'",
    "attempts negative": "attempts = -1",
    "time a text": "next = 'soon'",
    "time octets": "next = x'00'",
    "time without end": "next = 9e999",
    "number a text": "number = 'one'",
    "history octets": "history = x'ff'",
    "history a text": "history = 'full'",
    "history of nothing": "history = '[]'",
    "history without a status": 'history = \'[[1.0, "4.2", "full"]]\'',
    "destination octets": "destination = x'ff'",
}


@pytest.mark.parametrize("damage", RECIPIENTS)
@pytest.mark.parametrize("synced", [False, True])
def test_damaged_recipients(spools, damage, synced):
    """One is set aside with the message and the reason; the others wait on, and get it."""
    spools.quotas.update(dict.fromkeys((BOB, CAROL), Quota(octets=1)))
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB, CAROL))
    if synced:
        spools.checkpoint()
    crash(spools)
    row(spools, f"UPDATE recipient SET {RECIPIENTS[damage]} WHERE address = 'bob@example.org'")
    with capturedLogs() as events:
        spools.open()
    (told,) = (event["log_event"] for event in events if isinstance(event.get("log_event"), SpoolRecovered))
    assert (told.damaged, told.waiting) == (1, 1)
    ((path, octets),) = damaged(spools).items()
    assert octets == MESSAGE
    assert "bob" in path.with_name(f"{path.name}.reason").read_text() or "mailbox" in damage
    spools.quotas.clear()
    queue = Queue(spools)
    queue.pass_time(FIRST_RETRY)
    queue.stop()
    assert [len(spools.look(mailbox)) for mailbox in (ALICE, BOB, CAROL)] == [1, 0, 1]
    spools.checkpoint()
    assert spools.rows() == []
    assert {path.name for path in (spools.root / "mail").iterdir()} <= {"example.org", "example.net"}


QUEUED = {
    "id octets": "id = x'00'",
    "size a text": "octets = 'many'",
    "time a text": "received = 'yesterday'",
    "reverse-path octets": "reverse_path = x'ff'",
    "checksum a text": "checksum = 'sum'",
    "content elsewhere": "content = '../../passwd.1'",
    "content octets": "content = x'00'",
    "content another": "content = 'id.7'",
    "ENVID octets": "envid = x'00'",
}


@pytest.mark.parametrize("damage", QUEUED)
def test_damaged_messages_that_wait(spools, damage):
    """The message is set aside for all that wait for it, and its copies are recovered."""
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    crash(spools)
    row(spools, f"UPDATE queued SET {QUEUED[damage]}")
    spools.open()
    ((path, octets),) = damaged(spools).items()
    assert octets == (b"" if "content" in damage else MESSAGE)
    assert "bob@example.org" in path.with_name(f"{path.name}.reason").read_text()
    assert (spools.look(ALICE), spools.rows()) == ([HEAD + MESSAGE], [])


@pytest.mark.parametrize("spoil", [is_missing, is_short, is_wrong])
def test_damaged_contents(spools, spoil):
    """A content that is missing or cut is seen at the start, any other when it is read."""
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    crash(spools)
    (path,) = spools.contents()
    spoil(path)
    left = path.read_bytes() if path.exists() else b""
    spools.open()
    assert len(spools.rows()) == (spoil is is_wrong)
    spools.quotas.clear()
    queue = Queue(spools)
    queue.pass_time(FIRST_RETRY)
    queue.stop()
    assert (list(damaged(spools).values()), spools.rows(), spools.contents()) == ([left], [], [])
    assert [len(spools.look(mailbox)) for mailbox in (ALICE, BOB)] == [1, 0]


def test_a_row_that_is_damaged_while_the_server_runs(spools):
    """The attempt fails with a line of the log, and the message is set aside."""
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    queue = Queue(spools)
    spools.engine._database.commit([("UPDATE queued SET octets = 'x'", ())])
    with capturedLogs() as events:
        queue.pass_time(FIRST_RETRY)
    queue.stop()
    failed = (event for event in events if event["log_format"].startswith("delivery attempt failed:"))
    (error,) = (str(event["error"]) for event in failed)
    assert error == "row 1 of the spool is damaged: size is 'x'"
    assert (list(damaged(spools).values()), spools.rows(), spools.contents()) == ([MESSAGE], [], [])


def test_a_damaged_row_does_not_touch_good_files(spools):
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    crash(spools)
    row(spools, ROWS["no JSON"])
    spools.open()
    assert spools.look(ALICE) == spools.look(BOB) == [HEAD + MESSAGE]
    assert len(damaged(spools)) == 1


@pytest.mark.parametrize("folder", ["new", "cur"])
def test_a_mailbox_that_cannot_be_written_stops_nobody_else(spools, tmp_path, folder):
    """Its message stays in the spool until it can be."""
    spools.wait(spools.deliver(MESSAGE, ALICE))
    spools.wait(spools.deliver(MESSAGE, BOB))
    crash(spools)
    box = spools.root / "mail/example.org/alice"
    for path in spools.files("new"):
        is_missing(path)
    (box / folder).rmdir()
    (box / folder).symlink_to(tmp_path)
    spools.open()
    assert len(spools.look(BOB)) == 1
    assert len(spools.rows()) == 1
    with pytest.raises(StorageError):
        spools.checkpoint()
    serves(spools)
    (box / folder).unlink()
    spools.checkpoint()
    assert len(spools.look(ALICE)) == 1
    assert spools.rows() == []


# ---------------------------------------------------------------- the database


def write_garbage(path):
    path.write_bytes(b"no database\n" * 1000)


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 100])


def spoil_a_page(path):
    data = bytearray(path.read_bytes())
    data[100:4096] = bytes(3996)
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def keep_the_header(path):
    """What a database is before its first commit."""
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.close()


@pytest.mark.parametrize("spoil", [write_garbage, cut_in_half, spoil_a_page, empty, keep_the_header])
def test_a_spool_that_is_no_database_is_set_aside(spools, spoil):
    for _ in range(50):
        spools.wait(spools.deliver(MESSAGE * 20, ALICE))
    crash(spools)
    path = spools.root / "spool/queue.db"
    row(spools, "PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(path)
    spoiled = path.read_bytes()
    with capturedLogs() as events:
        spools.open()
    assert spoiled in damaged(spools).values()
    (told,) = (event for event in events if isinstance(event.get("log_event"), SpoolDamaged))
    assert "is empty" in told["reason"] or spoil not in (empty, keep_the_header)
    assert len(spools.look(ALICE)) == 50
    serves(spools)
    spools.reopen()
    assert len(damaged(spools)) >= 1
