"""Copies a data directory while its server runs, in the order that the docstring of the package explains."""

import os
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from fnmatch import fnmatchcase
from pathlib import Path

import attrs

from mailserver.backup.mailboxes import CONCLUSIVE, MailboxCopy, mailboxes
from mailserver.backup.manifest import BackupDamaged, BackupTotals
from mailserver.backup.target import BackupTarget, SourceUnreadable, SourceVanished
from mailserver.durable.copies import FileAttributes, remove_tree, set_attributes
from mailserver.durable.database import Damaged, DatabaseSnapshot, damage, is_database
from mailserver.durable.disk import Disk
from mailserver.mail.quarantine import LOCAL_PART

DATA = "data"  # the folder of the data directory in a backup
CONFIGURATION = "configuration"  # that of other files, by their absolute paths
MAIL = "mail"
SPOOL = "spool"

# These are made by a start, or for a moment, or copied on their own.
_LEFT_OUT = {
    "lock", "control.sock", "tmp", "backup", "last-backup.json", "spool/queue.db", "spool/contents", MAIL
}  # fmt: skip
_WORKER = re.compile(r"worker-[0-9]+")  # the folder of the spool of another worker
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}|.*\.db-(wal|shm|journal)")

Examine = Callable[[Path, BackupTotals], None]


@attrs.frozen
class BackupSource:
    """What is copied. ``data`` is the data directory, ``others`` are files outside of it.

    ``spool`` copies the spools to a new folder and returns it, or returns None if there is no spool.
    ``examine`` has functions that add to the counts, by the paths of databases below ``data``, as patterns.
    """

    data: Path
    others: Sequence[Path]
    spool: Callable[[], Path | None]
    examine: Mapping[str, Examine]


@attrs.frozen
class BackupProgress:
    """``done`` of ``mailboxes`` are copied, with ``messages`` in all."""

    done: int
    mailboxes: int
    messages: int


