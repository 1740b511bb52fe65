"""A disk that forgets: what a POSIX file system may hold after a power cut, by what was done to it before.

* A file keeps what was written before an ``fsync`` of it. The rest may be there, missing, cut off
  anywhere, or read as zeros anywhere.
* A folder keeps the entries that it had at an ``fsync`` of it. Each later change, one by one, may be there
  or not, in any order; a file or folder without a name that can be reached is gone, whatever was synced.
* A file's ``fsync`` does not save its name, nor a folder's that of the folder. ``syncfs`` saves everything.
* A rename is two changes, a name that appears and one that goes, which may be kept or lost one
  without the other: a file may have both names or none. With ``split=False`` it is one change, which
  an ``fsync`` of either folder saves; with ``ordered=True`` the changes of a folder are kept in their order.
* A database's commit is one step, kept when it returns; how SQLite does that is not looked at here.
* Octets that a failed ``fsync`` or ``syncfs`` was to save are never safe, whatever is synced later.
* A call that was under way is covered by the states before and after it.
* What was read after a power cut is on the disk, and no longer forgotten.

Only files that are made anew and written from the beginning to the end are known here; nothing renames
or removes a folder.
"""

import copy
import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

GONE = -1
FOLDER = 0
"""What an entry may lead to beside a file, which is a number from 1."""
EXHAUSTIVE = 256
"""As many states of one moment are tried one and all."""


@attrs.frozen
class Entry:
    """A name in a folder, and what it leads to. A folder is its path below the data directory."""

    folder: str
    name: str
    leads_to: int

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}".lstrip("/")


@attrs.frozen
class Changed:
    """Entries were changed by one call."""

    what: str
    entries: tuple[Entry, ...]


@attrs.frozen
class Appended:
    """Octets were written at the end of a file."""

    what: str
    file: int
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class Synced:
    """A file, a folder, or with None everything, was synced."""

    what: str
    target: int | str | None


@attrs.frozen
class Failed:
    """A sync has failed."""

    what: str
    target: int | str | None


@attrs.frozen(eq=False)
class Committed:
    """A transaction of the database."""

    what: str
    statements: tuple[tuple[str, Sequence[Any]], ...] = attrs.field(repr=False)


@attrs.frozen
class Noted:
    """Something was promised, or asked for: "begun", "answered", "removing", "removed"; or another server has
    "accepted" a copy, and all that follows from its answer is done: "recorded"."""

    what: str
    message: str
    box: str = ""


Step = Changed | Appended | Synced | Failed | Committed | Noted


@attrs.frozen(eq=False)
class Tree:
    """What is on a disk: paths, parents first, and what they lead to; files; the transactions made so far."""

    paths: dict[str, int] = attrs.field(factory=dict)
    data: dict[int, bytes] = attrs.field(factory=dict, repr=False)
    commits: tuple[Committed, ...] = ()

    def key(self) -> Any:
        """Equal for trees that a program cannot tell apart."""
        files = tuple((path, file, hash(self.data.get(file))) for path, file in self.paths.items())
        return len(self.commits), files


@attrs.frozen
class Damage:
    """What is left of a file: its length, and from where to where it reads as zeros."""

    size: int
    zeros: tuple[int, int] = (0, 0)

    def apply(self, data: bytes) -> bytes:
        start, end = self.zeros
        return (data[:start] + bytes(end - start) + data[end:])[: self.size] if end else data[: self.size]


@attrs.frozen
class Loss:
    """One way to lose what is not safe: changes by their number among those pending, and files."""

    changes: frozenset[int] = frozenset()
    files: tuple[tuple[int, Damage], ...] = ()

    def smaller(self) -> Iterator["Loss"]:
        """The same with one thing less lost."""
        for number in sorted(self.changes):
            yield attrs.evolve(self, changes=self.changes - {number})
        for position in range(len(self.files)):
            yield attrs.evolve(self, files=self.files[:position] + self.files[position + 1 :])


