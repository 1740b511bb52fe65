"""A backup as a stream in the format of tar (POSIX.1-2001, pax). The manifest is its last file.

An unpacked stream is a backup like one in a folder.
"""

import hashlib
import io
import os
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from mailserver.backup.known import KnownFiles
from mailserver.backup.manifest import NAME, BackupOrigin
from mailserver.backup.target import BackupTarget
from mailserver.durable.appended import AppendedFile
from mailserver.durable.calls import SystemCalls
from mailserver.durable.copies import FileAttributes
from mailserver.durable.disk import FILE_MODE


class _Digest(io.RawIOBase):
    """Reads an open file, and computes its checksum."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = os.read(self._descriptor, size)
        self.hash.update(piece)
        return piece


class TarTarget(BackupTarget):
    """Writes the backup to ``output``, as it comes. Nothing is synced."""

    def __init__(self, output: IO[bytes], origin: BackupOrigin) -> None:
        self._tar = tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._scratch = TemporaryDirectory(prefix="mailserver-")
        self.scratch = Path(self._scratch.name)
        self._lines = AppendedFile(self.scratch / NAME, SystemCalls())
        self._origin = origin
        super().__init__(origin, self._lines.write)

    def folder(self, path: str, attributes: FileAttributes) -> None:
        """See :class:`BackupTarget`."""
        self._add(path, tarfile.DIRTYPE, attributes)
        self.manifest.folder(path, attributes)

    def _take(self, path: str, source: str, descriptor: int, fixed: bool) -> tuple[int, str]:
        """See :class:`BackupTarget`."""
        status = os.fstat(descriptor)
        content = _Digest(descriptor)
        try:
            self._add(path, tarfile.REGTYPE, FileAttributes.of(status), status.st_size, content)
        except (EOFError, OSError) as error:
            if os.fstat(descriptor).st_size < status.st_size:
                # The stream has announced more octets: nothing can follow.
                raise OSError(0, f"another program has cut the file {source}") from error
            raise
        self.fresh += 1
        self.fresh_octets += status.st_size
        return status.st_size, content.hash.hexdigest()

    def _add(
        self,
        path: str,
        kind: bytes,
        attributes: FileAttributes,
        size: int = 0,
        content: _Digest | None = None,
    ) -> None:
        info = tarfile.TarInfo(path)
        info.type, info.size, info.mode = kind, size, attributes.mode
        info.uid, info.gid, info.mtime = attributes.uid, attributes.gid, attributes.mtime // 10**9
        if (info.uid, info.gid) == (self._origin.uid, self._origin.gid):
            info.uname, info.gname = self._origin.user, self._origin.group
        if attributes.mtime % 10**9:
            info.pax_headers = {"mtime": f"{attributes.mtime // 10**9}.{attributes.mtime % 10**9:09}"}
        self._tar.addfile(info, content)
        self._tar.members = []  # type: ignore[attr-defined]  # it would grow with each file

    def written(self) -> KnownFiles:
        """See :class:`BackupTarget`."""
        self._lines.flush()
        return KnownFiles(self.scratch, complete=True)

    def complete(self) -> None:
        """See :class:`BackupTarget`."""
        self.manifest.end()
        self._lines.flush()
        with (self.scratch / NAME).open("rb") as lines:
            status = os.fstat(lines.fileno())
            owner = FileAttributes(FILE_MODE, self._origin.uid, self._origin.gid, status.st_mtime_ns)
            self._add(NAME, tarfile.REGTYPE, owner, status.st_size, _Digest(lines.fileno()))
        self._tar.close()

    def close(self) -> None:
        """See :class:`BackupTarget`."""
        self._lines.close()
        self._scratch.cleanup()
