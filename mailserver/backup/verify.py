"""Reads a backup again, and compares it with its manifest. Changes nothing."""

import os
from collections.abc import Generator
from pathlib import Path

from mailserver.backup.copying import DATA, MAIL
from mailserver.backup.known import sha256_of
from mailserver.backup.manifest import NAME, BackupDamaged, BackupEntry, BackupTotals, Manifest
from mailserver.durable.copies import open_regular


class BackupCheck:
    """The check of one backup. ``problems`` has a line for each, ``totals`` the counts of the manifest."""

    def __init__(self, manifest: Manifest) -> None:
        """Raises :class:`~mailserver.backup.manifest.BackupDamaged` if the backup is incomplete."""
        self._manifest = manifest
        self.totals = manifest.totals()
        self.problems: list[str] = []

    def run(self) -> Generator[int, None, None]:
        """Read all files. Yields the number of files after each of them. Raises ``OSError``."""
        seen = BackupTotals()
        try:
            for entry in self._manifest.entries():
                if entry.is_folder:
                    continue
                if problem := problem_of(self._manifest.folder / entry.path, entry):
                    self.problems.append(f"{entry.path}: {problem}")
                seen.files += 1
                seen.octets += entry.size or 0
                seen.messages += is_message(entry.path)
                yield seen.files
        except BackupDamaged as error:
            self.problems.append(str(error))
            return
        for name in ("files", "octets", "messages"):
            found, noted = getattr(seen, name), getattr(self.totals, name)
            if found != noted:
                self.problems.append(f"{NAME}: lists {found} {name}, and its last line says {noted}")
        there = sum(len(files) for _, _, files in os.walk(self._manifest.folder)) - 1
        if there > seen.files:
            self.problems.append(f"has {there - seen.files} more files than its manifest lists")


def is_message(path: str) -> bool:
    """Whether the file at a path of a backup is a message in a mailbox."""
    parts = path.split("/")
    return (
        len(parts) > 5
        and parts[:2] == [DATA, MAIL]
        and parts[-2] in ("new", "cur")
        and not parts[-1].startswith(".")
    )


def problem_of(path: Path, entry: BackupEntry) -> str:
    """What is wrong with a file, "" if nothing."""
    try:
        descriptor = open_regular(path)
    except OSError as error:
        return "is missing" if isinstance(error, FileNotFoundError) else str(error.strerror)
    try:
        if (size := os.fstat(descriptor).st_size) != entry.size:
            return f"has {size} octets instead of {entry.size}"
        return "" if sha256_of(descriptor) == entry.sha256 else "does not match its checksum"
    except OSError as error:
        return str(error.strerror)
    finally:
        os.close(descriptor)
