"""Looks for what is wrong in the spool. Changes nothing; the next start does what a finding says."""

import zlib
from collections.abc import Iterator
from pathlib import Path

from mailserver.mail.finding import Finding
from mailserver.queue import entries
from mailserver.queue.show import Rows

KINDS = ("queued message",)
_ASIDE = "be set aside in damaged/ at the next start"


def verify(path: Path, rows: Rows) -> Iterator[str | Finding]:
    """A kind for each message of the database at ``path``, and what is wrong. Raises ``OSError``."""
    for (problem,) in rows("PRAGMA integrity_check", ()):
        if problem != "ok":
            yield Finding(path, f"is damaged: {problem}", _ASIDE)
    for (seq,) in rows("SELECT seq FROM message", ()):
        yield KINDS[0]
        for id_, texts, content, checksum in rows(
            "SELECT id, texts, content, checksum FROM message WHERE seq = ?", (seq,)
        ):
            if problem := _problem(texts, content, checksum):
                yield Finding(path, f"has message {id_}, whose {problem}", _ASIDE)
    for (seq,) in rows("SELECT DISTINCT seq FROM waiting WHERE seq NOT IN (SELECT seq FROM message)", ()):
        yield Finding(path, f"has recipients of row {seq}, which is not there", _ASIDE)


def _problem(texts: str, content: bytes | None, checksum: int | None) -> str:
    try:
        stored = entries.decode(texts)
    except ValueError as error:
        return f"texts make no sense: {error}"
    if content is not None and not isinstance(content, bytes):
        return "content is not octets"
    if checksum is not None and (content is None or zlib.crc32(content) != checksum):
        return "content does not have its checksum"
    for text in stored:
        if content is None:
            if not text.source:
                return "content is missing"
        elif not text.source and zlib.crc32(content, zlib.crc32(text.head)) != text.checksum:
            return "content does not have its checksum"
    return ""
