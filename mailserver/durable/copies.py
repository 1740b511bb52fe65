"""Copies of files and folders: linked or copied, with owner, mode and times; and the removal of folders.

All functions raise ``OSError``. The caller syncs what they write, unless the text says otherwise.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import attrs

from mailserver.durable.calls import StrPath
from mailserver.durable.disk import FOLDER_MODE, Disk

PIECE = 256 * 1024  # octets
# Another file system, one without links, a file with too many links, or a file of somebody else.
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)


@attrs.frozen
class FileAttributes:
    """The permissions of a file, the numbers of its owner and group, and its last change in nanoseconds."""

    mode: int
    uid: int
    gid: int
    mtime: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileAttributes":
        return cls(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)


def set_attributes(path: StrPath, attributes: FileAttributes) -> None:
    """Set the attributes of a file or folder that this process has created. Only root can give it away."""
    if os.geteuid() == 0:
        os.chown(path, attributes.uid, attributes.gid, follow_symlinks=False)
    os.chmod(path, attributes.mode)
    os.utime(path, ns=(attributes.mtime, attributes.mtime), follow_symlinks=False)


def open_regular(path: StrPath) -> int:
    """Open a regular file, and no other, to read it. The caller closes the descriptor."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def octets_of(descriptor: int) -> Iterator[bytes]:
    """The octets of an open file, in pieces."""
    while piece := os.read(descriptor, PIECE):
        yield piece


def copy_open(
    disk: Disk, descriptor: int, target: StrPath, observe: Callable[[bytes], object], *, sync: bool
) -> None:
    """Copy an open file, with its attributes, to a new name. ``observe`` gets the octets, too.

    With ``sync``, the file is synced, but not its folder.
    """

    def observed() -> Generator[bytes, None, None]:
        for piece in octets_of(descriptor):
            observe(piece)
            yield piece

    attributes = FileAttributes.of(os.fstat(descriptor))
    with contextlib.closing(observed()) as chunks:
        disk.write_file(target, chunks, sync=False)
    set_attributes(target, attributes)
    if sync:
        disk.sync_file(target)


def link(disk: Disk, source: StrPath, target: StrPath) -> bool:
    """Give a file a second name, on the same file system. False if only a copy is possible."""
    try:
        disk.link(source, target)
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return False
        raise
    return True


def link_or_copy(disk: Disk, source: StrPath, target: StrPath) -> None:
    """Give a file a second name, or copy it."""
    if not link(disk, source, target):
        descriptor = open_regular(source)
        try:
            copy_open(disk, descriptor, target, len, sync=False)
        finally:
            os.close(descriptor)


def make_folders(disk: Disk, path: Path) -> None:
    """Create a folder and its missing parents. Nothing is synced."""
    if not path.is_dir():
        make_folders(disk, path.parent)
        with contextlib.suppress(FileExistsError):
            disk.calls.mkdir(path, FOLDER_MODE)


def remove_tree(disk: Disk, folder: Path) -> None:
    """Remove a folder with all its content. It may be missing, or vanish meanwhile. Nothing is synced."""
    with contextlib.suppress(FileNotFoundError):
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False):
                remove_tree(disk, Path(entry.path))
            else:
                with contextlib.suppress(FileNotFoundError):
                    disk.remove(entry.path)
        disk.calls.rmdir(folder)


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)
