"""Puts messages from elsewhere into a Maildir, in groups: written to ``tmp/``, synced, then made visible.

No database takes part, so this works beside a running server, which treats the messages like those of other
programs that deliver. A crash leaves whole messages, and files in ``tmp/`` that the next intake removes.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import attrs

from mailserver.durable.disk import Disk
from mailserver.durable.group import GroupSync
from mailserver.durable.room import require_room
from mailserver.errors import StorageError
from mailserver.store import names
from mailserver.store.content import open_message, pieces
from mailserver.store.files import find_files, path_of
from mailserver.store.folders import check

STAGED = ".intake"
MAX_BASE = 255 - 16  # octets of a file name, without those for flags


@attrs.frozen
class _StagedMessage:
    """A message in ``tmp/``, with the path that it gets and the digest of its source."""

    temporary: str
    base: str
    path: str
    digest: bytes


class MaildirIntake:
    """A Maildir that takes messages: ``path``, below the existing folder ``root``.

    ``key_of`` gives the key of the unique part of a name; a message is there if one with its key is.
    ``reserve`` is how many octets of the disk must stay free. The methods block, and raise ``OSError`` and
    :class:`~mailserver.errors.StorageError`.
    """

    def __init__(
        self, root: Path, path: Path, disk: Disk, *, key_of: Callable[[str], str], reserve: int = 0
    ) -> None:
        self.path = path
        self._root = root
        self._disk = disk
        self._key_of = key_of
        self._reserve = reserve
        self._sync = GroupSync(disk, path)
        self._lock: int | None = None
        self._bases: dict[str, str] = {}  # by key
        self._places: dict[str, str] = {}
        self._uids: set[str] = set()
        self._staged: list[_StagedMessage] = []

    def open(self) -> None:
        """Make missing folders, and lock the Maildir against other intakes."""
        folders = [self.path / name for name in ("cur", "new", "tmp")]
        self._disk.make_dirs(*folders, below=self._root)
        check(self.path)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sync.open()
            for name in os.listdir(self.path / "tmp"):
                if name.endswith(STAGED):  # left by a crash
                    self._disk.remove(self.path / "tmp" / name)
            self._look()
        except BaseException as error:
            self.close()
            if isinstance(error, BlockingIOError):
                raise StorageError(f"another command puts messages into {self.path}") from None
            raise
        self._uids = {names.uid(base) for base in self._places}

    def _look(self) -> None:
        self._places = find_files(self.path).places
        self._bases = {self._key_of(names.unique_part(base)): base for base in self._places}

    def close(self) -> None:
        """Release the lock. Messages that were not committed are removed. May be called more than once."""
        for each in self._staged:
            with suppress(FileNotFoundError):
                self._disk.remove(each.temporary)
        self._staged.clear()
        if self._lock is not None:
            self._sync.close()
            os.close(self._lock)
            self._lock = None

    def has(self, key: str) -> bool:
        """Whether a message with this key is there, or was put since :meth:`open`."""
        return key in self._bases

    def digest(self, key: str) -> bytes | None:
        """The digest of the message with this key; None if it was removed meanwhile."""
        for look_again in (False, True):
            if look_again:
                self._look()
            base = self._bases.get(key, "")
            if place := self._places.get(base):
                with (
                    suppress(FileNotFoundError),
                    open_message(path_of(str(self.path), base, place)) as file,
                ):
                    return digest(pieces(file))
        return None

    def stage(
        self, unique: str, fields: str, info: str, uid: str | None, when: float, chunks: Iterable[bytes]
    ) -> bool:
        """Write a message to ``tmp/``. ``fields``, ``info``, ``uid`` and ``when`` are those of
        :class:`~mailserver.migration.source.SourceMessage`. Returns whether it keeps the unique-id: not if
        another message has it, or if its name would be too long."""
        require_room(self.path, self._reserve)
        base = f"{unique}{fields}"
        keeps = uid is not None and uid not in self._uids and names.kept_uid(base) is None
        if keeps and uid is not None:
            keeps = len(os.fsencode(names.with_uid(base, uid))) <= MAX_BASE
            base = names.with_uid(base, uid) if keeps else base
        temporary = f"{self.path}/tmp/{os.getpid()}.{len(self._staged)}{STAGED}"
        hashed = HashedPieces(chunks)
        self._disk.write_file(temporary, hashed, sync=False)
        self._disk.set_time(temporary, when)
        place = f"cur{info}" if info else "new"
        path = path_of(str(self.path), base, place)
        self._staged.append(_StagedMessage(temporary, base, path, hashed.digest))
        self._bases[self._key_of(unique)] = base
        self._places[base] = place
        self._uids.add(names.uid(base))
        return keeps

    def commit(self) -> list[str]:
        """Make the staged messages durable and visible. Returns the names of those whose octets differ from
        what was put, which are removed again."""
        staged, self._staged = self._staged, []
        temporary = [each.temporary for each in staged]
        if not self._sync.sync_everything_in([self.path / "tmp"]):
            for path in temporary:
                self._disk.sync_file(path)
        for each in staged:
            self._disk.rename(each.temporary, each.path)
        for folder in ("new", "cur"):
            self._disk.sync_dir(self.path / folder)
        return [each.base for each in staged if not self._is_whole(each)]

    def _is_whole(self, each: _StagedMessage) -> bool:
        found = self.digest(self._key_of(names.unique_part(each.base)))
        return found in (None, each.digest)


class HashedPieces:
    """Passes octets on, and computes their digest."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.blake2b(digest_size=32)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hash.update(chunk)
            yield chunk

    @property
    def digest(self) -> bytes:
        return self._hash.digest()


def digest(chunks: Iterable[bytes]) -> bytes:
    """The digest by which messages are compared."""
    hashed = hashlib.blake2b(digest_size=32)
    for chunk in chunks:
        hashed.update(chunk)
    return hashed.digest()
