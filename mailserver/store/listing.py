"""What is in a Maildir: its messages, their sizes and unique-ids, as one snapshot.

A scan never opens what is not a regular file. A size is taken from the file's name where that can
be believed; otherwise the file is read once. Both are remembered, so that a mailbox that has not
changed costs four ``stat`` calls and one that has costs a ``readdir``.
"""

import io
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import attrs

from mailserver.interfaces import MessageInfo
from mailserver.store import names
from mailserver.store.content import open_message, pieces, sent_size, with_crlf
from mailserver.store.folders import MaildirState, check

# A folder whose last change is older than this when it is read shows every later change by its
# time: enough for file systems that count whole seconds and clocks that tick every 10 ms.
SETTLED = 2_000_000_000  # nanoseconds
ATTEMPTS = 3
MAX_REMEMBERED = 100_000  # messages, in all listings together


@attrs.frozen
class Entry:
    """One message. ``octets`` is the length of what is read.

    ``own``: this server stored the file, and it is sent as it is. A file under a name of ours whose
    length is not the one in its name has been changed by another program, and is not our own.
    """

    base: str
    order: names.Order
    info: MessageInfo
    octets: int
    own: bool


@attrs.define(eq=False)
class Listing:
    """The messages of a Maildir when it was scanned.

    ``files`` has the paths of each base name: normally one; two where another program was cut
    short while it moved a file, the one in ``cur/`` last. ``refused`` has the paths of what is not
    served, each with the reason. A listing is ``settled`` if the state tells of every later change.
    """

    state: MaildirState
    settled: bool
    entries: tuple[Entry, ...]
    messages: tuple[MessageInfo, ...]
    files: Mapping[str, tuple[str, ...]]
    refused: Mapping[str, str]
    known: dict[str, Entry]
    outdated: bool = False

    def correct(self, entry: Entry) -> None:
        """The size of a message turned out to be another: right from the next session on."""
        self.known[entry.base] = entry
        self.outdated = True


def find_files(box: Path) -> tuple[dict[str, list[os.DirEntry[str]]], dict[str, str]]:
    """The regular files in ``new/`` and ``cur/`` by base name, and what the other paths there are.

    ``new/`` comes first: a file that is moved to ``cur/`` meanwhile is seen twice and not missed.
    """
    files: dict[str, list[os.DirEntry[str]]] = {}
    others = {}
    for folder in ("new", "cur"):
        try:
            with os.scandir(box / folder) as found:
                for file in found:
                    if file.name.startswith("."):
                        continue
                    if file.is_file(follow_symlinks=False):
                        files.setdefault(names.base_name(file.name), []).append(file)
                    else:
                        others[file.path] = _kind(file)
        except FileNotFoundError:
            continue
    return files, others


def _kind(file: "os.DirEntry[str]") -> str:
    if file.is_symlink():
        return "a symbolic link"
    return "a folder" if file.is_dir(follow_symlinks=False) else "no regular file"


def _denied(path: str) -> str:
    """Why a file cannot be opened, as far as its owner and its mode tell."""
    status = os.lstat(path)
    mode = stat.S_IMODE(status.st_mode)
    return (
        f"permission denied: it belongs to user {status.st_uid} and has mode {mode:04o}; "
        f"the server runs as user {os.geteuid()}"
    )


def paths(files: Mapping[str, list[os.DirEntry[str]]]) -> dict[str, tuple[str, ...]]:
    return {base: tuple(file.path for file in found) for base, found in files.items()}


