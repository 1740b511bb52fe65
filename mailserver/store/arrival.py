"""When a message came to a Maildir: at the last change of its file, which no move and no flag alters."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mailserver.store.files import find_files, path_of
from mailserver.store.folders import check
from mailserver.threads.turns import BATCH, turn


def has_before(box: Path, when: float) -> bool:
    """Whether a message of a Maildir came before a time, in seconds since the epoch. Blocks.

    Raises :class:`~mailserver.store.folders.FolderRefused`, or ``OSError``.
    """
    check(box)
    places = find_files(box).places
    paths = [path_of(str(box), base, place) for base, place in places.items()]
    for start in range(0, len(paths), BATCH):
        with turn():
            if any(came_before([path], when) for path in paths[start : start + BATCH]):
                return True
    return False


def came_before(paths: Sequence[str], when: float) -> bool:
    """Whether the message with these files came before a time; False if no file is there. Blocks; raises
    ``OSError``."""
    arrived = arrival(paths)
    return arrived is not None and arrived < when


def arrival(paths: Sequence[str]) -> float | None:
    """When the message with these files came, in seconds since the epoch; None if no file is there. Blocks;
    raises ``OSError``."""
    times = []
    for path in paths:
        with suppress(FileNotFoundError):
            times.append(os.lstat(path).st_mtime)
    return max(times, default=None)
