"""A state of a disk is made, a server started on it, and what it shows compared with what was promised."""

import os
import shutil
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.errors import StorageError
from mailserver.interfaces import IMaildrop
from mailserver.queue.entries import InMemoryContent
from tests.crash.disk_model import FOLDER, Committed, Noted, Step, Tree
from tests.crash.recording import DATABASE, RecordingCalls, Sent
from tests.crash.stage import Server, address
from tests.support.reactor import FakeReactor
from tests.support.store.messages import octets


@attrs.define
class Ledger:
    """What has been promised, and asked for, so far: messages, and those of a mailbox."""

    begun: set[str] = attrs.field(factory=set)
    answered: set[str] = attrs.field(factory=set)
    removing: set[tuple[str, str]] = attrs.field(factory=set)
    removed: set[tuple[str, str]] = attrs.field(factory=set)
    accepted: set[tuple[str, str]] = attrs.field(factory=set)
    recorded: set[tuple[str, str]] = attrs.field(factory=set)
    again: set[tuple[str, str]] = attrs.field(factory=set)
    """Deliveries that were repeated although the answer of the other server was recorded."""

    def note(self, step: Noted) -> None:
        """Another promise."""
        key = (step.message, step.box)
        if step.what == "accepted" and key in self.recorded:
            self.again.add(key)
        getattr(self, step.what).add(key if step.box else step.message)

    def copy(self) -> "Ledger":
        return Ledger(*(set(each) for each in attrs.astuple(self, recurse=False)))

    def key(self) -> Any:
        """Grows with each promise."""
        return tuple(len(each) for each in attrs.astuple(self, recurse=False))


@attrs.frozen
class Outcome:
    """What there is after a start: files by mailbox, each a base name and its octets; octets that wait in the
    spool by mailbox; what POP3 shows; and how many contents are in the spool for nobody."""

    files: Mapping[str, Counter[tuple[str, bytes]]]
    waiting: Mapping[str, Counter[bytes]]
    shown: Mapping[str, Counter[bytes]]
    left: int


# ---------------------------------------------------------------- a state of a disk


class Databases:
    """Database files by what was committed to them."""

    def __init__(self, place: Path) -> None:
        self._path = place / "template.db"
        self._made: dict[tuple[int, ...], tuple[bytes, Any]] = {}

    def content(self, commits: tuple[Committed, ...]) -> bytes:
        """The octets of the database file after these commits."""
        key = tuple(map(id, commits))
        if key not in self._made:
            self._made[key] = self._make(commits) if commits else b"", commits  # kept: their ids stay theirs
        return self._made[key][0]

    def _make(self, commits: tuple[Committed, ...]) -> bytes:
        self._path.unlink(missing_ok=True)
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        for commit in commits:
            database.execute("BEGIN")
            for statement in commit.statements:
                database.execute(*statement)
            database.execute("COMMIT")
        database.close()
        return self._path.read_bytes()


def materialise(tree: Tree, data: Path, databases: Databases) -> None:
    """Make the state in a folder, in the place of what is there."""
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    known: dict[int, str] = {}
    for place, leads_to in tree.paths.items():
        path = f"{data}/{place}"
        if leads_to == FOLDER:
            os.mkdir(path, 0o700)  # noqa: PTH102 - made by the hundred thousand
        elif leads_to in known:
            os.link(known[leads_to], path)
        else:
            known[leads_to] = path
            octets = databases.content(tree.commits) if place == DATABASE else tree.data[leads_to]
            with open(path, "xb") as file:  # noqa: PTH123
                file.write(octets)


# ---------------------------------------------------------------- what a start makes of it


def start(data: Path, tree: Tree) -> tuple[Outcome, list[Step]]:
    """Start a server and let go of it; what it shows, and what it has done."""
    server = Server(data, FakeReactor(), RecordingCalls(data, tree))
    server.start()
    server.engine.sweep(lambda: True)
    try:
        return look(server), server.calls.steps
    finally:
        server.stop()


