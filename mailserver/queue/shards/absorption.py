"""Moves the messages of a shard to the spool of the first worker, when its worker does not exist any more.

The entries are added to the spool in one commit, then deleted from the shard in another, a part of them at a
time. They keep the names of their copies and sources, and the recovery of the spool completes them. An entry
that a crash leaves in both spools is moved again at the next start: the recovery restores its copies twice,
under the same names. At the end the files of the shard are removed, the marker first, so that a database
without files is never taken for a damaged one.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.database import Damaged, marker
from mailserver.durable.disk import Disk
from mailserver.events.base import report
from mailserver.events.queue import ShardAbsorbed, ShardKept, ShardNotRemoved, SpoolDamaged
from mailserver.queue.entries import DamagedPart, Entry
from mailserver.queue.interfaces import ISpoolEngine
from mailserver.queue.recovery import set_aside

MOST = 100  # entries in one commit
MUCH = 16 * 1024 * 1024  # octets in one commit; the last entry may exceed it


class Absorption:
    """Absorbs the shards that ``left_over`` returns: the paths of their databases, by the numbers of their
    workers. Each is in a folder of its own. ``make_engine`` returns the engine of a path."""

    def __init__(
        self,
        left_over: Callable[[], Mapping[int, Path]],
        make_engine: Callable[[Path], ISpoolEngine],
        damaged: DamagedFolder,
        disk: Disk,
    ) -> None:
        self._left_over = left_over
        self._make_engine = make_engine
        self._damaged = damaged
        self._disk = disk

    def __call__(self, engine: ISpoolEngine, last: int) -> int:
        """Move the entries of the shards to ``engine``, which is open; ``last`` is its highest number in use.

        Returns the new highest number. Blocks; raises ``OSError``.
        """
        for number, path in self._left_over().items():
            last = self._absorb(engine, last, number, path)
        return last

    def _absorb(self, engine: ISpoolEngine, last: int, number: int, path: Path) -> int:
        waiting = 0
        if path.exists() or marker(path).exists():
            shard = self._make_engine(path)
            first = last
            try:
                shard.open()
                for entries in self._intact(shard):
                    _move(entries, shard, engine, last)
                    last += len(entries)
                waiting = shard.waiting()
            except Damaged as error:
                if error.filename != str(path):
                    raise
                shard.close()
                reason = f"{path.parent.name}/{path.name}: {error.strerror}"
                where = self._damaged.move(path.parent, path.parent.name, reason)
                report(SpoolDamaged(reason=reason, path=where))
                return last
            finally:
                shard.close()
            report(ShardAbsorbed(worker=number, count=last - first))
        if waiting:
            report(ShardKept(path=path.parent, waiting=waiting))
        else:
            self._remove(path)
        return last

    def _intact(self, shard: ISpoolEngine) -> Iterator[list[Entry]]:
        """The entries of a shard, in parts. Sets damaged ones aside."""
        entries: list[Entry] = []
        octets = 0
        for entry in shard.entries():
            if isinstance(entry, DamagedPart):
                set_aside(shard, self._damaged, entry)
                continue
            entries.append(entry)
            octets += len(entry.content or b"")
            if len(entries) == MOST or octets > MUCH:
                yield entries
                entries, octets = [], 0
        if entries:
            yield entries

    def _remove(self, path: Path) -> None:
        """Remove the files of a shard without messages, and its folder."""
        folder = path.parent
        first = [marker(path), path]
        try:
            for each in first:
                with contextlib.suppress(FileNotFoundError):
                    self._disk.remove(each)
                    self._disk.sync_dir(folder)
            for each in sorted(folder.iterdir()):
                if each.is_dir() and not each.is_symlink():
                    for content in sorted(each.iterdir()):
                        self._disk.remove(content)
                    self._disk.remove_dir(each)
                else:
                    self._disk.remove(each)
            self._disk.remove_dir(folder)
            self._disk.sync_dir(folder.parent)
        except OSError as error:
            report(ShardNotRemoved(path=folder, error=error))


def _move(entries: list[Entry], shard: ISpoolEngine, engine: ISpoolEngine, last: int) -> None:
    """Move entries, which get the numbers after ``last``."""
    transaction = engine.begin()
    for seq, entry in enumerate(entries, last + 1):
        transaction.take(attrs.evolve(entry, seq=seq))
    transaction.commit()
    transaction = shard.begin()
    transaction.retire([entry.seq for entry in entries])
    transaction.commit()
