"""Recovery at the start: completes the deliveries that a crash has interrupted.

Recovery is idempotent: no entry is retired before its copies are safe, so it may itself crash and be run
again.
"""

from collections.abc import Iterator

import attrs

from mailserver.durable.damaged import DamagedFolder
from mailserver.errors import MessageDamaged, StorageError, TornMessage
from mailserver.events.base import report
from mailserver.events.queue import CopyUnsynced, SpoolRecovered, SpoolRowDamaged
from mailserver.interfaces import IContent, IMailboxWriter, StoredCopy
from mailserver.queue.entries import DamagedPart, Entry, InMemoryContent
from mailserver.queue.interfaces import ISpoolEngine

EXAMINED = 1000  # waiting messages, the oldest; the others are examined when they are tried


@attrs.define
class Recovery:
    """The result of a recovery: numbers of messages and of copies.

    ``left`` has the rows whose mailboxes cannot be written now.
    """

    messages: int = 0
    there: int = 0
    written: int = 0
    waiting: int = 0
    set_aside: int = 0
    left: list[tuple[int, tuple[StoredCopy, ...]]] = attrs.field(factory=list)

    def event(self) -> SpoolRecovered:
        """The result as an event."""
        return SpoolRecovered(
            synced=self.messages,
            found=self.there,
            written=self.written,
            waiting=self.waiting,
            damaged=self.set_aside,
            unsynced=len(self.left),
        )


def recover(engine: ISpoolEngine, mailboxes: IMailboxWriter, damaged: DamagedFolder) -> Recovery:
    """Deliver and sync the copies that a crash has left in the spool.

    Raises ``OSError`` and :class:`~mailserver.durable.database.Damaged`. Raises
    :class:`~mailserver.errors.TornMessage` because a torn message must not be served.
    """
    found = Recovery()
    restored: list[tuple[int, tuple[StoredCopy, ...]]] = []
    for entry in engine.entries():
        if isinstance(entry, DamagedPart):
            set_aside(engine, damaged, entry)
            found.set_aside += 1
            continue
        failed, lost = _restore(mailboxes, entry, found)
        copies = tuple(copy for copy in entry.copies if copy not in lost)
        if lost:
            part = engine.condemn_entry(entry.seq, "\n".join(lost.values()))
            set_aside(engine, damaged, part, forget=not copies)
            found.set_aside += 1
        if failed:
            found.left.append((entry.seq, copies))
        elif copies:
            found.messages += 1
            restored.append((entry.seq, copies))
    unsynced = [copy for _, some in restored for copy in some]
    unsafe = set(mailboxes.sync(unsynced)) if unsynced else set()
    found.left += [(seq, some) for seq, some in restored if not unsafe.isdisjoint(some)]
    safe = [(seq, some) for seq, some in restored if unsafe.isdisjoint(some)]
    if safe:
        transaction = engine.begin()
        transaction.retire([seq for seq, _ in safe])
        transaction.commit()
        mailboxes.forget([copy for _, some in safe for copy in some])
    for seq in engine.oldest(EXAMINED):
        for part in engine.examine(seq):
            set_aside(engine, damaged, part)
            found.set_aside += 1
    found.waiting = engine.waiting()
    return found


def _restore(
    mailboxes: IMailboxWriter, entry: Entry, found: Recovery
) -> tuple[list[StoredCopy], dict[StoredCopy, str]]:
    """Restore the copies of an entry. Returns those that cannot be written now, and those that are lost."""
    content = None if entry.content is None else InMemoryContent(entry.content)
    failed: list[StoredCopy] = []
    lost: dict[StoredCopy, str] = {}
    for copy in entry.copies:
        try:
            restored = mailboxes.restore(copy, content)
        except MessageDamaged as error:
            lost[copy] = str(error)
        except TornMessage:
            raise
        except StorageError as error:
            report(CopyUnsynced(name=copy.name, error=error))
            failed.append(copy)
        else:
            found.there += restored.there
            found.written += restored.written
            found.set_aside += restored.set_aside
    return failed, lost


def set_aside(
    engine: ISpoolEngine, damaged: DamagedFolder, part: DamagedPart, *, forget: bool = True
) -> None:
    """Store the remains of a damaged part in damaged/, and ``forget`` it in the spool. Raises ``OSError``."""
    keep(damaged, part)
    if forget:
        transaction = engine.begin()
        transaction.drop(part)
        transaction.commit()


def keep(damaged: DamagedFolder, part: DamagedPart) -> None:
    """Store the remains of a damaged part in damaged/. Raises ``OSError``."""
    where = damaged.keep(_octets(part.content), part.name, part.reason)
    report(SpoolRowDamaged(row=part.seq, name=part.name, reason=part.reason, path=where))


def _octets(content: IContent | None) -> Iterator[bytes]:
    """The readable part of a content."""
    try:
        yield from () if content is None else content.chunks()
    except MessageDamaged:
        return
