"""Looks for damage in the spool. Changes nothing."""

import zlib
from collections.abc import Iterator
from pathlib import Path

from mailserver.durable.database import damage
from mailserver.errors import MessageDamaged
from mailserver.interfaces import IContent
from mailserver.mail.finding import Finding
from mailserver.queue.entries import DamagedPart, Entry
from mailserver.queue.sql.rows import SpoolRows
from mailserver.queue.sqlite.listing import outdated, view

KINDS = ("queued message",)
_ASIDE = "be set aside in damaged/ at the next start"
_TRIED = "be set aside in damaged/ when it is tried"


def verify(path: Path) -> Iterator[str | Finding]:
    """A kind for each message of the database at ``path``, and the findings. Raises ``OSError``."""
    if problem := damage(path):
        yield Finding(path, problem, _ASIDE)
        return
    if outdated(path):
        yield Finding(path, "has the format of an older version", "be converted at the next start")
        return
    spool = view(path)
    seen = set()
    for entry in spool.entries():
        yield KINDS[0]
        seen.add(entry.seq)
        problem = entry.reason if isinstance(entry, DamagedPart) else _problem(entry)
        if problem:
            yield Finding(path, f"has a damaged message (row {entry.seq}): {problem}", _ASIDE)
    for seq in spool.waiting_numbers():
        if seq not in seen:
            yield KINDS[0]
        problem = "; ".join(_problems_of_waiting(spool, seq))
        if problem and spool.is_waiting(seq):  # it may have been delivered meanwhile
            yield Finding(path, f"has a damaged message (row {seq}): {problem}", _TRIED)
    for seq in spool.orphans():
        yield Finding(path, f"has recipients without a message (row {seq})", "be left alone")


def _problem(entry: Entry) -> str:
    for copy in entry.copies:
        if copy.source:
            continue
        if entry.content is None:
            return "content is missing"
        if zlib.crc32(entry.content, zlib.crc32(copy.head)) != copy.checksum:
            return "content does not match its checksum"
    return ""


def _problems_of_waiting(spool: SpoolRows, seq: int) -> Iterator[str]:
    for part in spool.examine(seq):
        yield part.reason.partition("\n")[0]
    try:
        queued = spool.load(seq)
    except MessageDamaged:
        return  # reported above
    if queued is not None and (problem := _unreadable(queued.message.content)):
        yield problem


def _unreadable(content: IContent) -> str:
    try:
        for _ in content.chunks():
            pass
    except MessageDamaged as error:
        return f"content is damaged: {error}"
    return ""