class Disk:
    """A disk on which the steps are done one after the other."""

    def __init__(self, base: Tree, *, split: bool = True, ordered: bool = False) -> None:
        self._split = split
        self._ordered = ordered
        self._names: dict[tuple[str, str], tuple[int, int]] = {}
        for path, leads_to in base.paths.items():
            folder, _, name = path.rpartition("/")
            self._names[folder, name] = (-1, leads_to)
        self._data = dict(base.data)
        self._safe = {file: len(data) for file, data in base.data.items()}
        self._doomed: set[int] = set()
        self._commits = base.commits
        self._count = 0
        # What is not safe, oldest first: the number of the step, for people, and the entries.
        self._pending: list[tuple[int, str, tuple[Entry, ...]]] = []

    def copy(self) -> "Disk":
        """A disk in the same state."""
        other = copy.copy(self)
        other._names, other._data, other._safe = dict(self._names), dict(self._data), dict(self._safe)
        other._pending, other._doomed = list(self._pending), set(self._doomed)
        return other

    def do(self, step: Step) -> None:
        """The next step."""
        match step:
            case Changed(what, entries):
                number = self._count = self._count + 1
                parts = [(entry,) for entry in entries] if self._split else [entries]
                self._pending += [(number, what, part) for part in parts]
            case Appended(_, file, data):
                self._data[file] = self._data.get(file, b"") + data
            case Synced(_, target):
                self._sync(target)
            case Failed(_, target):
                self._doomed.update(file for file, _, _ in self.unsafe() if target in (None, file))
            case Committed():
                self._commits += (step,)
            case Noted():
                pass

    def _sync(self, target: int | str | None) -> None:
        saved = self._data if target is None else [target] if isinstance(target, int) else []
        self._safe.update(
            {file: len(self._data.get(file, b"")) for file in saved if file not in self._doomed}
        )
        left = []
        for change in self._pending:
            if target is None or any(entry.folder == target for entry in change[2]):
                self._keep(self._names, change)
            else:
                left.append(change)
        self._pending = left

    @staticmethod
    def _keep(
        names: dict[tuple[str, str], tuple[int, int]], change: tuple[int, str, tuple[Entry, ...]]
    ) -> None:
        number, _, entries = change
        for entry in entries:
            place = entry.folder, entry.name
            if place not in names or names[place][0] < number:
                names[place] = number, entry.leads_to

    def tree(self, loss: Loss) -> Tree:
        """What is left after a power cut now."""
        names = dict(self._names)
        broken: set[str] = set()
        for position, change in enumerate(self._pending):
            folders = {entry.folder for entry in change[2]}
            if position in loss.changes or (self._ordered and folders & broken):
                broken |= folders
            else:
                self._keep(names, change)
        paths: dict[str, int] = {}
        for folder, name in sorted(names):
            leads_to = names[folder, name][1]
            if leads_to != GONE and (not folder or paths.get(folder) == FOLDER):
                paths[f"{folder}/{name}".lstrip("/")] = leads_to
        damaged = dict(loss.files)
        data = {
            file: damaged[file].apply(self._data[file]) if file in damaged else self._data.get(file, b"")
            for file in paths.values()
            if file > 0
        }
        return Tree(paths, data, self._commits)

    def describe(self, loss: Loss) -> list[str]:
        """What was lost, for people."""
        told = []
        for position in sorted(loss.changes):
            number, what, entries = self._pending[position]
            parts = ", ".join(f"{'-' if each.leads_to == GONE else '+'}{each.path}" for each in entries)
            told.append(f"lost: change {number} of the folders, {what}: {parts}")
        for file, damage in loss.files:
            told.append(f"of the {len(self._data[file])} octets of file {file} is left: {damage}")
        return told

    def unsafe(self) -> list[tuple[int, int, int]]:
        """The files that are not safe, how many octets of each are, and how many there are."""
        return [
            (file, self._safe.get(file, 0), len(data))
            for file, data in self._data.items()
            if self._safe.get(file, 0) < len(data)
        ]

    # ------------------------------------------------------------ what may be lost

    def losses(self, dice: random.Random) -> Iterator[Loss]:
        """What may be lost now: everything if that is not too much, else first one by one, then by chance,
        without an end."""
        changes, files = range(len(self._pending)), self.unsafe()
        kinds = [[None, *_damages(*file, dice)] for file in files]
        if 2 ** len(changes) * len(kinds[0] if kinds else ()) ** len(files) <= EXHAUSTIVE:
            everything = [
                Loss(
                    frozenset(itertools.compress(changes, bits)),
                    tuple((file[0], kind) for file, kind in zip(files, some, strict=True) if kind),
                )
                for bits in itertools.product((True, False), repeat=len(changes))
                for some in itertools.product(*kinds)
            ]
            dice.shuffle(everything)
            yield from everything
            return
        yield Loss(frozenset(changes))
        yield Loss(files=tuple((file, Damage(safe)) for file, safe, _ in files))
        single = list(self._one_by_one(dice))
        dice.shuffle(single)
        for loss in single:
            yield loss
            yield self._by_chance(dice)
        while True:
            yield self._by_chance(dice)

    def _one_by_one(self, dice: random.Random) -> Iterator[Loss]:
        changes = range(len(self._pending))
        for number in changes:
            yield Loss(frozenset([number]))
            yield Loss(frozenset(changes) - {number})
            yield Loss(frozenset(changes[number:]))
        for file in self.unsafe():
            for damage in _damages(*file, dice):
                yield Loss(files=((file[0], damage),))

    def _by_chance(self, dice: random.Random) -> Loss:
        likely, hurt = dice.choice((0.1, 0.5, 0.9)), dice.choice((0.1, 0.5, 0.9))
        return Loss(
            frozenset(number for number in range(len(self._pending)) if dice.random() < likely),
            tuple(
                (file[0], dice.choice(list(_damages(*file, dice))))
                for file in self.unsafe()
                if dice.random() < hurt
            ),
        )


def _damages(file: int, safe: int, octets: int, dice: random.Random) -> Iterator[Damage]:
    """One of each kind: nothing, a part, all zeros, zeros in between, zeros at the end."""
    first, last = sorted((dice.randrange(safe, octets), dice.randrange(safe, octets)))
    yield Damage(safe)
    yield Damage(last)
    yield Damage(octets, (safe, octets))
    yield Damage(octets, (first, last + 1))
    yield Damage(octets, (last, octets))
