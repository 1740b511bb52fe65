"""A recording of all that a program does to the disk, and of what it has promised meanwhile."""

import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import attrs

from mailserver.durable import group
from tests.crash.disk_model import (
    FOLDER,
    GONE,
    Appended,
    Changed,
    Committed,
    Entry,
    Failed,
    Noted,
    Step,
    Synced,
    Tree,
)
from tests.support.faulty_calls import NAMES, FaultyCalls

DATABASE = "spool/queue.db"
SYNCS = ("fsync", "syncfs")


@contextmanager
def syncing(together: bool) -> Iterator[None]:
    """Whether the server finds a file system that it syncs as a whole."""
    with mock.patch.object(group, "_syncfs_answers_for", lambda device: together):
        yield


class RecordingCalls(FaultyCalls):
    """Notes each call that was made and did something. ``base`` is what is there at the beginning."""

    def __init__(self, data: Path, base: Tree) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.before: Callable[[str], None] = lambda name: None  # may raise ``OSError``
        self._data = os.fspath(data)
        self._files = {path: file for path, file in base.paths.items() if file != FOLDER}
        self._next = itertools.count(max([0, *self._files.values()]) + 1)
        self._open: dict[int, int | str] = {}
        self._lock = threading.Lock()
        self.dead = False

    def note(self, what: str, message: str, box: str = "") -> None:
        """Something was promised or asked for."""
        if not self.dead:
            self.steps.append(Noted(what, message, box))

    def die_at(self, number: int) -> None:
        """From this call on, counted from 1, nothing is done any more, as if the process were killed."""
        self.made.clear()
        self.fails = self._is_dead_at(number)

    def _is_dead_at(self, last: int) -> Callable[[int, str], bool]:
        def fails(number: int, name: str) -> bool:
            self.error = errno.EIO
            self.dead = self.dead or number >= last
            return self.dead

        return fails

    def live(self) -> None:
        """The next process."""
        self.fail_none()
        self.dead = False

    def place(self, path: Any) -> str:
        """A path below the data directory."""
        return os.fspath(path).removeprefix(self._data).lstrip("/")

    def _entry(self, place: str, leads_to: int) -> Entry:
        folder, _, name = place.rpartition("/")
        return Entry(folder, name, leads_to)

    def _change(self, what: str, *changes: tuple[str, int]) -> None:
        for place, leads_to in changes:
            if leads_to == GONE:
                self._files.pop(place, None)  # none for a folder
            elif leads_to != FOLDER:
                self._files[place] = leads_to
        entries = tuple(self._entry(place, leads_to) for place, leads_to in changes)
        self.steps.append(Changed(f"{what} {' '.join(place for place, _ in changes)}", entries))

    # After a call: what it was given, and its result.

    def _after_open(self, made: int, path: Any, flags: int, mode: int = 0) -> None:
        place = self.place(path)
        if flags & os.O_CREAT and place not in self._files:
            self._change("create", (place, next(self._next)))
        self._open[made] = self._files.get(place, place)

    def _after_write(self, count: int, descriptor: int, data: Any) -> None:
        file = self._open[descriptor]
        assert isinstance(file, int)
        self.steps.append(Appended(f"write {count} octets to file {file}", file, bytes(data[:count])))

    def _after_fsync(self, _: None, descriptor: int) -> None:
        target = self._open[descriptor]
        self.steps.append(Synced(f"fsync {target!r}", target))

    def _after_syncfs(self, _: None, descriptor: int) -> None:
        self.steps.append(Synced("syncfs", None))

    def _after_close(self, _: None, descriptor: int) -> None:
        del self._open[descriptor]

    def _after_mkdir(self, _: None, path: Any, mode: int) -> None:
        self._change("mkdir", (self.place(path), FOLDER))

    def _after_rename(self, _: None, source: Any, target: Any) -> None:
        old, new = self.place(source), self.place(target)
        moved = [(old, self._files.get(old, FOLDER))]
        moved += [(place, file) for place, file in self._files.items() if place.startswith(f"{old}/")]
        changes = [(new + place.removeprefix(old), leads_to) for place, leads_to in moved]
        self._change("rename", *changes, *((place, GONE) for place, _ in reversed(moved)))

    def _after_link(self, _: None, source: Any, target: Any) -> None:
        self._change("link", (self.place(target), self._files[self.place(source)]))

    def _after_unlink(self, _: None, path: Any) -> None:
        self._change("unlink", (self.place(path), GONE))

    def _after_rmdir(self, _: None, path: Any) -> None:
        self._change("rmdir", (self.place(path), GONE))

    def _after_commit(self, _: None, database: Any, statements: Sequence[Any]) -> None:
        words = {statement.split(" SET ")[0].split(" WHERE ")[0][:30] for statement, _ in statements}
        self.steps.append(Committed(f"commit {sorted(words)}", tuple(statements)))


def _recorded(name: str) -> Callable[..., Any]:
    call, after = getattr(FaultyCalls, name), getattr(RecordingCalls, f"_after_{name}")

    def recorded(self: RecordingCalls, *arguments: Any) -> Any:
        try:
            self.before(name)
        except OSError:
            if name in SYNCS:
                target = self._open[arguments[0]] if name == "fsync" else None
                self.steps.append(Failed(f"failed {name} {target!r}", target))
            raise
        with self._lock:
            result = call(self, *arguments)
            after(self, result, *arguments)
            return result

    return recorded


for _name in NAMES:
    setattr(RecordingCalls, _name, _recorded(_name))


@attrs.define
class Sent:
    """A message: its octets in each mailbox, and under which unique-id it was first seen there.

    Of another server, a mailbox is a whole address. ``failed`` are the messages and mailboxes that this one
    reports as failed.
    """

    texts: dict[str, bytes] = attrs.field(factory=dict)
    names: dict[str, str] = attrs.field(factory=dict)
    failed: frozenset[tuple[str, str]] = frozenset()


@attrs.frozen
class Recording:
    """What was done, step after step, in how many calls, and what was sent. States begin at ``start``."""

    name: str
    syncfs: bool
    steps: list[Step]
    sent: dict[str, Sent]
    calls: int
    start: int = 0

    @property
    def title(self) -> str:
        return f"{self.name} ({'syncfs' if self.syncfs else 'fsync'})"
