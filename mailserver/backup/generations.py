"""The folder with all backups of a server, each in a folder of its own, which is named by the time (UTC).

    .lock                            held during a backup
    2026-11-30T210000Z/              a complete backup
    2026-11-30T220000Z.partial/      one that was interrupted, or is being written
    2026-11-29T210000Z.removed/      one that is being removed

A backup is complete with its name: the last step renames the partial folder.
"""

import re
import time
from pathlib import Path

from mailserver.backup.known import KnownFiles
from mailserver.backup.manifest import NAME, BackupDamaged
from mailserver.durable.copies import remove_tree
from mailserver.durable.disk import Disk
from mailserver.durable.lock import DataLock

PARTIAL = ".partial"
REMOVED = ".removed"
_GENERATION = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z")


class Generations:
    """The backups in ``folder``. All methods block, and raise ``OSError``."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.folder = folder
        self._disk = disk

    def lock(self) -> DataLock:
        """The lock against two backups to the same folder, which is created if it is missing."""
        self._disk.make_dirs(self.folder)
        return DataLock(self.folder / ".lock")

    def complete(self) -> list[Path]:
        """The complete backups, the oldest first."""
        return self._named("")

    def _named(self, ending: str) -> list[Path]:
        if not self.folder.is_dir():
            return []
        names = [path.name for path in self.folder.iterdir() if path.name.endswith(ending)]
        return [
            self.folder / name
            for name in sorted(names)
            if _GENERATION.fullmatch(name.removesuffix(ending) if ending else name)
        ]

    def find(self, generation: str | None) -> Path:
        """A complete backup, by default the newest. The folder may also be a single backup, which was
        unpacked. Raises :class:`~mailserver.backup.manifest.BackupDamaged` if there is none."""
        if generation is None and (self.folder / NAME).is_file():
            return self.folder
        found = [path for path in self.complete() if generation in (None, path.name)]
        if not found:
            what = "has no complete backup" if generation is None else f'has no backup "{generation}"'
            raise BackupDamaged(f"{self.folder}: {what}")
        return found[-1]

    def begin(self, now: float) -> Path:
        """Create the partial folder of a new backup, which begins ``now`` (seconds since the epoch)."""
        taken = {path.name[:18] for path in self.folder.iterdir()}
        while (name := _name(now)) in taken:
            now += 1
        partial = self.folder / f"{name}{PARTIAL}"
        self._disk.make_dirs(partial)
        return partial

    def finish(self, partial: Path) -> Path:
        """Give a synced folder its name."""
        path = partial.with_name(partial.name.removesuffix(PARTIAL))
        self._disk.rename(partial, path)
        self._disk.sync_dir(self.folder)
        return path

    def known(self) -> list[KnownFiles]:
        """The files of the newest backup, and those of all interrupted ones."""
        known = []
        for path, complete in [(path, True) for path in self.complete()[-1:]] + [
            (path, False) for path in self._named(PARTIAL)
        ]:
            try:
                known.append(KnownFiles(path, complete=complete))
            except BackupDamaged:
                continue  # a new backup copies everything
        return known

    def clean(self, keep: int | None) -> list[str]:
        """Remove the rests of interrupted backups and removals, and all backups but the newest ``keep``.

        Returns the names of the removed backups.
        """
        gone = self.complete()[:-keep] if keep is not None else []
        for path in gone:
            # A backup that is removed in part must not look like a complete one.
            self._disk.rename(path, path.with_name(f"{path.name}{REMOVED}"))
        if gone:
            self._disk.sync_dir(self.folder)
        for path in [*self._named(PARTIAL), *self._named(REMOVED)]:
            remove_tree(self._disk, path)
        return [path.name for path in gone]


def _name(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime(now))
