"""The files of earlier backups in the same folder, which a new backup need not copy again.

Those of an interrupted backup count, too, but they are read again: a power failure may have damaged them.
"""

import hashlib
import json
import os
from pathlib import Path

from mailserver.backup.manifest import NAME, BackupEntry, Manifest
from mailserver.durable.copies import octets_of, open_regular
from mailserver.store.names import base_name


class KnownFiles:
    """The files of one backup. In memory are the positions of the groups in its manifest, and one group."""

    def __init__(self, folder: Path, *, complete: bool) -> None:
        """Raises :class:`~mailserver.backup.manifest.BackupDamaged`, and ``OSError``."""
        self._manifest = Manifest(folder)
        self._complete = complete
        self._groups: dict[str, list[tuple[int, int]]] = {}
        last = ""
        for position, line, words in self._manifest.lines():
            group = _group(str(words.get("file", "")))
            places = self._groups.setdefault(group, [])
            if group == last and places:
                places[-1] = (places[-1][0], position + len(line) - places[-1][0])
            else:
                places.append((position, len(line)))
            last = group
        self._current: str | None = None
        self._files: dict[str, BackupEntry] = {}

    def find(self, path: str) -> BackupEntry | None:
        """The file with this path. A message may have moved in its Maildir, and have other flags."""
        group = _group(path)
        if group != self._current:
            self._files = self._read(group)
            self._current = group
        return self._files.get(_key(path))

    def _read(self, group: str) -> dict[str, BackupEntry]:
        found = {}
        with (self._manifest.folder / NAME).open("rb") as file:
            for position, octets in self._groups.get(group, ()):
                file.seek(position)
                for line in file.read(octets).splitlines():
                    entry = self._manifest.entry(json.loads(line))
                    if entry is not None:
                        found[_key(entry.path)] = entry
        return found

    def path(self, entry: BackupEntry) -> Path:
        """The path of a file on the disk."""
        return self._manifest.folder / entry.path

    def is_whole(self, entry: BackupEntry) -> bool:
        """Whether the file has its octets. A complete backup is trusted, except for the sizes."""
        try:
            descriptor = open_regular(self.path(entry))
        except OSError:
            return False
        try:
            if os.fstat(descriptor).st_size != entry.size:
                return False
            return self._complete or sha256_of(descriptor) == entry.sha256
        except OSError:
            return False
        finally:
            os.close(descriptor)


def _group(path: str) -> str:
    """The mailbox of a file, or its folder."""
    parts = path.split("/")
    return "/".join(parts[:4]) if parts[:2] == ["data", "mail"] and len(parts) > 4 else "/".join(parts[:-1])


def _key(path: str) -> str:
    """The same for a message at all its places in a Maildir."""
    folder, _, name = path.rpartition("/")
    maildir, _, place = folder.rpartition("/")
    return f"{maildir}/{base_name(name)}" if place in ("new", "cur") else path


def sha256_of(descriptor: int) -> str:
    """The checksum of an open file, from its position to its end. Raises ``OSError``."""
    digest = hashlib.sha256()
    for piece in octets_of(descriptor):
        digest.update(piece)
    return digest.hexdigest()
