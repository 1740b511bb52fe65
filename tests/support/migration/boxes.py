"""Maildirs as other programs write them, and a transfer between two of them as one user."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mailserver.durable.calls import SystemCalls
from mailserver.durable.disk import Disk
from mailserver.migration.source import key_of
from mailserver.migration.transfer import Transfer, Transferred
from mailserver.store.intake import MaildirIntake


def write_maildir(path: Path, files: dict[str, bytes], when: float = 1_600_000_000) -> Path:
    """A Maildir with these files, named like "cur/name:2,S", all with the same time."""
    for folder in ("new", "cur", "tmp"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
        os.utime(path / name, (when, when))
    return path


def transferred(source: Any, target: Path, calls: SystemCalls | None = None) -> Transferred:
    """The outcome of a transfer into the Maildir ``target``."""
    intake = MaildirIntake(target.parent, target, Disk(calls), key_of=key_of)
    return Transfer(source, intake, nullcontext, nullcontext).run()


def contents(path: Path) -> dict[str, bytes]:
    """All files of a Maildir, by folder and name."""
    return {
        f"{folder}/{file.name}": file.read_bytes()
        for folder in ("new", "cur", "tmp")
        for file in sorted((path / folder).glob("*"))
    }