def _now(deferred: "Deferred[Any]") -> Any:
    results: list[Any] = []
    deferred.addBoth(results.append)
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def look(server: Server) -> Outcome:
    """All that a server has."""
    files: defaultdict[str, Counter[tuple[str, bytes]]] = defaultdict(Counter)
    shown: defaultdict[str, Counter[bytes]] = defaultdict(Counter)
    waiting: defaultdict[str, Counter[bytes]] = defaultdict(Counter)
    for path in server.data.glob("mail/*/*"):
        # A file that another program was moving from one folder to the other is one message under two names.
        found = {(name.partition(":")[0], text) for name, text in _read(path)}
        files[path.name].update(found)
        drop = _now(server.maildrops.maildrop(address(path.name)))
        shown[path.name].update(_read_by_pop3(drop, index) for index in range(len(drop.messages)))
        drop.release()
    contents = len(list(server.data.glob("spool/contents/*")))
    for seq in server.engine.oldest(1000):
        queued = server.engine.load(seq)
        assert queued is not None
        contents -= not isinstance(queued.message.content, InMemoryContent)
        text = b"".join(queued.message.content.chunks())
        for each in queued.recipients:
            waiting[each.address.removesuffix("@example.org")][each.head + text] += 1
    return Outcome(files, waiting, shown, contents)


def _read_by_pop3(drop: IMaildrop, index: int) -> bytes:
    try:
        return octets(_now(drop.read(index)))
    except StorageError as error:
        return str(error).encode()


def _read(box: Path) -> Iterator[tuple[str, bytes]]:
    for folder in ("new", "cur"):
        for path in (box / folder).glob("*"):
            yield path.name, path.read_bytes()


# ---------------------------------------------------------------- whether that was promised


def problems(outcome: Outcome, ledger: Ledger, sent: Mapping[str, Sent]) -> Iterator[str]:
    """What is not as it must be."""
    if outcome.left:
        yield f"{outcome.left} contents of no message are left"
    boxes = {box for each in sent.values() for box in each.texts} | {*outcome.files, *outcome.waiting}
    for box in sorted(boxes):
        known = {each.texts[box]: message for message, each in sent.items() if box in each.texts}
        counts: Counter[str] = Counter()
        for (base, text), count in outcome.files.get(box, Counter()).items():
            message = known.get(text)
            if message is None:
                yield f"{box}: {base} is torn: {len(text)} octets of no message"
                continue
            counts[message] += count
            if message in ledger.answered and base != sent[message].names.get(box, base):
                yield f"{box}: {message} is there under another name, {base}"
        if counts != Counter(known.get(text, "") for text in outcome.shown.get(box, Counter()).elements()):
            yield f"{box}: POP3 shows something else than there is"
        for text, count in outcome.waiting.get(box, Counter()).items():
            if text not in known:
                yield f"{box}: what waits in the spool is of no message"
            counts[known.get(text, "")] += count
        for message in sorted(known.values()):
            reports = [r for r, each in sent.items() if (message, box) in each.failed and r in ledger.begun]
            bounced = sum(_is_there(outcome, ledger, r, sent[r]) for r in reports)
            if "@" in box:
                verdict = _verdict_elsewhere(counts[message], bounced, message, box, ledger)
            else:
                verdict = _verdict(counts[message] + bounced, message, box, ledger)
            if verdict:
                yield f"{box}: {message} {verdict}"


def _is_there(outcome: Outcome, ledger: Ledger, message: str, sent: Sent) -> int:
    """In how many of its mailboxes a message is, or will be, or was accepted elsewhere."""
    return sum(
        (message, box) in ledger.accepted
        or text in outcome.waiting.get(box, Counter())
        or any(text == there for _, there in outcome.files.get(box, Counter()))
        for box, text in sent.texts.items()
    )


def _verdict(count: int, message: str, box: str, ledger: Ledger) -> str:
    if (message, box) in ledger.removed:
        return "is back" if count else ""
    if count > 1:
        return f"is there {count} times"
    if count == 0 and message in ledger.answered and (message, box) not in ledger.removing:
        return "is lost"
    if count and message not in ledger.begun:
        return "was never sent"
    return ""


def _verdict_elsewhere(waiting: int, bounced: int, message: str, box: str, ledger: Ledger) -> str:
    """Whether a recipient on another server has one end, or waits for it."""
    key = (message, box)
    if key in ledger.again:
        return "was delivered again"
    if key in ledger.accepted and bounced:
        return "was delivered, and bounced falsely"
    if key in ledger.recorded and waiting:
        return "was delivered, and waits"
    if key in ledger.removed and (waiting or bounced):
        return "is back"
    if waiting + bounced > 1:
        return f"waits {waiting} times, and is bounced {bounced} times"
    if waiting and message not in ledger.begun:
        return "was never sent"
    ended = waiting or bounced or key in ledger.accepted or key in ledger.removing
    if message in ledger.answered and not ended:
        return "is lost: neither delivered nor bounced"
    return ""
