"""Looks for what is wrong in the spool. Changes nothing; the next start does what a finding says."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mailserver.durable.database import damage
from mailserver.mail.finding import Finding
from mailserver.queue import entries
from mailserver.queue.show import Rows

KINDS = ("queued message",)
_ASIDE = "be set aside in damaged/ at the next start"


def verify(path: Path, rows: Rows) -> Iterator[str | Finding]:
    """A kind for each message of the database at ``path``, and what is wrong. Raises ``OSError``."""
    if problem := damage(path):
        yield Finding(path, problem, _ASIDE)
        return
    for (seq,) in rows("SELECT seq FROM message", ()):
        yield KINDS[0]
        for row in rows(entries.ROW, (seq,)):
            if problem := _problem(row):
                yield Finding(path, f"has message {row[1]}, whose {problem}", _ASIDE)
            for recipient in rows(entries.WAITING, (seq,)):
                if problem := _problem_of_recipient(recipient):
                    yield Finding(path, f"has message {row[1]} for {recipient[1]}, whose {problem}", _ASIDE)
    for (seq,) in rows("SELECT DISTINCT seq FROM waiting WHERE seq NOT IN (SELECT seq FROM message)", ()):
        yield Finding(path, f"has recipients of row {seq}, which is not there", _ASIDE)


def _problem(row: Sequence[Any]) -> str:
    try:
        entry = entries.read(row)
    except ValueError as error:
        return str(error)
    for copy in entry.copies:
        if entry.content is None:
            if not copy.source:
                return "content is missing"
        elif not copy.source and zlib.crc32(entry.content, zlib.crc32(copy.head)) != copy.checksum:
            return "content does not have its checksum"
    return ""


def _problem_of_recipient(row: Sequence[Any]) -> str:
    try:
        entries.read_waiting(row)
    except ValueError as error:
        return str(error)
    return ""
