"""Checks Maildirs and reports problems. Changes nothing.

Other programs and this server may use the Maildirs at the same time; a file that is being moved is not
reported. Foreign files are read, to count their octets with CRLF line ends. Files that this server has
stored are not read as a whole.
"""

import filecmp
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from mailserver.durable.disk import FOLDER_MODE
from mailserver.errors import StorageError
from mailserver.mail.finding import Finding
from mailserver.store import names
from mailserver.store.content import open_message
from mailserver.store.folders import STALE_AFTER
from mailserver.store.measure import measure_open

KINDS = ("mailbox", "message")
PAUSE = 0.5  # seconds until a new mailbox has all its folders

_OTHERS = 0o077
_INFO = re.compile(r"[12],.*", re.DOTALL)  # maildir(5)
_OCTETS = re.compile(r"[0-9]{1,18}")
_NOT_OURS = "lost+found"  # created by a file system that is mounted at the root

Findings = Iterator[str | Finding]
_Look = Callable[[Path, os.stat_result], Iterator[Finding]]


def verify(root: Path) -> Findings:
    """Check all mailboxes below ``root``. Yields "mailbox" and "message" for each one that was checked, and
    the findings. A root that does not exist has no mailboxes. Raises ``OSError``."""
    missing: list[Path] = []
    for found in _mailboxes(root, _folder):
        if isinstance(found, Finding):
            yield found
        else:
            yield "mailbox"
            yield from _mailbox(found, missing)
    if missing:
        time.sleep(PAUSE)
    for folder in missing:
        if folder.parent.is_dir() and not os.path.lexists(folder):
            yield Finding(folder, "is missing", "be created")


def verify_folders(root: Path, owner: int | None = None) -> Findings:
    """Check only the owners and the names of folders. The server neither delivers to a folder of another user
    nor serves one with a wrong name. ``owner`` is the id of the server's user, by default that of this
    process. Yields "mailbox" for each, and the findings. Raises ``OSError``."""
    look = partial(_owner, owner=owner)
    for found in _mailboxes(root, look):
        if isinstance(found, Finding):
            yield found
            continue
        yield "mailbox"
        for name in ("new", "cur", "tmp"):
            with suppress(OSError):
                yield from look(found / name, (found / name).lstat())


def _mailboxes(root: Path, look: _Look) -> Iterator[Path | Finding]:
    """All mailboxes, and the findings about their folders and the folders above."""
    if not os.path.lexists(root):
        return
    yield from _outer(root, look)
    for domain in (yield from _folders_in(root)):
        if domain.name == _NOT_OURS:
            continue
        yield from _outer(domain, look)
        for box in (yield from _folders_in(domain)):
            yield from _outer(box, look)
            if box.is_dir():
                yield from _misnamed(box)
                yield box


def _folders_in(folder: Path) -> Generator[Finding, None, list[Path]]:
    """The entries of a folder; none if it is no folder or cannot be read."""
    if not folder.is_dir():
        return []
    try:
        return _entries(folder)
    except OSError as error:
        yield _unreadable(folder, error)
        return []


def _entries(folder: Path) -> list[Path]:
    with os.scandir(folder) as found:
        return sorted(Path(entry.path) for entry in found)


def _outer(path: Path, look: _Look) -> Iterator[Finding]:
    """Check the folder of a domain or of a mailbox. It may be a symbolic link."""
    try:
        status = path.stat()
    except OSError as error:
        yield _unreadable(path, error)
        return
    if stat.S_ISDIR(status.st_mode):
        yield from look(path, status)
    else:
        yield Finding(path, "is not a folder", "be left alone")


def _misnamed(box: Path) -> Iterator[Finding]:
    name = f"{box.parent.name}/{box.name}"
    try:
        written = names.written(name)
    except StorageError:
        written = "another name"
    if written != name:
        wrong = "is not the name of a mailbox, so its mail is not served"
        yield Finding(box, wrong, f"be moved to {written}")


def _folder(path: Path, status: os.stat_result) -> Iterator[Finding]:
    yield from _owner(path, status)
    mode = stat.S_IMODE(status.st_mode) & 0o777
    if mode != FOLDER_MODE:
        yield Finding(path, f"has mode {mode:04o}", f"get mode {FOLDER_MODE:04o}")


