"""At the start: what a crash has left in the spool is finished.

Idempotent: nothing is retired before everything is safe, so a crash during recovery is recovered from.
"""

from typing import Any

import attrs
from twisted.logger import Logger

from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.database import Database
from mailserver.errors import MessageDamaged, StorageError, TornMessage
from mailserver.interfaces import IMailboxWriter, StoredCopy
from mailserver.mail.words import counted
from mailserver.queue import entries
from mailserver.queue.entries import SpooledContent

_log = Logger()

_ORPHANS = "SELECT DISTINCT seq FROM waiting WHERE seq NOT IN (SELECT seq FROM message)"
_RECIPIENTS = "SELECT recipient, mailbox, reverse_path FROM waiting WHERE seq = ?"


@attrs.define
class Found:
    """What was found and done: numbers of messages, of mailboxes, and the last row number used.

    ``left`` are rows whose mailboxes cannot be written now.
    """

    messages: int = 0
    there: int = 0
    written: int = 0
    waiting: int = 0
    set_aside: int = 0
    last: int = 0
    left: list[tuple[int, tuple[StoredCopy, ...]]] = attrs.field(factory=list)

    def __str__(self) -> str:
        return (
            f"recovery: {counted(self.messages, 'message')} to sync, found in "
            f"{self.there} mailbox{'' if self.there == 1 else 'es'}, written again to {self.written}; "
            f"{counted(self.waiting, 'recipient')} waiting for another attempt; "
            f"{self.set_aside} damaged, set aside; {len(self.left)} to be tried again"
        )


def recover(database: Database, mailboxes: IMailboxWriter, damaged: DamagedFolder) -> Found:
    """Finish what was begun.

    Raises ``OSError``, :class:`~mailserver.durable.database.Damaged`, and
    :class:`~mailserver.errors.TornMessage`: what is not whole must not be served.
    """
    found = Found()
    synced: list[tuple[int, tuple[StoredCopy, ...]]] = []
    for (seq,) in database.rows("SELECT seq FROM message ORDER BY seq"):
        found.last = seq
        try:
            stored, content = _read(database, seq)
        except ValueError as error:
            _set_aside(database, damaged, seq, str(error))
            database.commit(list(entries.remove([seq])))
            found.set_aside += 1
            continue
        failed = []
        lost: dict[StoredCopy, str] = {}
        for copy in stored:
            try:
                if not _restore(mailboxes, copy, content, found):
                    failed.append(copy)
            except MessageDamaged as error:
                lost[copy] = str(error)
        if lost:
            _set_aside(database, damaged, seq, "\n".join(lost.values()))
            found.set_aside += 1
            stored = tuple(copy for copy in stored if copy not in lost)
            if not stored:
                database.commit(list(entries.retire([seq])))
        _check_waiting(database, damaged, seq, content, found)
        if failed:
            found.left.append((seq, stored))
        elif stored:
            found.messages += 1
            synced.append((seq, stored))
    copies = [copy for _, stored in synced for copy in stored]
    unsafe = set(mailboxes.sync(copies)) if copies else set()
    found.left += [(seq, stored) for seq, stored in synced if not unsafe.isdisjoint(stored)]
    safe = [(seq, stored) for seq, stored in synced if unsafe.isdisjoint(stored)]
    if safe:
        database.commit(list(entries.retire([seq for seq, _ in safe])))
        mailboxes.forget([copy for _, stored in safe for copy in stored])
    for (seq,) in database.rows(_ORPHANS):
        told = f"recipients of a message that is not there: {database.rows(_RECIPIENTS, (seq,))}"
        where = damaged.keep(b"", f"{seq}.waiting", told)
        database.commit(list(entries.remove([seq])))
        found.set_aside += 1
        _log.critical("row {seq}: {reason}; now {where}", seq=seq, reason=told, where=where)
    ((found.waiting,),) = database.rows("SELECT count(*) FROM waiting")
    return found


def _restore(
    mailboxes: IMailboxWriter, copy: StoredCopy, content: SpooledContent | None, found: Found
) -> bool:
    """Whether a copy could be put into its mailboxes."""
    try:
        restored = mailboxes.restore(copy, content)
    except TornMessage:
        raise
    except StorageError as error:
        _log.error("{name} cannot be synced now: {error}", name=copy.name, error=error)
        return False
    found.there += restored.there
    found.written += restored.written
    found.set_aside += restored.set_aside
    return True


def _read(database: Database, seq: int) -> tuple[tuple[StoredCopy, ...], SpooledContent | None]:
    """The copies and the content of a row. Raises ``ValueError`` if it makes no sense."""
    (row,) = database.rows(entries.ROW, (seq,))
    entry = entries.read(row)
    return entry.copies, None if entry.content is None else SpooledContent(entry.content)


def _check_waiting(
    database: Database, damaged: DamagedFolder, seq: int, content: SpooledContent | None, found: Found
) -> None:
    """Set recipients aside whose rows make no sense, each with the message; the others wait on."""
    for row in database.rows(entries.WAITING, (seq,)):
        try:
            entries.read_waiting(row)
        except ValueError as error:
            told = f"a recipient of message {seq} whose {error}: {row}"
            where = damaged.keep(content.data if content else b"", f"{seq}.waiting.eml", told)
            database.commit(
                [
                    ("DELETE FROM waiting WHERE seq = ? AND number = ?", (seq, row[0])),
                    *entries.attempted(seq, (), ()),
                ]
            )
            found.set_aside += 1
            _log.critical("row {seq}: {reason}; now {where}", seq=seq, reason=told, where=where)


def _set_aside(database: Database, damaged: DamagedFolder, seq: int, reason: str) -> None:
    """Keep all that there is of a row where nobody stumbles over it."""
    row: tuple[Any, ...]
    (row,) = database.rows("SELECT id, reverse_path, texts, content FROM message WHERE seq = ?", (seq,))
    id_, reverse_path, texts, content = row
    waiting = [mailbox for (mailbox,) in database.rows("SELECT mailbox FROM waiting WHERE seq = ?", (seq,))]
    told = f"{reason}\nid {id_}\nreverse-path <{reverse_path}>\nmailboxes {texts}\nwaiting {waiting}"
    kept = content if isinstance(content, bytes) else str(content or "").encode("utf-8", "surrogateescape")
    where = damaged.keep(kept, f"{id_}.eml", told)
    _log.critical("{id}: damaged in the spool: {reason}; now {where}", id=id_, reason=reason, where=where)
