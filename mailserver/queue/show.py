"""What is in the spool, for people: every message, or one of them with all that is known."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mailserver.mail.report import header_of
from mailserver.mail.words import counted
from mailserver.queue import entries

Rows = Callable[[str, Sequence[Any]], "Sequence[tuple[Any, ...]]"]
"""Runs a query on the spool's database; may block."""


def queue(rows: Rows) -> Iterator[str]:
    """A line for each message and one for each recipient that waits, then a summary."""
    messages = recipients = 0
    for seq, id_, received, reverse_path, octets in rows(
        "SELECT seq, id, received, reverse_path, octets FROM message ORDER BY received, seq", ()
    ):
        messages += 1
        waiting = list(_waiting(rows, seq))
        recipients += len(waiting)
        state = "" if waiting else ", delivered, not yet synced"
        yield f"{id_}  {_when(received)}  {octets} octets  from <{reverse_path}>{state}"
        yield from waiting
    yield f"{counted(messages, 'message')}, {counted(recipients, 'recipient')} waiting"


def message(rows: Rows, id_: str) -> Iterator[str]:
    """All about the message with this id, its header at the end; nothing if there is none."""
    for seq, received, reverse_path, octets, texts, content in rows(
        "SELECT seq, received, reverse_path, octets, texts, content FROM message WHERE id = ? ORDER BY seq",
        (id_,),
    ):
        yield f"id: {id_}"
        yield f"received: {_when(received)}"
        yield f"reverse-path: <{reverse_path}>"
        yield f"size: {octets} octets"
        try:
            for copy in entries.decode(texts):
                yield from (f"delivered, not yet synced: {mailbox}" for mailbox in copy.mailboxes)
        except ValueError as error:
            yield f"damaged: {error}"
        yield from _waiting(rows, seq)
        if isinstance(content, bytes):
            yield ""
            yield from header_of(content).decode("utf-8", "replace").splitlines()


def _waiting(rows: Rows, seq: int) -> Iterator[str]:
    for recipient, mailbox, attempts, due, error in rows(
        "SELECT recipient, mailbox, attempts, next, error FROM waiting WHERE seq = ? ORDER BY number", (seq,)
    ):
        name = recipient if recipient == mailbox else f"{recipient} ({mailbox})"
        yield f"    waiting: {name}: {error}; {counted(attempts, 'attempt')}, next {_when(due)}"


def _when(seconds: object) -> str:
    if not isinstance(seconds, float) or not 0 <= seconds <= entries.LATEST:
        return f"{seconds!r} (damaged)"
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
