"""A backup in a folder.

Messages are links if the folder is on the file system of the data, which takes no space and little time. On
another file system they are copies, or links to the copies of an earlier backup.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mailserver.backup.known import KnownFiles, sha256_of
from mailserver.backup.manifest import NAME, BackupEntry, BackupOrigin
from mailserver.backup.target import BackupTarget, SourceVanished
from mailserver.durable.appended import AppendedFile
from mailserver.durable.copies import (
    FileAttributes,
    copy_open,
    link,
    make_folders,
    remove_tree,
    set_attributes,
)
from mailserver.durable.disk import Disk
from mailserver.durable.group import GroupSync

REMEMBERED = 10_000  # files with several names, which are copied once


class FolderTarget(BackupTarget):
    """Writes the backup to the new folder ``partial``. ``known`` has the files of earlier ones."""

    def __init__(
        self, partial: Path, origin: BackupOrigin, disk: Disk, known: Sequence[KnownFiles] = ()
    ) -> None:
        self._partial = partial
        self._disk = disk
        self._known = known
        self._group = GroupSync(disk, partial)
        self._group.open()
        self._at_once = self._group.is_open
        self._lines = AppendedFile(partial / NAME, disk.calls)
        super().__init__(origin, self._lines.write)
        self.scratch = partial / "scratch"
        make_folders(disk, self.scratch)
        # The same message in several mailboxes is one file with several names.
        self._copied: OrderedDict[tuple[int, int], tuple[str, str]] = OrderedDict()

    def folder(self, path: str, attributes: FileAttributes) -> None:
        """See :class:`BackupTarget`."""
        target = self._partial / path
        make_folders(self._disk, target)
        set_attributes(target, attributes)
        self.manifest.folder(path, attributes)

    def _take(self, path: str, source: str, descriptor: int, fixed: bool) -> tuple[int, str]:
        """See :class:`BackupTarget`."""
        status = os.fstat(descriptor)
        target = self._partial / path
        known = self._find(path, status)
        if fixed and self._link(source, target, status):
            if known is not None and _is_same(known[0].path(known[1]), status):
                return status.st_size, known[1].sha256
            self._count(status.st_size)
            if not self._at_once:
                self._disk.sync_file(target)
            return status.st_size, sha256_of(descriptor)
        if known is not None and self._link_known(*known, target):
            return status.st_size, known[1].sha256
        return self._copy(target, descriptor, status)

    def _count(self, octets: int) -> None:
        self.fresh += 1
        self.fresh_octets += octets

    def _find(self, path: str, status: os.stat_result) -> tuple[KnownFiles, BackupEntry] | None:
        for files in self._known:
            entry = files.find(path)
            if entry is not None and (entry.size, entry.attributes.mtime) == (
                status.st_size,
                status.st_mtime_ns,
            ):
                return files, entry
        return None

    def _link(self, source: str, target: Path, status: os.stat_result) -> bool:
        """Give the source its name in the backup. False if only a copy is possible."""
        try:
            linked = link(self._disk, source, target)
        except FileNotFoundError:
            raise SourceVanished from None
        if linked and not _is_same(target, status):
            self._disk.remove(target)
            raise SourceVanished
        return linked

    def _link_known(self, files: KnownFiles, entry: BackupEntry, target: Path) -> bool:
        return files.is_whole(entry) and link(self._disk, files.path(entry), target)

    def _copy(self, target: Path, descriptor: int, status: os.stat_result) -> tuple[int, str]:
        place = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and place in self._copied:
            first, sha256 = self._copied[place]
            if link(self._disk, first, target):
                return status.st_size, sha256
        digest = hashlib.sha256()
        copy_open(self._disk, descriptor, target, digest.update, sync=not self._at_once)
        size = target.stat().st_size  # another program may have changed the file meanwhile
        self._count(size)
        if status.st_nlink > 1:
            self._copied[place] = (str(target), digest.hexdigest())
            if len(self._copied) > REMEMBERED:
                self._copied.popitem(last=False)
        return size, digest.hexdigest()

    def written(self) -> KnownFiles:
        """See :class:`BackupTarget`."""
        self._lines.flush()
        return KnownFiles(self._partial, complete=True)

    def complete(self) -> None:
        """See :class:`BackupTarget`."""
        remove_tree(self._disk, self.scratch)
        if not self._group.sync_everything_in([self._partial]):
            for folder, _, _ in os.walk(self._partial, topdown=False):
                self._disk.sync_dir(folder)
        self.manifest.end()
        self._lines.sync()
        self._disk.sync_dir(self._partial)

    def close(self) -> None:
        """See :class:`BackupTarget`."""
        self._lines.close()
        self._group.close()


def _is_same(path: Path, status: os.stat_result) -> bool:
    """Whether the file at ``path`` is the one with this status."""
    with suppress(OSError):
        found = os.lstat(path)
        return (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino)
    return False
