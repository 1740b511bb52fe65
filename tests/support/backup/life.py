"""Mail that is delivered, read and removed between the steps of a backup, and the promise of the backup."""

import contextlib
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from mailserver.backup.copying import BackupCopy, BackupSource
from mailserver.backup.folder import FolderTarget
from mailserver.backup.generations import Generations
from mailserver.backup.manifest import BackupOrigin, Manifest
from mailserver.backup.restore import Restoration
from mailserver.durable.disk import Disk
from mailserver.interfaces import Delivery
from mailserver.mail.address import Address
from mailserver.mail.quota import Quota
from tests.support.faulty_calls import FaultyCalls
from tests.support.queue.spools import SpoolReactor, Spools, WorkerSpools

BOXES = [Address(name, "example.org") for name in ("anna", "bert", "carl")]
QUARANTINE = Address("quarantine", "example.org")
FULL = Address("full", "example.org")  # its mail waits in the queue
NO_ROOM = Quota(octets=1)
SMALL, LARGE = 10, 100_000  # octets; the second is not stored in the spool
_TOKEN = re.compile(rb"^Subject: (\S+)\r$", re.MULTILINE)


def origin(data: Path) -> BackupOrigin:
    return BackupOrigin(
        "2026-11-30T21:00:00Z", "0", 1, str(data), "/none.toml", "", "", os.getuid(), os.getgid()
    )


class QuickCalls(FaultyCalls):
    """Without syncs, which no test here can miss: nothing loses power."""

    def fsync(self, descriptor: int) -> None:
        self._sync("fsync", descriptor)

    def syncfs(self, descriptor: int) -> None:
        self._sync("syncfs", descriptor)

    def _sync(self, name: str, descriptor: int) -> None:
        self.made.append((name, descriptor))
        if self.fails(len(self.made), name):
            raise OSError(self.error, os.strerror(self.error))


@attrs.define(eq=False)
class Letter:
    """A message for one recipient. It is in all ``boxes``, and was in the ``former`` ones, too."""

    token: str
    boxes: set[Address]
    former: set[Address] = attrs.field(factory=set)
    answered: bool = False

    @property
    def removed(self) -> bool:
        return not self.boxes

    def leaves(self, box: Address) -> None:
        self.boxes.discard(box)
        self.former.add(box)

    def is_in(self, found: set[tuple[str, Address]]) -> bool:
        return any((self.token, box) in found for box in self.boxes | self.former)


