"""The manifest of a backup: its origin, all its files with their checksums, and the counts.

It is a text of JSON objects, one per line (UTF-8, characters outside ASCII are escaped):

    manifest = origin *( folder / file / mailbox ) end
    origin   = { "manifest": 1, "time": …, "version": …, "format": …, "data": …, "configuration": …,
                 "user": …, "group": …, "uid": …, "gid": … }       ; the owner of the data directory
    folder   = { "folder": PATH, … }
    file     = { "file": PATH, "size": OCTETS, "sha256": HEX, "mtime": NANOSECONDS, … }
             ; both with "mode", if it is not 700 or 600, and "uid" and "gid", if not those of the origin
    mailbox  = { "mailbox": PATH, "messages": NUMBER }
    end      = { "end": { "files": …, "messages": …, … }, "sha256": HEX }   ; of all lines before

Without a whole end the backup is incomplete. Paths are relative to the folder of the manifest.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from mailserver.durable.copies import FileAttributes
from mailserver.durable.disk import FILE_MODE, FOLDER_MODE
from mailserver.errors import MailserverError

NAME = "manifest.jsonl"
VERSION = 1
_END = 8192  # octets, more than the last line has


class BackupDamaged(MailserverError):
    """A backup is incomplete, damaged or not a backup; the text says how."""


@attrs.frozen
class BackupOrigin:
    """``time`` is the start of the backup (UTC), ``version`` that of the program, ``format`` that of the data
    directory. ``data`` and ``configuration`` are absolute paths. The rest is the owner of the data."""

    time: str
    version: str
    format: int
    data: str
    configuration: str
    user: str
    group: str
    uid: int
    gid: int


@attrs.define
class BackupTotals:
    """The counts of a backup: ``queued`` messages wait, ``unsynced`` are in the spool and delivered."""

    files: int = 0
    octets: int = 0
    messages: int = 0
    mailboxes: int = 0
    queued: int = 0
    unsynced: int = 0
    accounts: int = 0


@attrs.frozen
class BackupEntry:
    """A file, or a folder, whose ``size`` is None."""

    path: str
    attributes: FileAttributes
    size: int | None = None
    sha256: str = ""

    @property
    def is_folder(self) -> bool:
        return self.size is None


class ManifestWriter:
    """Writes the lines of a manifest by ``write``."""

    def __init__(self, origin: BackupOrigin, write: Callable[[bytes], object]) -> None:
        self._origin = origin
        self._write = write
        self._hash = hashlib.sha256()
        self.totals = BackupTotals()
        self._line({"manifest": VERSION, **attrs.asdict(origin)})

    def _line(self, value: Mapping[str, object]) -> None:
        line = json.dumps(value).encode() + b"\n"
        self._hash.update(line)
        self._write(line)

    def folder(self, path: str, attributes: FileAttributes) -> None:
        """Add a folder."""
        self._line({"folder": path, **self._special(attributes, FOLDER_MODE)})

    def file(self, path: str, attributes: FileAttributes, size: int, sha256: str) -> None:
        """Add a file."""
        self.totals.files += 1
        self.totals.octets += size
        words = {"file": path, "size": size, "sha256": sha256, "mtime": attributes.mtime}
        self._line({**words, **self._special(attributes, FILE_MODE)})

    def _special(self, attributes: FileAttributes, usual: int) -> dict[str, object]:
        special: dict[str, object] = {}
        if attributes.mode != usual:
            special["mode"] = f"{attributes.mode:o}"
        if (attributes.uid, attributes.gid) != (self._origin.uid, self._origin.gid):
            special.update(uid=attributes.uid, gid=attributes.gid)
        return special

    def mailbox(self, path: str, messages: int) -> None:
        """Add the count of a mailbox."""
        self.totals.mailboxes += 1
        self.totals.messages += messages
        self._line({"mailbox": path, "messages": messages})

    def end(self) -> None:
        """Add the last line."""
        words = {"end": attrs.asdict(self.totals), "sha256": self._hash.hexdigest()}
        self._write(json.dumps(words).encode() + b"\n")


class Manifest:
    """The manifest of the backup in ``folder``. Raises :class:`BackupDamaged`, and ``OSError``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / NAME
        try:
            with self._path.open("rb") as file:
                words = json.loads(file.readline())
        except FileNotFoundError:
            raise BackupDamaged(f"{folder}: is not a backup: it has no {NAME}") from None
        except ValueError:
            raise BackupDamaged(f"{self._path}: is damaged") from None
        number = words.pop("manifest", None) if isinstance(words, dict) else None
        if number != VERSION:
            raise BackupDamaged(f"{self._path}: is damaged, or of a newer version of mailserver")
        try:
            self.origin = BackupOrigin(**words)
        except TypeError:
            raise BackupDamaged(f"{self._path}: is damaged") from None

    def totals(self) -> BackupTotals:
        """The counts, from the last line."""
        with self._path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _END))
            lines = file.read().splitlines(keepends=True)
        return self._end(lines[-1])[0]

    def _end(self, line: bytes) -> tuple[BackupTotals, str]:
        try:
            words = json.loads(line)
            if not line.endswith(b"\n"):
                raise ValueError("it is cut")
            return BackupTotals(**words["end"]), str(words["sha256"])
        except (ValueError, KeyError, TypeError):
            raise BackupDamaged(f"{self._path}: is incomplete") from None

    def lines(self) -> Iterator[tuple[int, bytes, Mapping[str, Any]]]:
        """The lines after the first one, each with its position; a cut line is the end."""
        with self._path.open("rb") as file:
            position = len(file.readline())
            for line in file:
                try:
                    words = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    words = None
                if not isinstance(words, dict):
                    return
                yield position, line, words
                position += len(line)

    def entries(self) -> Iterator[BackupEntry]:
        """All files and folders. Raises :class:`BackupDamaged` at the end if the lines are not those that
        were written."""
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            digest.update(file.readline())
        last = b""
        for _, line, words in self.lines():
            last = line
            if "end" not in words:
                digest.update(line)
            if (entry := self.entry(words)) is not None:
                yield entry
        if self._end(last)[1] != digest.hexdigest():
            raise BackupDamaged(f"{self._path}: does not match its checksum")

    def entry(self, words: Mapping[str, Any]) -> BackupEntry | None:
        """The file or the folder of a line. None for another line."""
        folder = "folder" in words
        path = words.get("folder" if folder else "file")
        if path is None:
            return None
        try:
            mode = int(words["mode"], 8) if "mode" in words else FOLDER_MODE if folder else FILE_MODE
            uid, gid = words.get("uid", self.origin.uid), words.get("gid", self.origin.gid)
            attributes = FileAttributes(stat.S_IMODE(mode), int(uid), int(gid), int(words.get("mtime", 0)))
            if not isinstance(path, str) or not _is_inside(path):
                raise ValueError("not a path in the backup")
            if folder:
                return BackupEntry(path, attributes)
            return BackupEntry(path, attributes, int(words["size"]), str(words["sha256"]))
        except (ValueError, KeyError, TypeError):
            raise BackupDamaged(f"{self._path}: is damaged") from None


def _is_inside(path: str) -> bool:
    return "\0" not in path and not {"", ".", ".."} & set(path.split("/"))
