"""What was sent, what was answered, what was seen in the mailboxes, and whether that fits together.

The ledger of a crash test outlives every start of the server. It knows nothing of how the server keeps
mail, nor of how it was made to crash: clients note here what they did and what they were answered, and
``check`` compares a mailbox as POP3 shows it after a restart with what must be, and what may be, in it.
"""

import hashlib
import itertools
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.support.corpus.messages import message

TRACE = re.compile(
    rb"Return-Path: [^\r\n]*\r\n(Delivered-To: [^\r\n]*\r\n)?Received: [^\r\n]*\r\n(\t[^\r\n]*\r\n)*"
)
NAME = re.compile(rb"Message-ID: <([^\r\n@]*)@")


def content(token: str, size: int) -> bytes:
    """A message of about ``size`` octets, every line of which names the message and its own place."""
    lines = max(1, size // 72)
    text = "".join(f".{token} {number:>{68 - len(token)}}\r\n" for number in range(lines))
    return message(token, text.encode())


@dataclass
class Sent:
    """A message, and what became of the transactions that carried it.

    ``to`` are the forward-paths, ``boxes`` the local parts of the mailboxes behind them. ``sender`` is the
    reverse-path if it matters, ``wants`` the action that reports of other servers' recipients must have, and
    ``ids`` are from the answers 250. ``begun`` counts
    the transactions of which at least one octet of the message was sent, ``answered`` those answered 250,
    ``refused`` those answered otherwise; the rest are open: they may have been carried out, or not.
    """

    token: str
    size: int
    to: tuple[str, ...]
    boxes: tuple[str, ...]
    sender: str = ""
    wants: str = ""
    ids: list[str] = field(default_factory=list)
    begun: int = 0
    answered: int = 0
    refused: int = 0

    @property
    def octets(self) -> bytes:
        return content(self.token, self.size)

    @property
    def most(self) -> int:
        """The largest number of copies that a mailbox may have."""
        return self.begun - self.refused


@dataclass
class Box:
    """A mailbox as far as it is known. Messages are named by unique-id."""

    sent: dict[str, Sent] = field(default_factory=dict)
    seen: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # token and digest
    copies: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    leaving: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)


class Ledger:
    """The ledger. Its methods may be called from any thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._boxes: dict[str, Box] = defaultdict(Box)
        self.touched: set[str] = set()
        """The mailboxes in which something may have changed since they were last checked."""
        self.messages: list[Sent] = []
        """What has been sent since ``messages`` was last cleared, in this order."""

    def new(
        self, to: Iterable[str], boxes: Iterable[str], size: int, sender: str = "", wants: str = ""
    ) -> Sent:
        """A message not yet sent, different from all others. "*" in a forward-path is what names it."""
        with self._lock:
            token = f"{self._name}.{next(self._numbers)}"
            sent = Sent(
                token, size, tuple(each.replace("*", token) for each in to), tuple(boxes), sender, wants
            )
            self.messages.append(sent)
            for name in sent.boxes:
                self._boxes[name].sent[sent.token] = sent
            return sent

    def begins(self, sent: Sent) -> None:
        """The client is about to send the message's first octet."""
        with self._lock:
            sent.begun += 1
            self.touched.update(sent.boxes)

    def boxes(self) -> list[str]:
        """The mailboxes in which something is or may be."""
        return [name for name, box in self._boxes.items() if box.sent]

    def unread(self, name: str, uids: Iterable[str]) -> list[str]:
        """Those of the unique-ids whose messages nobody has read yet."""
        return [uid for uid in uids if uid not in self._boxes[name].seen]

    # POP3

    def saw(self, name: str, uid: str, stored: bytes) -> list[str]:
        """A message was read: what is wrong with it, if anything."""
        with self._lock:
            box = self._boxes[name]
            digest = hashlib.sha256(stored).digest()
            if uid in box.seen:
                token, before = box.seen[uid]
                return [] if digest == before else [f"{name}: {uid} ({token}) has changed"]
            trace, named = TRACE.match(stored), NAME.search(stored)
            if trace is None or named is None:
                return [f"{name}: {uid} is torn: {len(stored)} octets, {stored[:500]!r}"]
            octets, token = stored[trace.end() :], named[1].decode(errors="replace")
            box.seen[uid] = (token, digest)
            box.copies[token] += 1
            sent = box.sent.get(token)
            if sent is None:
                return [f"{name}: {uid} is {token}, which never was for this mailbox or was removed from it"]
            if octets != sent.octets:
                sizes = f"{len(octets)} octets here, {len(sent.octets)} were sent"
                return [f"{name}: {uid} is torn: {token} has {sizes}"]
            return []

    def quits(self, name: str, uids: Iterable[str]) -> None:
        """A session is about to end with QUIT, having marked these, all of them read before."""
        with self._lock:
            self._boxes[name].leaving.update(uids)
            self.touched.add(name)

    def quit_answered(self, name: str, uids: Iterable[str]) -> None:
        """That QUIT was answered +OK."""
        with self._lock:
            box = self._boxes[name]
            box.leaving.difference_update(uids)
            box.removed.update(uids)

    # After a restart

    def check(self, name: str, found: Mapping[str, bytes | None]) -> list[str]:
        """Compare a mailbox with what it must be, after a restart: everything that is wrong with it.

        ``found`` has all its unique-ids, and the octets at least of those that ``unread`` names.
        """
        with self._lock:
            box = self._boxes[name]
            read = {uid: stored for uid, stored in found.items() if stored is not None}
            wrong = [text for uid, stored in read.items() for text in self.saw(name, uid, stored)]
            wrong += [f"{name}: {uid} was removed and is back" for uid in found if uid in box.removed]
            gone = [uid for uid in box.seen if uid not in found and uid not in box.removed]
            wrong += [
                f"{name}: {uid} ({box.seen[uid][0]}) is gone, or has another unique-id"
                for uid in gone
                if uid not in box.leaving
            ]
            # A QUIT without an answer may have removed what it was to remove; what is gone is gone for good.
            box.removed.update(gone)
            box.leaving.clear()
            for token, sent in box.sent.items():
                copies = box.copies[token]
                if copies < sent.answered:
                    wrong.append(f"{name}: {token} was answered 250 and is lost, {sent}")
                elif copies > sent.most:
                    wrong.append(f"{name}: {token} is here {copies} times, {sent}")
            self.touched.discard(name)
            return wrong

    def emptied(self, name: str) -> None:
        """All that was in the mailbox has been removed by an answered QUIT and checked before.

        What turns up there from now on was sent later, or is wrong.
        """
        with self._lock:
            box = self._boxes[name]
            box.sent.clear()
            box.seen.clear()
            box.copies.clear()
