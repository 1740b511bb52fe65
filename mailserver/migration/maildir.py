"""A Maildir as a source. Its messages keep their names, their flags and their times."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mailserver.errors import StorageError
from mailserver.mail.words import counted
from mailserver.migration.source import SourceMessage
from mailserver.store.content import open_message, pieces
from mailserver.store.files import find_files, path_of
from mailserver.store.names import order, unique_part

LONGEST_INFO = 64  # octets of flags


class MaildirSource:
    """The Maildir at ``path``. ``uids`` are the unique-ids to keep, by base name.

    Only regular files are read, and no symbolic link below ``path`` is followed: root may read a Maildir
    that belongs to somebody else.
    """

    def __init__(self, path: Path, uids: Mapping[str, str] = {}, *, may_be_new: bool = False) -> None:
        """``may_be_new``: the Maildir need not exist yet. Raises ``OSError``, and
        :class:`~mailserver.errors.StorageError` if it is no Maildir."""
        self._path = path
        self._uids = uids
        self.problems: list[str] = []
        found = [name for name in ("new", "cur") if os.path.lexists(path / name)]
        for name in found:
            if not stat.S_ISDIR(os.lstat(path / name).st_mode):
                raise StorageError(f"{path / name} is not a folder")
        if not found and not may_be_new:
            raise StorageError(f"{path} is not a Maildir: it has neither new nor cur")

    def messages(self) -> Iterator[SourceMessage]:
        """See :class:`~mailserver.migration.source.MessageSource`."""
        files = find_files(self._path)
        self.problems += [f"{path}: {kind}, not a message" for path, kind in files.others.items()]
        for base in sorted(files.places, key=order):
            place = files.places[base]
            path = path_of(str(self._path), base, place)
            try:
                when = os.lstat(path).st_mtime
            except FileNotFoundError:
                when = 0.0  # moved or removed; opening it looks for it again
            unique = unique_part(base)
            # Everything in new/ is unread, whatever its name says.
            info = place[3:] if place.startswith("cur") and len(place) <= LONGEST_INFO else ""
            yield SourceMessage(
                path, unique, base[len(unique) :], info or (":2," if place.startswith("cur") else ""),
                self._uids.get(base), when, partial(self._open, path, base),
            )  # fmt: skip

    @contextmanager
    def _open(self, path: str, base: str) -> Iterator[Iterator[bytes]]:
        try:
            file = open_message(path)
        except FileNotFoundError:
            place = find_files(self._path).places.get(base)
            if place is None:
                raise
            file = open_message(path_of(str(self._path), base, place))
        with file:
            yield pieces(file)


def folders_of(path: Path) -> dict[str, Path]:
    """The folders of a Maildir++ below it, by name, such as "Sent" for ``.Sent``. Raises ``OSError``."""
    if not path.is_dir():
        return {}
    return {
        entry.name[1:]: Path(entry.path)
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name)
        if entry.name.startswith(".")
        and entry.name not in (".", "..")
        and entry.is_dir(follow_symlinks=False)
        and Path(entry.path, "cur").is_dir()
    }


def folder_remark(name: str, path: Path) -> str:
    """A line about a folder that is not transferred."""
    number = len(find_files(path).places)
    return f"folder {name}: {counted(number, 'message')} not included; use --folder {name}"