class Life:
    """The mail of one server with one or two ``workers``, which goes on by one random event at a time.

    A backup has the spools of all that are ``copied``."""

    copied: tuple[type[Spools], ...] = (Spools, WorkerSpools)

    def __init__(self, data: Path, reactor: SpoolReactor, chance: random.Random, workers: int = 1) -> None:
        self.spools = Spools(data, reactor, QuickCalls())
        self.spools.quotas[FULL] = NO_ROOM
        self.spools.open()
        self.all = [self.spools]
        for _ in range(workers - 1):
            self.all.append(WorkerSpools(data, reactor, QuickCalls()))
            self.all[-1].open()
        self.data = data
        self.letters: list[Letter] = []
        self._chance = chance
        self._waiting: list[tuple[Any, list[Letter]]] = []
        self._moved: set[Address] = set()
        self._number = 0
        self._events: list[tuple[Callable[[], None], int]] = [
            (self._deliver, 8),
            (self._answers, 2),
            (self._remove, 6),
            (self._flag, 5),
            (self._archive, 2),
            (self._attempt, 3),
            (self._give_up, 1),
            (self._release, 3),
            (self._move, 1),
            (self._hand_over, 2),
            *((spools.checkpoint, 3) for spools in self.all),
        ]

    def event(self) -> None:
        """Something happens, or, now and then, nothing."""
        events, weights = zip(*self._events, strict=True)
        self._chance.choices(events, weights)[0]()

    # ------------------------------------------------------------ mail

    def _deliver(self) -> None:
        """A message for some mailboxes; the answer may come later. Its file may be invisible at first."""
        self._number += 1
        token = f"t{self._number}"
        boxes = [box for box in (*BOXES, FULL) if box not in self._moved]
        to = self._chance.sample(boxes, self._chance.choice((1, 1, 2, 3)))
        if to == [FULL]:
            to.append(BOXES[0])  # alone, it would be rejected
        elif self._chance.random() < 0.2:
            to = [QUARANTINE]
        letters = [Letter(token, {box}) for box in to]
        self.letters += letters
        size = self._chance.choice((SMALL, SMALL, LARGE))
        data = b"Subject: %s\r\n\r\n%s\r\n" % (token.encode(), b"x" * size)
        # The first worker has the queue.
        spools = self.spools if FULL in to or len(self.all) == 1 else self._chance.choice(self.all)
        hidden = self._chance.random() < 0.2
        if hidden:
            self._answers()
            self.hide(spools.calls)
        self._waiting.append((spools.deliver(data, *to), letters))
        if hidden or self._chance.random() < 0.7:
            self._answers()

    def hide(self, calls: FaultyCalls) -> None:
        """No file gets its name in new/ until the answer."""
        calls.error = 5
        calls.fails = lambda number, name: (
            name in ("link", "rename")
            and "/tmp/" in str(calls.made[-1][1])
            and "/mail/" in str(calls.made[-1][1])
        )

    def _answers(self) -> None:
        """All answers that are due arrive."""
        waiting, self._waiting = self._waiting, []
        for deferred, letters in waiting:
            self.spools.wait(deferred)
            for letter in letters:
                letter.answered = True
        for spools in self.all:
            spools.calls.fail_none()

    def _checkpoint(self) -> None:
        """Sync all there is."""
        for spools in self.all:
            spools.checkpoint()

    def _letter(self, box: Address, octets: bytes) -> Letter:
        found = _TOKEN.search(octets)
        assert found is not None
        return next(each for each in self.letters if each.token == found[1].decode() and box in each.boxes)

    def _remove(self) -> None:
        """POP3 removes a message, and the answer to QUIT is +OK."""
        box = self._chance.choice([*BOXES, FULL])
        self._take_out(box, lambda octets: self._letter(box, octets))

    def _take_out(self, box: Address, letter_of: Callable[[bytes], Letter]) -> None:
        maildrop = self.spools.wait(self.spools.maildrops.maildrop(box))
        try:
            if not len(maildrop.messages):
                return
            index = self._chance.randrange(len(maildrop.messages))
            content = self.spools.wait(maildrop.read(index))
            letter = letter_of(content if isinstance(content, bytes) else b"".join(content.chunks()))
            self._sync_elsewhere(maildrop.messages.uid(index))
            assert not self.spools.wait(maildrop.remove([index]))
            letter.leaves(box)
        finally:
            maildrop.release()

    def _sync_elsewhere(self, uid: str) -> None:
        """Wait until the other worker has no entry for the message, as a removal does."""
        for spools in self.all[1:]:
            if (waiting := spools.spool.checkpoint.synced([uid])) is not None:
                spools.wait(waiting)

    def _release(self) -> None:
        """A message of the quarantine goes to somebody, as ``commands.quarantine`` does it."""
        to = self._chance.choice([[BOXES[0]], [BOXES[0], FULL]])

        def deliver(octets: bytes) -> Letter:
            letter = self._letter(QUARANTINE, octets)
            letter.boxes.update(to)
            self.spools.wait(self.spools.deliver(octets, *to))
            return letter

        self._answers()
        self._take_out(QUARANTINE, deliver)

    def _attempt(self) -> None:
        """What waits is delivered."""
        self.spools.quotas.pop(FULL)
        for message, recipients in self.spools.waiting()[:1]:
            copies = {each: Delivery(Address.parse(each.address), each.head) for each in recipients}
            self.spools.wait(self.spools.spool.put(message, copies))
        self.spools.quotas[FULL] = NO_ROOM

    def _give_up(self) -> None:
        """An administrator removes a message from the queue."""
        self._answers()
        for message, recipients in self.spools.waiting()[:1]:
            content = b"".join(message.content.chunks())
            self.spools.wait(self.spools.spool.record_attempt(message, [], recipients))
            self._letter(FULL, content).leaves(FULL)

    # ------------------------------------------------------------ other programs

    def _flag(self) -> None:
        """A mail reader moves a message to cur/, or changes its flags."""
        if files := [*self.spools.files("new"), *self.spools.files("cur")]:
            path = self._chance.choice(files)
            flags = "".join(sorted(self._chance.sample("FRST", 2)))
            path.rename(path.parent.parent / "cur" / f"{path.name.partition(':')[0]}:2,{flags}")

    def _archive(self) -> None:
        """A mail reader moves a message to another folder of the mailbox, where POP3 does not see it.

        It is synced: the spool restores one that another program removes within the first second."""
        self._checkpoint()
        if files := self.spools.files("cur"):
            path = self._chance.choice(files)
            folder = path.parent.parent / ".Archive" / "cur"
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / path.name)

    def _hand_over(self) -> None:
        """A mail reader moves a message to the mailbox of somebody else."""
        self._answers()
        self._checkpoint()
        old, new = (self.data / "mail" / box.domain / box.local for box in self._chance.sample(BOXES[:2], 2))
        files = sorted(old.glob("new/*")) + sorted(old.glob("cur/*"))
        if files and (new / "cur").exists():
            path = self._chance.choice(files)
            letter = self._letter(Address(old.name, "example.org"), path.read_bytes())
            if letter.boxes.isdisjoint([Address(new.name, "example.org")]) and not self._twin(letter):
                path.rename(new / "cur" / f"{path.name.partition(':')[0]}:2,S")
                letter.leaves(Address(old.name, "example.org"))
                letter.boxes.add(Address(new.name, "example.org"))

    def _twin(self, letter: Letter) -> bool:
        """Whether somebody else has the same message."""
        return sum(each.token == letter.token for each in self.letters) > 1

    def _move(self) -> None:
        """A mailbox gets another name, for good. Nothing is on its way there."""
        box = BOXES[2]
        self._answers()
        self._checkpoint()
        folder = self.data / "mail" / box.domain / box.local
        if box not in self._moved and folder.exists():
            self._moved.add(box)
            folder.rename(folder.with_name("adam"))

    # ------------------------------------------------------------ the backup

    def snapshot(self) -> Path:
        """Copy the spools, as ``app.backup`` does it, while mail goes on."""
        stage = self.data / "backup" / str(time.monotonic_ns())
        stage.mkdir(parents=True)
        for spools in self.all:
            if type(spools) in self.copied:
                self._copy(spools, stage / spools.folder.relative_to("spool"))
        return stage

    def _copy(self, spools: Spools, stage: Path) -> None:
        def go_on() -> bool:
            self.event()
            return True

        snapshot = spools.engine.snapshot(self.data / "mail", stage, go_on)
        spools.wait(spools.spool.change(lambda transaction: take(snapshot)))
        self.event()
        snapshot.write()

    def close(self) -> None:
        self._answers()
        for spools in reversed(self.all):
            spools.close()


