"""Copies one mailbox into a backup while other programs change it.

A mailbox is a tree of Maildirs: that of the mailbox, and those of its other folders, which IMAP servers
create. Other programs rename messages (new/ to cur/, other flags) and move them between folders, and a
listing of a folder may miss a file that is renamed meanwhile. Therefore the whole tree is listed again until
nothing has changed. A message is known by its Maildir and its base name, which no flag changes.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from mailserver.backup.known import KnownFiles
from mailserver.backup.target import BackupTarget, SourceUnreadable, SourceVanished
from mailserver.durable.copies import FileAttributes
from mailserver.store.names import base_name
from mailserver.store.sizes import NAME as SIZES

ROUNDS = 10  # a mailbox that always changes is not listed for ever
# If the last change of a folder is older than this, any later change alters its time.
CONCLUSIVE = 2_000_000_000  # nanoseconds


class MailboxCopy:
    """Copies the tree at ``box`` to ``path`` in the backup.

    ``messages`` counts them, after those that an earlier copy has taken, whose files are in ``earlier``.
    ``problems`` gets a line for each file or folder that cannot be read.
    """

    def __init__(
        self,
        box: Path,
        path: str,
        target: BackupTarget,
        problems: list[str],
        earlier: KnownFiles | None = None,
        messages: int = 0,
    ) -> None:
        self._box = str(box)
        self._earlier = earlier
        self._path = path
        self._target = target
        self._problems = problems
        self._folders: set[str] = set()
        self._known: set[str] = set()
        self._added = self._missed = False
        self.messages = messages

    def run(self) -> Iterator[None]:
        """Copy everything that is not copied yet. Yields after each step."""
        for number in range(ROUNDS):
            now = time.time_ns()
            self._added = self._missed = False
            states: dict[str, int] = {}
            yield from self._round(states)
            newest = max(states.values())
            # A message that was moved from a later folder to an earlier one has changed both.
            unchanged = all(_changed(folder) == state for folder, state in states.items())
            if unchanged and not self._missed and (newest < now - CONCLUSIVE or (number and not self._added)):
                return

    def _round(self, states: dict[str, int]) -> Iterator[None]:
        """List everything, and copy what is new. ``states`` gets the times of the last changes."""
        for folder, inner in self._tree():
            states[folder] = _changed(folder)
            self._folder(folder, inner)
            maildir, _, place = inner.rpartition("/")
            has_messages = place in ("new", "cur")
            names = self._files(folder)
            yield
            for name in names:
                key = f"{maildir}//{base_name(name)}" if has_messages else f"{inner}/{name}"
                if key not in self._known:
                    self._take(f"{folder}/{name}", f"{inner}/{name}".lstrip("/"), key, has_messages)
                    yield

    def _take(self, source: str, inner: str, key: str, is_message: bool) -> None:
        path = f"{self._path}/{inner}"
        if self._earlier is not None and self._earlier.find(path) is not None:
            self._known.add(key)
            return
        try:
            self._target.file(path, source, fixed=is_message)
        except SourceVanished:
            self._missed = self._missed or is_message
            return
        except SourceUnreadable as error:
            self._problems.append(str(error))
        else:
            self.messages += is_message and not source.rpartition("/")[2].startswith(".")
        self._added = True
        self._known.add(key)

    def _folder(self, folder: str, inner: str) -> None:
        if inner not in self._folders:
            try:
                attributes = FileAttributes.of(Path(folder).stat())
            except FileNotFoundError:
                return
            self._target.folder(f"{self._path}/{inner}".rstrip("/"), attributes)
            self._folders.add(inner)

    def _tree(self, folder: str = "", inner: str = "") -> Iterator[tuple[str, str]]:
        """The folders of a tree, ``new`` before ``cur``. The files in ``tmp`` are no messages yet."""
        folder = folder or self._box
        yield folder, inner
        try:
            with os.scandir(folder) as found:
                names = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return  # it was reported when its files were listed
        for name in sorted(names, key=lambda name: (name != "new", name)):
            below = f"{inner}/{name}".lstrip("/")
            if name in ("new", "cur"):
                yield f"{folder}/{name}", below
            elif name == "tmp":
                self._folder(f"{folder}/{name}", below)
            else:
                yield from self._tree(f"{folder}/{name}", below)

    def has_changed_since(self, when: int) -> bool:
        """Whether a folder has changed after ``when``, in nanoseconds since the epoch."""
        return any(_changed(folder) > when for folder, _ in self._tree())

    def _files(self, folder: str) -> list[str]:
        """The names of the regular files in a folder, except for the cache of this server."""
        try:
            with os.scandir(folder) as found:
                return [
                    entry.name
                    for entry in found
                    if entry.is_file(follow_symlinks=False) and entry.name != SIZES
                ]
        except FileNotFoundError:
            return []
        except OSError as error:
            if (line := f"{folder}: {error.strerror}") not in self._problems:
                self._problems.append(line)
            return []


def _changed(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def mailboxes(root: Path) -> list[tuple[str, Path]]:
    """All mailboxes below ``root``, each with its path below it, in order. The folders of domains and of
    mailboxes may be symbolic links. Raises ``OSError``."""
    return [
        (f"{domain.name}/{box.name}", box)
        for domain in _folders(root)
        if domain.name != "lost+found"
        for box in _folders(domain)
    ]


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
