"""Converts values of the spool to columns of a database, and back.

Rows are checked when they are read: SQLite allows a value of any type in any column, and names in a row
become paths.
"""

import json
import re
import zlib
from collections.abc import Sequence
from typing import Any

import attrs
from zope.interface import Interface

from mailserver.interfaces import IContent, QueuedMessage, StoredCopy
from mailserver.mail.address import Address
from mailserver.mail.handling import USUAL, DeliveryDeadline, Handling
from mailserver.mail.queued import HELD, FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import Status
from mailserver.queue.entries import Entry, InMemoryContent

NAME = re.compile(r"(?!\.)[!-.0-~]{1,200}\.([0-9]{1,18})")
"""The name under which the content of a message is stored apart from its row."""
# A file, and a mailbox: the folder of a domain and a folder in it.
_FILE = re.compile(r"(?!\.)[!-.0-~]{1,255}")
_MAILBOX = re.compile(rf"{_FILE.pattern}/{_FILE.pattern}")
_STATUS = re.compile(r"[245]\.([0-9]{1,3})\.([0-9]{1,3})")


class ISeparateContent(IContent):
    """The content of a waiting message, stored apart from its row."""

    def problem() -> str:
        """What is wrong with it, "" if nothing. Does not read it; raises ``OSError``."""


class ISeparateContents(Interface):
    """Finds contents that are stored apart from their rows."""

    def read(name: str, octets: int, checksum: int) -> ISeparateContent:
        """The content with this name, and with the expected size and checksum (CRC-32)."""


def name_of(id: str, seq: int) -> str:
    """The name for the content of a message. It has the id because numbers of rows are used again."""
    return f"{id}.{seq}"


# ---------------------------------------------------------------- copies and attempts, as JSON


def encode(copies: Sequence[StoredCopy]) -> str:
    """Copies as JSON."""
    return json.dumps(
        [
            (copy.name, copy.uid, copy.mailboxes, copy.head.decode("utf-8", "surrogateescape"),
             copy.octets, copy.checksum, copy.source)
            for copy in copies
        ]
    )  # fmt: skip


def decode(copies: str) -> tuple[StoredCopy, ...]:
    """Copies from JSON. Raises ``ValueError`` for anything that ``encode`` does not write."""
    found = []
    try:
        for name, uid, mailboxes, head, octets, checksum, source in json.loads(copies):
            if not isinstance(mailboxes, list) or [type(octets), type(checksum)] != [int, int]:
                raise TypeError("a list and two integers are wanted")
            octets_of_head = head.encode("utf-8", "surrogateescape")
            found.append(StoredCopy(name, uid, tuple(mailboxes), octets_of_head, octets, checksum, source))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not the form of copies: {error}") from error
    for copy in found:
        if not all(isinstance(each, str) for each in (copy.name, copy.uid, copy.source, *copy.mailboxes)):
            raise ValueError("not the form of copies")
        if not copy.mailboxes or not all(map(_MAILBOX.fullmatch, copy.mailboxes)):
            raise ValueError(f"{copy.mailboxes} are not names of mailboxes")
        if not (_FILE.fullmatch(copy.name) and _FILE.fullmatch(copy.uid)):
            raise ValueError(f"{(copy.name, copy.uid)} are not names of files")
        if copy.source not in ("", f"{copy.mailboxes[0]}/tmp/{copy.uid}"):
            raise ValueError(f"{copy.source!r} is not a file in the mailbox")
    return tuple(found)


def encode_history(history: Sequence[FailedAttempt]) -> str:
    """Attempts as JSON."""
    if not history:
        return "[]"
    return json.dumps(
        [
            (each.when, f"4.{each.status.subject}.{each.status.detail}", each.text, each.host, each.reply)
            for each in history
        ]
    )


def read_history(text: str) -> tuple[FailedAttempt, ...]:
    """Attempts from JSON. Raises ``ValueError`` for anything that ``encode_history`` does not write."""
    found = []
    try:
        for when, status, *texts in json.loads(text):
            code = _STATUS.fullmatch(status)
            if code is None or len(texts) not in (1, 3) or not all(isinstance(each, str) for each in texts):
                raise ValueError(f"{status!r:.60} is not a status")
            found.append(FailedAttempt(float(when), Status(int(code[1]), int(code[2])), *texts))
    except (TypeError, ValueError) as error:
        raise ValueError(f"history is invalid: {error}") from error
    return tuple(found)