def scan(box: Path, known: Mapping[str, Entry]) -> Listing:
    """Take a snapshot of a Maildir; one that does not exist is empty.

    ``known`` are entries of an earlier one, which need not be measured again. Raises
    :class:`~mailserver.store.folders.FolderRefused`, or ``OSError``.
    """
    entries = dict(known)
    attempt = 0
    files: dict[str, list[os.DirEntry[str]]] = {}
    while True:
        attempt += 1
        now = time.time_ns()
        state = check(box)
        found, refused = find_files(box)
        denied = False
        files = {**files, **found}
        moved = False
        for base in files.keys() - entries.keys():
            try:
                entries[base] = measure(files[base][-1].path, base)
            except FileNotFoundError:
                moved = True
            except PermissionError:
                denied = True
                refused[files[base][-1].path] = _denied(files[base][-1].path)
        # While a file is being renamed readdir may miss it: look again. If that goes on and on, what was
        # seen in any attempt counts: better a message too many than one that seems to be gone.
        if not moved and check(box).cur == state.cur:
            files = found
            break
        if attempt == ATTEMPTS:
            break
    present = sorted((entries[base] for base in files if base in entries), key=lambda entry: entry.order)
    return Listing(
        state=state,
        # Another owner or mode of a file is no change of its folder.
        settled=not denied
        and all(part is None or part.changed < now - SETTLED for part in (state.new, state.cur)),
        entries=tuple(present),
        messages=_distinct(present),
        files=paths(files),
        refused=refused,
        known={entry.base: entry for entry in present},
    )


def measure(path: str, base: str) -> Entry:
    """The entry of a file, by its name if that can be believed, else by reading it.

    Raises ``OSError``, or :class:`~mailserver.errors.StorageError` for what is no regular file.
    """
    claimed = names.claimed_sizes(base)
    if claimed is not None and names.is_own(base) and _fits(claimed, os.lstat(path).st_size):
        return _entry(base, *claimed, own=True)
    with open_message(path) as file:
        return measure_open(file, base, claimed)


def measure_open(file: io.FileIO, base: str, claimed: tuple[int, int] | None = None) -> Entry:
    """The entry of an open file. A file of another program is read, unless ``claimed`` can be believed."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(length - 2, 0))
    ending = file.read(2)
    file.seek(0)
    ours = names.claimed_sizes(base) if names.is_own(base) else None
    if ours is not None and _fits(ours, length):
        return _entry(base, length, sent_size(length, ending), own=True)
    if ours is None and claimed is not None and claimed[0] == length and length <= claimed[1] <= 2 * length:
        octets = claimed[1]
    else:
        octets = sum(map(len, with_crlf(pieces(file))))
    return _entry(base, octets, sent_size(octets, b"\r\n" if ending.endswith(b"\n") else ending), own=False)


def _fits(claimed: tuple[int, int], length: int) -> bool:
    """Whether a file of that many octets can be what this server stored under such a name."""
    stored, sent = claimed
    return stored == length and sent in (stored, stored + 2)


def _entry(base: str, octets: int, sent: int, own: bool) -> Entry:
    return Entry(base, names.order(base), MessageInfo(names.uid(base), sent), octets, own)


def _distinct(entries: list[Entry]) -> tuple[MessageInfo, ...]:
    """The messages. Of names of ours that differ in their sizes alone all but the first get a digest."""
    messages = {entry.info.uid: entry.info for entry in reversed(entries)}
    if len(messages) == len(entries):
        return tuple(entry.info for entry in entries)
    return tuple(
        entry.info
        if messages[entry.info.uid] is entry.info
        else attrs.evolve(entry.info, uid=names.digest(entry.base))
        for entry in entries
    )


class Listings:
    """The listings of the mailboxes used last. For the reactor's thread."""

    __slots__ = ("_boxes", "_count")

    def __init__(self) -> None:
        self._boxes: OrderedDict[str, Listing] = OrderedDict()
        self._count = 0

    def fresh(self, box: Path) -> Listing | None:
        """The listing of a Maildir if it still holds. Raises what :func:`scan` does."""
        listing = self._boxes.get(str(box))
        if listing is None or listing.outdated or not listing.settled or check(box) != listing.state:
            return None
        self._boxes.move_to_end(str(box))
        return listing

    def last(self, box: Path) -> Listing | None:
        """The last listing of a Maildir, whether it still holds or not."""
        return self._boxes.get(str(box))

    def remember(self, box: Path, listing: Listing) -> None:
        before = self._boxes.pop(str(box), None)
        self._count += len(listing.entries) - (len(before.entries) if before else 0)
        self._boxes[str(box)] = listing
        while self._count > MAX_REMEMBERED and len(self._boxes) > 1:
            _, oldest = self._boxes.popitem(last=False)
            self._count -= len(oldest.entries)

    def outdate(self, box: str) -> None:
        """The Maildir has been changed by this server. For any thread."""
        if listing := self._boxes.get(box):
            listing.outdated = True