def _owner(path: Path, status: os.stat_result, owner: int | None = None) -> Iterator[Finding]:
    owner = os.geteuid() if owner is None else owner
    if status.st_uid != owner:
        wrong = f"belongs to user {status.st_uid}, not to the server's {owner}"
        yield Finding(path, wrong, "be given to the server's user")


def _mailbox(box: Path, missing: list[Path]) -> Findings:
    found: dict[str, list[Path]] = {}
    # new/ before cur/: a file that is moved meanwhile is seen twice and not missed
    for name in ("new", "cur", "tmp"):
        folder = box / name
        try:
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode):
                yield Finding(folder, "is not a folder", "be left alone, and mail for it deferred")
                continue
            yield from _folder(folder, status)
            entries = _entries(folder)
        except FileNotFoundError:
            missing.append(folder)
            continue
        except OSError as error:
            yield _unreadable(folder, error)
            continue
        for path in entries:
            yield from _temporary(path) if name == "tmp" else _file(path, found)
    for paths in found.values():
        if len(paths) > 1:
            yield from _same_name(paths)


def _temporary(path: Path) -> Iterator[Finding]:
    try:
        status = path.lstat()
    except OSError:
        return  # finished meanwhile
    if not stat.S_ISREG(status.st_mode):
        yield Finding(path, "is not a regular file", "be left alone")
    elif (age := time.time() - status.st_mtime) > STALE_AFTER:
        yield Finding(path, f"is a temporary file, {age / 3600:.0f} hours old", "be removed")


def _file(path: Path, found: dict[str, list[Path]]) -> Findings:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            yield Finding(path, "is not a regular file", "be left alone, and not served")
            return
        if path.name.startswith("."):
            yield Finding(path, "begins with a dot, so it is not served", "be left alone")
            return
        with open_message(str(path)) as file:
            base = names.base_name(path.name)
            status = os.fstat(file.fileno())
            measure = measure_open(file.fileno(), status.st_size, base)
            mode, octets = stat.S_IMODE(status.st_mode), status.st_size
    except FileNotFoundError:
        return  # moved or removed meanwhile
    except (OSError, StorageError) as error:
        yield _unreadable(path, error)
        return
    yield "message"
    found.setdefault(base.partition(",")[0], []).append(path)
    if mode & _OTHERS:
        yield Finding(path, f"has mode {mode:04o}, so others may use it", f"get mode {mode & ~_OTHERS:04o}")
    yield from _name(path, octets, measure.sent if measure.own else measure.octets)


def _name(path: Path, octets: int, sent: int) -> Iterator[Finding]:
    """Compare a name with the file, which has ``octets``, and ``sent`` octets with CRLF line ends."""
    base, colon, info = path.name.partition(":")
    unique, *fields = base.split(",")
    if not unique or (colon and not _INFO.fullmatch(info)):
        yield Finding(path, "has a name that is invalid in a Maildir", "be served nevertheless")
    actual = {"S": octets, "W": sent}
    wrong = []
    for index, field in enumerate(fields):
        letter, equals, claimed = field.partition("=")
        if equals and letter in actual:
            fields[index] = f"{letter}={actual[letter]}"
            if not _OCTETS.fullmatch(claimed) or int(claimed) != actual[letter]:
                wrong.append(f"{field} in its name should be {fields[index]}")
    if wrong:
        right = ",".join([unique, *fields]) + colon + info
        yield Finding(path, " and ".join(wrong), f"be renamed to {right}")


def _same_name(paths: Sequence[Path]) -> Iterator[Finding]:
    """Report all but the last path, which is the one that is served."""
    for path in paths[:-1]:
        wrong = f"has the unique name of {paths[-1].parent.name}/{paths[-1].name}"
        try:
            same = filecmp.cmp(path, paths[-1], shallow=False)
        except OSError:
            continue  # moved or removed meanwhile, or reported as unreadable before
        if same:
            yield Finding(path, f"{wrong}, and the same content", "be removed")
        else:
            yield Finding(path, f"{wrong}, and other content", "get a new unique name")


def _unreadable(path: Path, error: OSError | StorageError) -> Finding:
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return Finding(path, f"cannot be read: {reason}", "be left alone")
