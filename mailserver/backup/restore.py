"""Makes a data directory of a backup.

The new folder is written beside the data directory, checked and synced, and gets its name at the end. So the
restoration is complete or not there at all; one that was interrupted goes on with the files that are whole.
What was there before is set aside under another name, never removed:

    mailserver.restoring-2026-11-30T210000Z     the new folder, DATA is its name in the end
    mailserver.before-2026-12-01T080000Z        the old one

A crash between the two last renames leaves both, and the next attempt completes it.
"""

import grp
import hashlib
import os
import pwd
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import attrs

from mailserver.backup.copying import CONFIGURATION, DATA
from mailserver.backup.manifest import BackupDamaged, BackupEntry, BackupOrigin, Manifest
from mailserver.backup.verify import problem_of
from mailserver.durable.copies import FileAttributes, copy_open, make_folders, open_regular, set_attributes
from mailserver.durable.disk import Disk
from mailserver.durable.group import GroupSync
from mailserver.durable.lock import DataLock
from mailserver.errors import MailserverError


class RestoreRefused(MailserverError):
    """A backup cannot be restored there; the text says why."""


class Restoration:
    """Restores the backup of ``manifest`` to the data directory ``target``.

    ``format`` is the newest format of data that this version reads. With ``replace``, what is there is
    renamed to ``aside``.
    """

    def __init__(
        self, manifest: Manifest, target: Path, disk: Disk, *, format: int, replace: bool = False
    ) -> None:
        self._manifest = manifest
        self._target = target
        self._disk = disk
        self._format = format
        self._replace = replace
        self._new = target.with_name(f"{target.name}.restoring-{manifest.folder.name}")
        self._uid, self._gid = _owner(manifest.origin)
        self._group = GroupSync(disk, self._new)
        stamp = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
        self.aside = target.with_name(f"{target.name}.before-{stamp}")
        self.totals = manifest.totals()

    def check(self) -> None:
        """Raise :class:`RestoreRefused` if the restoration is impossible, and ``OSError``."""
        if self._manifest.origin.format > self._format:
            raise RestoreRefused(
                f"{self._manifest.folder} has data of format {self._manifest.origin.format}, of a newer "
                f"version of mailserver; this version reads formats up to {self._format}"
            )
        if not self._target.parent.is_dir():
            raise RestoreRefused(f"{self._target.parent}: there is no such folder")
        if self._target.is_mount():
            raise RestoreRefused(
                f"{self._target} is the root of a file system and cannot get another name; restore to a "
                "folder below it with --to"
            )
        if self.is_occupied and not self._replace:
            raise RestoreRefused(
                f"{self._target} is not empty; --replace sets what is there aside, under another name"
            )

    @property
    def is_occupied(self) -> bool:
        """Whether there is something where the data directory will be."""
        return os.path.lexists(self._target) and not (
            self._target.is_dir() and not self._target.is_symlink() and not any(self._target.iterdir())
        )

    def run(self) -> Generator[int, None, None]:
        """Restore. Yields the number of files after each of them.

        Raises what :meth:`check` raises, :class:`~mailserver.errors.DataInUse` if a server runs there, and
        :class:`~mailserver.backup.manifest.BackupDamaged`.
        """
        self.check()
        with ExitStack() as stack:
            if (self._target / "lock").exists():
                stack.enter_context(DataLock(self._target / "lock"))
            self._disk.make_dirs(self._new)
            # A server that is started at the end waits for this lock.
            stack.enter_context(DataLock(self._new / "lock"))
            self._group.open()
            stack.callback(self._group.close)
            yield from self._files()
            self._sync()
            self._rename()

    def _files(self) -> Iterator[int]:
        count = 0
        for entry in self._manifest.entries():
            if entry.path.partition("/")[0] == DATA:
                path = self._new / entry.path[len(DATA) + 1 :]
                if entry.is_folder:
                    make_folders(self._disk, path)
                else:
                    self._file(entry, path)
                    count += 1
                    yield count
                set_attributes(path, self._attributes(entry))
        owner = attrs.evolve(FileAttributes.of((self._new / "lock").stat()), uid=self._uid, gid=self._gid)
        set_attributes(self._new / "lock", owner)

    def _attributes(self, entry: BackupEntry) -> FileAttributes:
        """The attributes for a file. The owner of the data may have other numbers on this machine."""
        origin, attributes = self._manifest.origin, entry.attributes
        if (attributes.uid, attributes.gid) == (origin.uid, origin.gid):
            return attrs.evolve(attributes, uid=self._uid, gid=self._gid)
        return attributes

    def _file(self, entry: BackupEntry, path: Path) -> None:
        """Copy a file, unless an interrupted restoration has done it."""
        if os.path.lexists(path):
            if not problem_of(path, entry):
                return
            self._disk.remove(path)
        make_folders(self._disk, path.parent)
        self._copy(entry, path)

    def _copy(self, entry: BackupEntry, path: Path) -> None:
        source, digest = self._manifest.folder / entry.path, hashlib.sha256()
        try:
            descriptor = open_regular(source)
        except FileNotFoundError:
            raise BackupDamaged(f"{source}: is missing") from None
        try:
            copy_open(self._disk, descriptor, path, digest.update, sync=not self._group.is_open)
        finally:
            os.close(descriptor)
        if digest.hexdigest() != entry.sha256:
            self._disk.remove(path)
            raise BackupDamaged(f"{source}: does not match its checksum")

    def _sync(self) -> None:
        if not self._group.sync_everything_in([self._new]):
            for folder, _, _ in os.walk(self._new, topdown=False):
                self._disk.sync_dir(folder)

    def _rename(self) -> None:
        if self.is_occupied:
            self._disk.rename(self._target, self.aside)
        self._disk.rename(self._new, self._target)
        self._disk.sync_dir(self._target.parent)

    def configuration(self) -> Iterator[str]:
        """Restore the files of the configuration that are missing on this machine. Yields a line for each,
        and for each that is there with another content, which stays. Raises what :meth:`run` raises."""
        for entry in self._manifest.entries():
            folder, _, inner = entry.path.partition("/")
            if folder != CONFIGURATION or entry.is_folder:
                continue
            path = Path("/", inner)
            if not os.path.lexists(path):
                self._disk.make_dirs(path.parent)
                temporary = path.with_name(f".{path.name}.restoring")
                with suppress(FileNotFoundError):
                    self._disk.remove(temporary)
                self._copy(entry, temporary)
                set_attributes(temporary, self._attributes(entry))
                self._disk.sync_file(temporary)
                self._disk.rename(temporary, path)
                self._disk.sync_dir(path.parent)
                yield f"{path}: restored"
            elif problem_of(path, entry):
                other = self._manifest.folder / entry.path
                yield f"{path}: left alone; the one in the backup is different: {other}"


def _owner(origin: BackupOrigin) -> tuple[int, int]:
    """The user and the group of the data on this machine: those with the same names, or the same numbers."""
    uid, gid = origin.uid, origin.gid
    with suppress(KeyError):
        uid = pwd.getpwnam(origin.user).pw_uid
    with suppress(KeyError):
        gid = grp.getgrnam(origin.group).gr_gid
    return uid, gid
