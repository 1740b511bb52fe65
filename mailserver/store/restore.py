"""Restores messages to Maildirs from the spool, after a crash or a failed sync.

A message is found by its base name in ``new/`` or ``cur/``, with any flags. A readable file may not be on
the disk: after a failed sync, the kernel marks the pages that it could not write as clean. So even a whole
file may have to be written again.
"""

import contextlib
import errno
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from zope.interface import implementer

from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.errors import MessageDamaged, StorageError, TornMessage
from mailserver.interfaces import IContent, Restored, StoredCopy
from mailserver.store.content import Copy, open_message, pieces
from mailserver.store.folders import check
from mailserver.store.names import base_name


@implementer(IContent)
class _FileContent:
    """The octets of a file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.size = os.stat(path).st_size

    def chunks(self) -> Iterator[bytes]:
        with open_message(self._path) as file:
            yield from pieces(file)


class Restorer:
    """Restores copies to Maildirs below ``root``. The caller syncs them."""

    def __init__(self, root: Path, disk: Disk, damaged: DamagedFolder) -> None:
        self._root = root
        self._disk = disk
        self._damaged = damaged
        self._seen: dict[str, dict[str, list[str]]] = {}

    def look_again(self) -> None:
        """Forget what :meth:`restore` has seen of the mailboxes."""
        self._seen.clear()

    def find(self, mailbox: str, name: str) -> list[str]:
        """The paths of a message in a mailbox, normally one; two after an interrupted move.

        Raises ``OSError``.
        """
        path = f"{self._root}/{mailbox}/new/{name}"
        return [path] if os.path.lexists(path) else self._list(mailbox).get(name, [])

    def _list(self, mailbox: str) -> dict[str, list[str]]:
        """The paths in a mailbox by base name."""
        found: dict[str, list[str]] = {}
        for folder in ("new", "cur"):
            with contextlib.suppress(FileNotFoundError), os.scandir(self._root / mailbox / folder) as entries:
                for entry in entries:
                    found.setdefault(base_name(entry.name), []).append(entry.path)
        return found

    def restore(
        self, copy: StoredCopy, content: IContent | None, *, missing: bool, present: bool
    ) -> Restored:
        """See :class:`~mailserver.interfaces.IMailboxWriter`. Raises also ``OSError``."""
        there = set_aside = 0
        targets: list[tuple[str, str]] = []
        spare = []
        for mailbox in copy.mailboxes:
            if mailbox not in self._seen:
                self._seen[mailbox] = self._list(mailbox)
            found = self._look_at(mailbox, copy)
            whole = [path for path, good in found.items() if good]
            for path, good in found.items():
                if not good:
                    self._set_aside(path, mailbox, copy)
                    set_aside += 1
            there += bool(whole)
            spare += whole
            if whole and present:
                targets.append((mailbox, whole[-1]))
            elif not whole and (missing or found):
                targets.append((mailbox, f"{self._root}/{mailbox}/new/{copy.name}"))
        written = ""
        for mailbox, path in targets:
            self._make_folders(mailbox)
            temporary = f"{self._root}/{mailbox}/tmp/{copy.uid}.restored"
            with contextlib.suppress(FileNotFoundError):
                self._disk.remove(temporary)
            if not written or not self._linked(written, temporary):
                self._write(temporary, copy, content, spare)
            self._disk.rename(temporary, path)
            written = path
        return Restored(there, len(targets) - (there if present else 0), set_aside)

    def _look_at(self, mailbox: str, copy: StoredCopy) -> dict[str, bool]:
        """The paths of a copy in a mailbox, and whether each is whole."""
        while True:
            try:
                return {path: _is_whole(path, copy) for path in self._seen[mailbox].get(copy.name, [])}
            except FileNotFoundError:  # another program has just moved it
                self._seen[mailbox] = self._list(mailbox)

    def _make_folders(self, mailbox: str) -> None:
        box = self._root / mailbox
        self._disk.make_dirs(box / "cur", box / "new", box / "tmp", below=self._root)
        check(box)

    def _set_aside(self, path: str, mailbox: str, copy: StoredCopy) -> None:
        try:
            self._damaged.move(Path(path), f"{mailbox}_{copy.name}", "not the accepted octets")
        except OSError as error:
            raise TornMessage(f"{path} is incomplete and cannot be set aside: {error}") from error

    def _linked(self, known: str, path: str) -> bool:
        try:
            self._disk.link(known, path)
        except OSError:
            return False  # for example, another file system; the caller writes a copy
        return True

    def _write(self, path: str, copy: StoredCopy, content: IContent | None, spare: Sequence[str]) -> None:
        """Write a copy from the spool, from its source, or from a mailbox that has it whole."""
        candidates = [] if content is None else [Copy(copy.head, content)]
        sources = [f"{self._root}/{copy.source}"] if copy.source else []
        candidates += [Copy(b"", _FileContent(each)) for each in (*sources, *spare) if os.path.isfile(each)]
        for candidate in candidates:
            with contextlib.closing(candidate.chunks()) as chunks:
                self._disk.write_file(path, chunks, sync=False)
            if (candidate.octets, candidate.checksum) == (copy.octets, copy.checksum):
                return
            self._disk.remove(path)
        raise MessageDamaged(f"the copy of {copy.name} is damaged or missing")


def _is_whole(path: str, copy: StoredCopy) -> bool:
    """Whether a file has the octets of a copy. Raises ``OSError`` if the check is impossible now."""
    try:
        if os.lstat(path).st_size != copy.octets:
            return False
        checksum = 0
        with open_message(path) as file:
            for piece in pieces(file):
                checksum = zlib.crc32(piece, checksum)
    except StorageError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return False
    return checksum == copy.checksum
