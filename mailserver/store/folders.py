"""Makes, checks and sweeps the folders of a Maildir.

A folder that is a symbolic link or belongs to another user could deliver mail to the wrong place, so such a
Maildir is not used at all.
"""

import os
import stat
import time
from pathlib import Path

import attrs

from mailserver.durable.disk import Disk
from mailserver.durable.spread import keep_apart
from mailserver.errors import StorageRefused
from mailserver.events.base import report
from mailserver.events.storage import TemporaryNotRemoved
from mailserver.store.names import is_own

SWEEP_EVERY = 24 * 3600  # seconds, at the next delivery
STALE_AFTER = 36 * 3600  # seconds (maildir(5))


class FolderRefused(StorageRefused):
    """A folder of a Maildir cannot be used. The message says which one, and why."""


@attrs.frozen
class FolderState:
    """The state of a folder: its identity and the time of its last change. A change alters it."""

    device: int
    inode: int
    changed: int  # nanoseconds since the epoch


@attrs.frozen
class MaildirState:
    """The states of ``new/`` and ``cur/`` at one moment; None for a folder that does not exist."""

    new: FolderState | None
    cur: FolderState | None


def check(box: Path) -> MaildirState:
    """Check the folders of a Maildir.

    Raises :class:`~mailserver.store.folders.FolderRefused`, or ``OSError``.
    """
    try:
        _check_owner(box, box.stat())
    except FileNotFoundError:
        return MaildirState(None, None)
    states: dict[str, FolderState | None] = {}
    for name in ("new", "cur", "tmp"):
        folder = box / name
        try:
            status = folder.lstat()
        except FileNotFoundError:
            states[name] = None
            continue
        if not stat.S_ISDIR(status.st_mode):
            raise FolderRefused(f"{folder} is not a folder")
        _check_owner(folder, status)
        states[name] = FolderState(status.st_dev, status.st_ino, status.st_mtime_ns)
    return MaildirState(states["new"], states["cur"])


def _check_owner(folder: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise FolderRefused(f"{folder} belongs to user {status.st_uid}, not to the server's {os.geteuid()}")


@attrs.frozen(eq=False)
class Maildir:
    """The folders of a Maildir for deliveries."""

    tmp: str
    new: str
    device: int


class Folders:
    """Prepares Maildirs below ``root`` for deliveries. For one thread only.

    If it is not ``alone``, the spools of other processes may need temporary files of this server. So these
    are never removed then.
    """

    __slots__ = ("_alone", "_disk", "_domains", "_known", "_looked_at", "_root", "_swept", "needed")

    def __init__(self, root: Path, disk: Disk, *, alone: bool = True) -> None:
        self._alone = alone
        self._root = root
        self._disk = disk
        self._known: dict[str, Maildir] = {}
        self._looked_at: set[str] = set()
        self._domains: set[Path] = set()
        self._swept: dict[str, float] = {}
        # Temporary files that the spool needs, by their path below the root. They are never stale.
        self.needed: set[str] = set()

    def look_again(self) -> None:
        """Check each Maildir again at its next use, because other programs may have changed it."""
        self._looked_at.clear()

    def prepare(self, mailbox: str) -> Maildir:
        """Create the missing folders of a Maildir. ``mailbox`` is its path below the root.

        A known Maildir is only checked, once after each :meth:`look_again`. Raises
        :class:`~mailserver.store.folders.FolderRefused`, or ``OSError``.
        """
        known = self._known.get(mailbox)
        if known is not None and mailbox in self._looked_at:
            return known
        if known is not None and _is_good(known.tmp) and _is_good(known.new):
            if time.monotonic() - self._swept[mailbox] >= SWEEP_EVERY:
                self._sweep(mailbox)
            self._looked_at.add(mailbox)
            return known
        box = self._root / mailbox
        if box.parent not in self._domains:
            self._disk.make_dirs(box.parent, below=self._root)
            keep_apart(box.parent)
            self._domains.add(box.parent)
        self._disk.make_dirs(box / "cur", box / "new", box / "tmp", below=self._root)
        check(box)
        self._sweep(mailbox)
        maildir = Maildir(tmp=f"{box}/tmp", new=f"{box}/new", device=(box / "new").stat().st_dev)
        self._known[mailbox] = maildir
        self._looked_at.add(mailbox)
        return maildir

    def _sweep(self, mailbox: str) -> None:
        """Remove temporary files of interrupted deliveries (maildir(5))."""
        self._swept[mailbox] = time.monotonic()
        with os.scandir(self._root / mailbox / "tmp") as entries:
            for entry in entries:
                if f"{mailbox}/tmp/{entry.name}" in self.needed or (not self._alone and is_own(entry.name)):
                    continue
                try:
                    if entry.is_file(follow_symlinks=False) and _is_stale(entry):
                        self._disk.remove(Path(entry.path))
                except OSError as error:
                    report(TemporaryNotRemoved(path=entry.path, error=error))


def _is_good(folder: str) -> bool:
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _is_stale(entry: os.DirEntry[str]) -> bool:
    return entry.stat(follow_symlinks=False).st_mtime < time.time() - STALE_AFTER
