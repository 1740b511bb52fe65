"""The files of a Maildir."""

import os
import stat
from pathlib import Path

import attrs


@attrs.frozen
class Files:
    """The regular files of a Maildir.

    ``places`` maps each base name to the folder of the file, followed by the rest of its name:
    ``cur:2,S`` or ``new``. If another program was interrupted while it moved a file, ``twins`` has all
    its places, the one in ``cur/`` last. ``others`` maps the paths that are no regular files to their kinds.
    """

    places: dict[str, str]
    twins: dict[str, tuple[str, ...]]
    others: dict[str, str]


def path_of(box: str, base: str, place: str) -> str:
    """The path of a file in a Maildir."""
    return f"{box}/{place[:3]}/{base}{place[3:]}"


def find_files(box: Path) -> Files:
    """List ``new/`` and ``cur/``.

    ``new/`` comes first: a file that is moved to ``cur/`` meanwhile is seen twice and not missed.
    """
    files = Files({}, {}, {})
    same: dict[str, str] = {}  # one object for all files with the same flags
    for folder in ("new", "cur"):
        try:
            with os.scandir(box / folder) as found:
                for file in found:
                    name = file.name
                    if name.startswith("."):
                        continue
                    if not file.is_file(follow_symlinks=False):
                        files.others[file.path] = _kind(file)
                        continue
                    base, colon, info = name.partition(":")  # as names.base_name does
                    place = folder
                    if colon:
                        place = f"{folder}:{info}"
                        place = same.setdefault(place, place)
                    if base in files.places:
                        files.twins[base] = (*files.twins.get(base, (files.places[base],)), place)
                    files.places[base] = place
        except FileNotFoundError:
            continue
    return files


def _kind(file: "os.DirEntry[str]") -> str:
    if file.is_symlink():
        return "a symbolic link"
    return "a folder" if file.is_dir(follow_symlinks=False) else "no regular file"


def denied_because(path: str) -> str:
    """The reason why a file cannot be opened, with its owner and its mode."""
    status = os.lstat(path)
    mode = stat.S_IMODE(status.st_mode)
    return (
        f"permission denied: it belongs to user {status.st_uid} and has mode {mode:04o}; "
        f"the server runs as user {os.geteuid()}"
    )
