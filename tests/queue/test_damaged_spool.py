"""Damage: rows that make no sense, a mailbox that cannot be written, a file that is no database."""

import sqlite3

import pytest
from twisted.logger import capturedLogs

from mailserver.errors import StorageError
from mailserver.interfaces import Quota
from tests.support.queue.crashed import HEAD, crash, damaged, is_missing, row, serves
from tests.support.queue.runners import Queue
from tests.support.queue.spools import FIRST_RETRY
from tests.support.store.messages import ALICE, BOB, CAROL, MESSAGE

ROWS = {
    "no JSON": "UPDATE message SET texts = '{'",
    "cut": "UPDATE message SET texts = substr(texts, 1, length(texts) - 4)",
    "null": "UPDATE message SET texts = 'null'",
    "numbers": "UPDATE message SET texts = '[1]'",
    "too few": "UPDATE message SET texts = '[[\"name\"]]'",
    "other types": "UPDATE message SET texts = '[[1,2,3,4,5,6,7]]'",
    "no UTF-8": "UPDATE message SET texts = CAST(x'ff' AS TEXT)",
    "octets": "UPDATE message SET texts = x'00ff'",
    "content gone": "UPDATE message SET content = NULL",
    "content a text": "UPDATE message SET content = 'text'",
    "content a number": "UPDATE message SET content = 5",
    "content wrong": "UPDATE message SET content = zeroblob(length(content))",
    # A value of another type than the column's.
    "size a text": "UPDATE message SET octets = 'many'",
    "size negative": "UPDATE message SET octets = -1",
    "time a text": "UPDATE message SET received = 'yesterday'",
    "time octets": "UPDATE message SET received = x'00ff'",
    "time without end": "UPDATE message SET received = 9e999",
    "id octets": "UPDATE message SET id = x'2e2e2f'",
    "checksum a text": "UPDATE message SET checksum = 'sum'",
    # Names that would be paths to other places.
    "mailbox above": """UPDATE message SET texts = replace(texts, 'example.org/', '../')""",
    "mailbox far above": """UPDATE message SET texts = replace(texts, 'example.org/', '../../../../tmp/')""",
    "mailbox beside": """UPDATE message SET texts = replace(texts, 'example.org/alice', 'example.org/..')""",
    "mailbox absolute": """UPDATE message SET texts = replace(texts, 'example.org/', '/')""",
    "mailbox with NUL": """UPDATE message SET texts = replace(texts, '/alice', '/a\\u0000lice')""",
    "mailbox empty": """UPDATE message SET texts = replace(texts, 'example.org/alice', '')""",
    "name above": """UPDATE message SET texts = replace(texts, '[["', '[["../../')""",
    "name absolute": """UPDATE message SET texts = replace(texts, '[["', '[["/')""",
    "unique-id above": """UPDATE message SET texts = replace(texts, ', "1', ', "../1')""",
    "source elsewhere": """UPDATE message SET texts = replace(texts, ', ""]', ', "../../passwd"]')""",
}


@pytest.mark.parametrize("damage", ROWS)
@pytest.mark.parametrize("waits", [False, True])
def test_damaged_rows(spools, damage, waits):
    """The row is set aside with all that it has, and the others are recovered."""
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, *([BOB] if waits else [])))
    spools.wait(spools.deliver(b"Subject: another\r\n\r\n", ALICE))
    crash(spools)
    for path in spools.files("new"):
        is_missing(path)
    ((id_,),) = row(spools, "SELECT id FROM message WHERE seq = 1")
    row(spools, f"{ROWS[damage]} WHERE seq = 1")
    with capturedLogs() as events:
        spools.open()
    (told,) = (event["recovery"] for event in events if "recovery" in event)
    assert (told.set_aside, told.messages, told.waiting) == (1, 1, 0)
    ((path, octets),) = damaged(spools).items()
    assert id_ in path.name or damage == "id octets"
    if "content" not in damage:
        assert octets == MESSAGE
    reason = path.with_name(f"{path.name}.reason").read_text(errors="replace")
    assert "me@x.example" in reason
    assert any(str(path) in str(event.get("where")) for event in events)
    (found,) = spools.look(ALICE)
    assert found.endswith(b"another\r\n\r\n")
    assert spools.rows() == []
    assert {path.name for path in (spools.root / "mail").iterdir()} <= {"example.org", "example.net"}
    assert {path.name for path in spools.root.iterdir()} == {"damaged", "mail", "spool", "tmp"}
    serves(spools)


RECIPIENTS = {
    "mailbox no address": "mailbox = '../../x'",
    "mailbox with NUL": "mailbox = 'bob' || char(0) || '@example.org'",
    "mailbox a number": "mailbox = 5",
    "mailbox a folder above": "mailbox = '../x@../y'",
    "reverse-path no address": "reverse_path = 'nobody'",
    "head a text": "head = 'Received: here'",
    "attempts a text": "attempts = 'many'",
    "attempts negative": "attempts = -1",
    "time a text": "next = 'soon'",
    "time octets": "next = x'00'",
    "time without end": "next = 9e999",
    "number a text": "number = 'one'",
    "error octets": "error = x'ff'",
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
    row(spools, f"UPDATE waiting SET {RECIPIENTS[damage]} WHERE mailbox = 'bob@example.org'")
    with capturedLogs() as events:
        spools.open()
    (told,) = (event["recovery"] for event in events if "recovery" in event)
    assert (told.set_aside, told.waiting) == (1, 1)
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


def test_a_row_that_is_damaged_while_the_server_runs(spools):
    """The attempt fails with a line of the log, the message stays, and the next start sets it aside."""
    spools.quotas[BOB] = Quota(octets=1)
    spools.wait(spools.deliver(MESSAGE, ALICE, BOB))
    queue = Queue(spools)
    spools.spool._database.commit([("UPDATE message SET octets = 'x'", ())])
    with capturedLogs() as events:
        queue.pass_time(FIRST_RETRY)
    queue.stop()
    (error,) = (str(event["error"]) for event in events if "an attempt failed" in str(event["log_format"]))
    assert error == "row 1 of the spool is damaged: size is 'x'"
    spools.reopen()
    assert len(damaged(spools)) == 1


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
    (told,) = (event for event in events if "damaged" in str(event.get("log_format")))
    assert "is empty" in told["reason"] or spoil not in (empty, keep_the_header)
    assert len(spools.look(ALICE)) == 50
    serves(spools)
    spools.reopen()
    assert len(damaged(spools)) >= 1