def encode_handling(handling: Handling) -> str:
    """A handling as JSON, "" for the usual one."""
    if handling == USUAL:
        return ""
    deadline = handling.deadline and attrs.astuple(handling.deadline)
    flags = handling.require_tls, handling.utf8, handling.binary
    return json.dumps((handling.priority, handling.release, deadline, *flags))


def read_handling(text: str) -> Handling:
    """A handling from JSON. Raises ``ValueError`` for anything that ``encode_handling`` does not write."""
    if not text:
        return USUAL
    try:
        priority, release, deadline, require_tls, *flags = json.loads(text)
        utf8, binary = (*map(bool, flags), *[False] * (2 - len(flags)))  # an older server has fewer flags
        if deadline is not None:
            when, mode, trace = deadline
            if mode not in ("N", "R"):
                raise ValueError(f"{mode!r:.60} is not a mode")
            deadline = DeliveryDeadline(float(when), mode, bool(trace))
        return Handling(int(priority), float(release), deadline, bool(require_tls), utf8, binary)
    except (TypeError, ValueError) as error:
        raise ValueError(f"handling is invalid: {error}") from error


# ---------------------------------------------------------------- rows


def _check(what: str, value: object, kind: type) -> None:
    good = type(value) is kind and not (isinstance(value, int) and value < 0)
    if not good or (isinstance(value, float) and not 0 <= value <= HELD):
        raise ValueError(f"{what} is {value!r:.60}")


def read_entry(row: Sequence[Any]) -> Entry:
    """The entry in a row that :data:`ENTRY` gives. Raises ``ValueError`` for a damaged one."""
    seq, id_, received, reverse_path, octets, copies, content = row
    _check("id", id_, str)
    _check("time", received, float)
    _check("reverse-path", reverse_path, str)
    _check("size", octets, int)
    if content is not None and not isinstance(content, bytes):
        raise ValueError("content is not octets")
    try:
        stored = decode(copies)
    except ValueError as error:
        raise ValueError(f"copies are invalid: {error}") from error
    return Entry(seq, id_, received, reverse_path, octets, stored, content)


def read_queued(row: Sequence[Any], contents: ISeparateContents) -> QueuedMessage:
    """The message in a row that :data:`QUEUED` gives. Raises ``ValueError`` for a damaged one."""
    seq, id_, received, reverse_path, octets, content, checksum, ret, envid, data, handling = row
    _check("id", id_, str)
    _check("time", received, float)
    for what, text in (
        ("reverse-path", reverse_path), ("RET", ret), ("ENVID", envid), ("handling", handling),
    ):  # fmt: skip
        _check(what, text, str)
    asked = read_handling(handling)
    _check("size", octets, int)
    _check("checksum", checksum, int)
    if data is not None:
        if not isinstance(data, bytes) or (len(data), zlib.crc32(data)) != (octets, checksum):
            raise ValueError("content is not what was accepted")
        return QueuedMessage(
            seq, id_, received, reverse_path, octets, InMemoryContent(data), ret, envid, asked
        )
    if content == "":
        raise ValueError("content is missing")
    if not isinstance(content, str) or not NAME.fullmatch(content):
        raise ValueError(f"content is {content!r:.60}")
    file = contents.read(content, octets, checksum)
    return QueuedMessage(seq, id_, received, reverse_path, octets, file, ret, envid, asked)


def read_recipient(row: Sequence[Any]) -> QueuedRecipient:
    """The recipient in a row that :data:`RECIPIENTS` gives. Raises ``ValueError`` for a damaged one."""
    (
        number, destination, address, recipient, reverse_path, head, attempts, next_, history, notify, orcpt,
        warned,
    ) = row  # fmt: skip
    _check("number", number, int)
    _check("head", head, bytes)
    _check("number of attempts", attempts, int)
    _check("mark of a notification", warned, int)
    _check("time of the next attempt", next_, float)
    for what, text in (
        ("destination", destination), ("address", address), ("recipient", recipient),
        ("reverse-path", reverse_path), ("history", history), ("NOTIFY", notify), ("ORCPT", orcpt),
    ):  # fmt: skip
        _check(what, text, str)
    Address.parse(address)
    if reverse_path:
        Address.parse(reverse_path)
    tried = read_history(history)
    if attempts and not tried:
        raise ValueError("history is empty")
    return QueuedRecipient(
        number, destination, address, recipient, reverse_path, head, attempts, next_, tried, notify, orcpt,
        bool(warned),
    )  # fmt: skip
