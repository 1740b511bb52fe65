"""After a crash: what the spool remembers is put where it is missing from the Maildirs.

A message is looked for by its base name in ``new/`` and ``cur/``, whatever flags another program has
given it. A file with the right octets stays; one with others is set aside.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from zope.interface import implementer

from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.errors import MessageDamaged, StorageError
from mailserver.interfaces import IContent, Restored, Stored
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
    """Puts texts into Maildirs below ``root``; what it writes is synced, but for the folders."""

    def __init__(self, root: Path, disk: Disk, damaged: DamagedFolder) -> None:
        self._root = root
        self._disk = disk
        self._damaged = damaged

    def find(self, mailbox: str, name: str) -> list[str]:
        """The paths of a message in a mailbox. Raises ``OSError``."""
        path = f"{self._root}/{mailbox}/new/{name}"
        if os.path.lexists(path):
            return [path]
        found = []
        for folder in ("new", "cur"):
            with contextlib.suppress(FileNotFoundError), os.scandir(self._root / mailbox / folder) as entries:
                found += [entry.path for entry in entries if base_name(entry.name) == name]
        return found

    def restore(self, text: Stored, content: IContent | None, *, anew: bool) -> Restored:
        """See :class:`~mailserver.interfaces.IMailboxWriter`; raises ``OSError``, too."""
        there = written = set_aside = 0
        good = ""
        missing: list[tuple[str, str]] = []
        for mailbox in text.mailboxes:
            self._make_folders(mailbox)
            found = self.find(mailbox, text.name)
            whole = next((path for path in found if _is_whole(path, text)), "")
            if anew:
                if found:
                    missing.append((mailbox, found[-1]))
            elif whole:
                there += 1
                good = good or whole
            else:
                for path in found:
                    self._damaged.move(
                        Path(path), f"{mailbox}_{text.name}", "not the octets that were taken in"
                    )
                    set_aside += 1
                missing.append((mailbox, f"{self._root}/{mailbox}/new/{text.name}"))
        for mailbox, path in missing:
            temporary = f"{self._root}/{mailbox}/tmp/{text.uid}.restored"
            with contextlib.suppress(FileNotFoundError):
                self._disk.remove(temporary)
            self._write(temporary, good, text, content)
            self._disk.rename(temporary, path)
            good = path
            written += 1
        return Restored(there, written, set_aside)

    def _make_folders(self, mailbox: str) -> None:
        box = self._root / mailbox
        self._disk.make_dirs(box / "cur", box / "new", box / "tmp", below=self._root)
        check(box)

    def _write(self, path: str, good: str, text: Stored, content: IContent | None) -> None:
        if good:
            with contextlib.suppress(OSError):  # another file system: write it there as well
                self._disk.link(good, path)
                return
        if content is not None:
            copy = Copy(text.head, content)
        else:
            source = good or (text.source and f"{self._root}/{text.source}")
            try:
                copy = Copy(b"", _FileContent(source))
            except FileNotFoundError:
                raise MessageDamaged(f"the text of {text.name} is nowhere to be found") from None
        self._disk.write_file(path, copy.chunks())
        if (copy.octets, copy.checksum) != (text.octets, text.checksum):
            self._disk.remove(path)
            raise MessageDamaged(f"the text kept for {text.name} is damaged")


def _is_whole(path: str, text: Stored) -> bool:
    """Whether a file has the octets of a text."""
    try:
        if os.lstat(path).st_size != text.octets:
            return False
        checksum = 0
        with open_message(path) as file:
            for piece in pieces(file):
                checksum = zlib.crc32(piece, checksum)
    except (OSError, StorageError):
        return False
    return checksum == text.checksum