class BackupCopy:
    """One backup. ``problems`` has a line for each file that could not be read."""

    def __init__(self, source: BackupSource, target: BackupTarget, disk: Disk) -> None:
        self._data = source.data
        self._mail = source.data / MAIL
        self._source = source
        self._target = target
        self._disk = disk
        self._domains: set[str] = set()
        self._copies: dict[str, MailboxCopy] = {}
        self._counts: dict[str, int] = {}
        self._messages = self._start = 0
        self.problems: list[str] = []

    def run(self) -> Generator[BackupProgress, None, None]:
        """Copy everything, and complete the backup. Yields after each step.

        Raises ``OSError``, and :class:`~mailserver.errors.MailserverError`.
        """
        self._start = time.time_ns()
        self._folder(DATA, self._data)
        self._folder(f"{DATA}/{MAIL}", self._mail)
        for name, box in mailboxes(self._mail):
            if box.name == LOCAL_PART:
                yield from self._mailbox(name, box, keep=True)
        yield from self._spool()
        yield from self._mailboxes()
        yield from self._moved()
        yield from self._others()
        for name, count in self._counts.items():
            self._target.manifest.mailbox(name, count)
        self._target.complete()

    def _progress(self) -> BackupProgress:
        return BackupProgress(len(self._counts), len(self._counts), self._messages)

    # ------------------------------------------------------------ mailboxes

    def _mailboxes(self) -> Iterator[BackupProgress]:
        done: set[str] = set()
        # A mailbox that gets another name meanwhile is found in the next round.
        while left := [(name, box) for name, box in mailboxes(self._mail) if name not in done]:
            every = len(done) + len(left)
            for name, box in sorted(left, key=lambda each: each[1].name != LOCAL_PART):
                for progress in self._mailbox(name, box):
                    yield attrs.evolve(progress, done=len(done), mailboxes=every)
                done.add(name)

    def _moved(self) -> Iterator[BackupProgress]:
        """Copy what has come to mailboxes since they were copied, perhaps from others."""
        written = self._target.written()
        for name, box in mailboxes(self._mail):
            path, count = f"{DATA}/{MAIL}/{name}", self._counts.get(name, 0)
            copy = MailboxCopy(box, path, self._target, self.problems, written, count)
            if copy.has_changed_since(self._start - CONCLUSIVE):
                yield from self._run(name, copy)

    def _mailbox(self, name: str, box: Path, *, keep: bool = False) -> Iterator[BackupProgress]:
        """Copy a mailbox. ``keep``: it will be copied again."""
        if box.parent.name not in self._domains:
            self._folder(f"{DATA}/{MAIL}/{box.parent.name}", box.parent)
            self._domains.add(box.parent.name)
        copy = self._copies.pop(name, None)
        if copy is None:
            copy = MailboxCopy(box, f"{DATA}/{MAIL}/{name}", self._target, self.problems)
        yield from self._run(name, copy)
        if keep:
            self._copies[name] = copy

    def _run(self, name: str, copy: MailboxCopy) -> Iterator[BackupProgress]:
        for _ in copy.run():
            self._messages += copy.messages - self._counts.get(name, 0)
            self._counts[name] = copy.messages
            yield self._progress()

    # ------------------------------------------------------------ other files

    def _spool(self) -> Iterator[BackupProgress]:
        yield self._progress()
        stage = self._source.spool()
        if stage is None:
            return
        try:
            yield self._progress()
            like = FileAttributes.of((self._data / SPOOL).stat())
            for path, is_folder in _walk(stage, ""):
                inner = _place(path)
                if is_folder:
                    self._target.folder(f"{DATA}/{inner}", like)
                    continue
                if path.endswith(".db"):
                    self._examine(inner, stage / path)
                self._file(f"{DATA}/{inner}", f"{stage}/{path}", fixed=True)
                yield self._progress()
        finally:
            remove_tree(self._disk, stage)

    def _others(self) -> Iterator[BackupProgress]:
        """All other files of the data directory, then those outside of it."""
        for path, is_folder in _walk(self._data, "", _is_left_out):
            if is_folder:
                self._folder(f"{DATA}/{path}", self._data / path)
            elif is_database(self._data / path):
                self._database(path)
            else:
                self._file(f"{DATA}/{path}", f"{self._data}/{path}")
            yield self._progress()
        for other in self._source.others:
            path = f"{CONFIGURATION}{other}"
            self._target.folder(path.rpartition("/")[0], FileAttributes.of(self._data.stat()))
            self._file(path, str(other))

    def _database(self, path: str) -> None:
        source, copy = self._data / path, self._target.scratch / Path(path).name
        try:
            attributes = FileAttributes.of(source.stat())
            with closing(DatabaseSnapshot(source)) as snapshot:
                snapshot.copy(copy, self._disk.calls)
        except Damaged as error:
            raise BackupDamaged(f"{source}: {error.strerror}") from error
        self._examine(path, copy)
        set_attributes(copy, attributes)
        self._file(f"{DATA}/{path}", str(copy), fixed=True)
        self._disk.remove(copy)

    def _examine(self, path: str, copy: Path) -> None:
        if problem := damage(copy):
            raise BackupDamaged(f"{self._data / path}: {problem}")
        for pattern, examine in self._source.examine.items():
            if fnmatchcase(path, pattern):
                examine(copy, self._target.manifest.totals)

    def _folder(self, path: str, source: Path) -> None:
        with suppress(FileNotFoundError):
            self._target.folder(path, FileAttributes.of(source.stat()))

    def _file(self, path: str, source: str, *, fixed: bool = False) -> None:
        try:
            self._target.file(path, source, fixed=fixed)
        except SourceVanished:
            return
        except SourceUnreadable as error:
            self.problems.append(str(error))


def _is_left_out(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return (
        path in _LEFT_OUT
        or _TEMPORARY.fullmatch(name) is not None
        or (folder == SPOOL and _WORKER.fullmatch(name) is not None)
    )


def _place(path: str) -> str:
    """The path in the data directory for a path in the copy of the spools."""
    first, _, rest = path.partition("/")
    inner = rest if _WORKER.fullmatch(first) else path
    return inner if inner.partition("/")[0] == MAIL else f"{SPOOL}/{path}"


def _walk(
    folder: Path, inner: str, is_left_out: Callable[[str], bool] = lambda path: False
) -> Iterator[tuple[str, bool]]:
    """The folders and the regular files in a folder, by their paths below it, and whether it is a folder."""
    with suppress(FileNotFoundError):
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            path = f"{inner}{entry.name}"
            if is_left_out(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield path, True
                yield from _walk(folder / entry.name, f"{path}/", is_left_out)
            elif entry.is_file(follow_symlinks=False):
                yield path, False