def take(snapshot: Any) -> None:
    """In the thread that commits, no event happens."""
    snapshot._go_on, go_on = (lambda: True), snapshot._go_on
    try:
        snapshot.take()
    finally:
        snapshot._go_on = go_on


def run(
    folder: Path, reactor: SpoolReactor, seed: int, copy: type[BackupCopy] = BackupCopy, workers: int = 1
) -> list[str]:
    """A life with a backup in its middle. Returns how the promise is broken."""
    chance = random.Random(seed)
    life = Life(folder / "data", reactor, chance, workers)
    for _ in range(chance.randrange(60)):
        life.event()
    kept = [each for each in life.letters if each.answered and not each.removed]
    gone = [each for each in life.letters if each.removed]
    back_up(life, folder / "backup", copy, chance)
    life.close()
    found, problems = look(folder, reactor)
    for letter in kept:
        if not letter.removed and not letter.is_in(found):
            problems.append(f"{letter.token} for {letter.boxes} was accepted and is lost")
    for letter in gone:
        if letter.is_in(found):
            problems.append(f"{letter.token} from {letter.former} was removed and is back")
    if not problems:
        shutil.rmtree(folder)  # thousands of them would fill the disk
    return problems


def back_up(life: Life, folder: Path, copy: type[BackupCopy], chance: random.Random) -> None:
    """Make a backup while the life goes on."""
    disk = Disk(QuickCalls())
    source = BackupSource(life.data, [], life.snapshot, {})
    generations = Generations(folder, disk)
    with generations.lock():
        partial = generations.begin(0.0)
        with FolderTarget(partial, origin(life.data), disk) as target:
            making = copy(source, target, disk)
            for _ in making.run():
                for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
                    life.event()
        assert making.problems == []
        generations.finish(partial)


def look(folder: Path, reactor: SpoolReactor) -> tuple[set[tuple[str, Address]], list[str]]:
    """Restore the backup and start on it: the messages that are there, by token and box, and the damage."""
    disk = Disk(QuickCalls())
    manifest = Manifest(Generations(folder / "backup", disk).find(None))
    data = folder / "restored"
    for _ in Restoration(manifest, data, disk, format=1).run():
        pass
    spools, worker = Spools(data, reactor, QuickCalls()), WorkerSpools(data, reactor, QuickCalls())
    spools.open()
    found = set()
    with contextlib.closing(spools):
        worker.open()
        worker.close()
        for message, recipients in spools.waiting():
            token = _token(b"".join(message.content.chunks()))
            found.update((token, Address.parse(each.address)) for each in recipients)
    for path in data.glob("mail/**/*"):
        if path.is_file() and path.parent.name in ("new", "cur"):
            box = path.relative_to(data / "mail" / "example.org").parts[0]
            local = "carl" if box == "adam" else box
            found.add((_token(path.read_bytes()), Address(local, "example.org")))
    damaged = sorted(path.name for path in data.glob("damaged/*"))
    return found, [f"damaged: {name}" for name in damaged]


def _token(octets: bytes) -> str:
    match = _TOKEN.search(octets)
    assert match is not None
    return match[1].decode()


def lives(folder: Path, reactor: SpoolReactor, seeds: Iterator[int], **options: Any) -> Iterator[list[str]]:
    """The outcomes of several lives."""
    for seed in seeds:
        yield run(folder / str(seed), reactor, seed, **options)
