"""Moves a Maildir to another place, as one step if nothing is there yet, else file by file.

Repeating a move after an interruption completes it: a file is in the old place or in the new one.
"""

import filecmp
import os
from pathlib import Path

from mailserver.durable.disk import Disk
from mailserver.errors import StorageRefused
from mailserver.store import sizes
from mailserver.store.files import find_files

_FOLDERS = ("new", "cur", "tmp")


def check_move(root: Path, old: str, new: str) -> None:
    """Check whether the Maildir ``old`` can move to ``new``; both are paths below ``root``.

    Raises :class:`~mailserver.errors.StorageRefused`, or ``OSError``.
    """
    if find_files(root / new).places:
        raise StorageRefused(f"{root / new} has messages already; move them away first")
    if not os.path.lexists(root / old):
        return
    above = next(folder for folder in (root / new).parents if folder.is_dir())
    if above.stat().st_dev != (root / old).parent.stat().st_dev or (root / old).is_mount():
        raise StorageRefused(f"{root / old} and {root / new} are on different file systems")


def move_maildir(root: Path, old: str, new: str, disk: Disk) -> None:
    """Move the Maildir ``old`` to ``new``; both are paths below ``root``. Nobody may write to ``old``.

    Raises :class:`~mailserver.errors.StorageRefused` for a message that is in both places with other octets,
    or ``OSError``.
    """
    source, target = root / old, root / new
    if not os.path.lexists(source):
        return
    disk.make_dirs(target.parent, below=root)
    if os.path.lexists(target):
        _merge(source, target, disk)
    else:
        disk.rename(source, target)
    for folder in {target.parent, source.parent}:
        disk.sync_dir(folder)


def _merge(source: Path, target: Path, disk: Disk) -> None:
    """Move everything in ``source`` to ``target``, and remove it."""
    disk.make_dirs(*(target / name for name in _FOLDERS), below=target.parent)
    with os.scandir(source) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        place = target / entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name in _FOLDERS and is_folder:
            _move_files(Path(entry.path), place, disk)
        elif not os.path.lexists(place):
            disk.rename(entry.path, place)
        elif is_folder:
            _merge(Path(entry.path), place, disk)  # a folder of the mailbox, such as .Sent
        elif entry.name == sizes.NAME or entry.name.startswith("dovecot"):
            disk.remove(entry.path)  # made anew from the messages
        else:
            raise StorageRefused(f"{entry.path} and {place} exist; move one of them away")
    disk.sync_dir(target)
    disk.remove_dir(source)


def _move_files(source: Path, target: Path, disk: Disk) -> None:
    for name in sorted(os.listdir(source)):
        place = target / name
        if os.path.lexists(place):
            # Unique names never mean two messages, unless somebody has copied one.
            if not filecmp.cmp(source / name, place, shallow=False):
                raise StorageRefused(f"{source / name} and {place} differ; move one of them away")
            disk.remove(source / name)
        else:
            disk.rename(source / name, place)
    disk.sync_dir(target)
    disk.remove_dir(source)
