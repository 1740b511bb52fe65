"""Listings of Maildirs: the messages with their sizes and unique-ids, as one snapshot.

A scan opens only regular files whose names do not have their sizes (``measure``). The last listings are
cached: an unchanged mailbox costs four ``stat`` calls, a changed one a ``readdir``. A listing is packed: a
message takes its name and about forty more octets. A scan runs in a thread, and no step holds the lock of
the interpreter for long.
"""

import bisect
import heapq
import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from mailserver.mail.snapshot import Snapshot, Texts
from mailserver.store import names
from mailserver.store.files import Files, denied_because, find_files, path_of
from mailserver.store.folders import MaildirState, check
from mailserver.store.measure import Measure, Measurer
from mailserver.store.sizes import new_rows, row
from mailserver.threads.turns import BATCH, turn

# If the last change of a folder is older than this when it is read, any later change alters its time.
# This is enough for file systems that store whole seconds, and for clocks that tick every 10 ms.
CONCLUSIVE = 2_000_000_000  # nanoseconds
ATTEMPTS = 3
MAX_REMEMBERED = 250_000  # messages, in all listings; more than the default quota of a mailbox
SORTED_AT_ONCE = 5_000  # names, in a few milliseconds
FEW = 16  # if a 16th of the names or fewer are new, they are inserted one by one


class Listing:
    """The messages of a Maildir at the time of a scan.

    ``refused`` maps the paths that are not served to the reasons. ``conclusive`` says that any later change
    alters ``state``. ``unsaved`` are rows that are not in the index of sizes yet.
    """

    __slots__ = (
        "_box",
        "_corrected",
        "_flags",
        "_places",
        "_tails",
        "_twins",
        "conclusive",
        "messages",
        "outdated",
        "refused",
        "state",
        "unsaved",
    )

    def __init__(
        self,
        box: Path,
        state: MaildirState,
        conclusive: bool,
        refused: Mapping[str, str],
        known: "Known",
        files: Files,
    ) -> None:
        """``known`` has all messages, in order."""
        self._box = str(box)
        self.state = state
        self.conclusive = conclusive
        self.refused = refused
        self.outdated = False
        self.unsaved = new_rows()
        self._corrected: dict[str, Measure] = {}
        packed = [known.measures[base] for base in known.bases]
        self._flags = bytearray([each & 3 for each in packed])
        uids = _unique_ids(known)
        surrogates = {
            index: known.surrogates[base]
            for index, base in enumerate(known.bases if known.surrogates else ())
            if base in known.surrogates
        }
        self.messages = Snapshot(uids, [each >> 2 for each in packed], surrogates)
        # Most base names begin with the unique-id. A slash marks the others; no file name has one.
        self._tails = Texts(
            base[len(uid) :] if base.startswith(uid) else f"/{base}"
            for base, uid in zip(known.bases, uids, strict=True)
        )
        self._place(known.bases, files)

    def _place(self, bases: Iterable[str], files: Files) -> None:
        self._places = [files.places.get(base, "") for base in bases]
        self._twins = files.twins

    def base(self, index: int) -> str:
        """The base name of a message."""
        tail = self._tails[index]
        return tail[1:] if tail.startswith("/") else self.messages.uid(index) + tail

    def measure(self, index: int) -> Measure:
        """The sizes of a message."""
        return Measure.unpack(self.messages.size(index) << 2 | self._flags[index])

    def path(self, index: int) -> str:
        """The last known path of a message; "" if there is none."""
        place = self._places[index]
        return path_of(self._box, self.base(index), place) if place else ""

    def paths(self, index: int) -> list[str]:
        """The last known paths of a message, normally one."""
        base = self.base(index)
        places = self._twins.get(base) or (self._places[index],)
        return [path_of(self._box, base, place) for place in places if place]

    def look_again(self) -> None:
        """Find the files again after they were moved. Blocks; raises ``OSError``."""
        self._place(self.known().bases, find_files(Path(self._box)))

    def correct(self, index: int, measure: Measure, status: os.stat_result) -> None:
        """Correct the size of a message, from the next session on."""
        self._corrected[self.base(index)] = measure
        self.unsaved.extend(row(status, measure.packed, measure.surrogate))
        self.outdated = True

    def known(self) -> "Known":
        """The values that the next scan can reuse."""
        count = len(self.messages)
        uids, sizes = self.messages.uids(0, count), self.messages.sizes(0, count)
        bases = [
            tail[1:] if tail.startswith("/") else uid + tail
            for uid, tail in zip(uids, self._tails.between(0, count), strict=True)
        ]
        packed = [size << 2 | flags for size, flags in zip(sizes, self._flags, strict=True)]
        measures = dict(zip(bases, packed, strict=True))
        surrogates = {bases[index]: size for index, size in self.messages.surrogates.items()}
        for base, measure in self._corrected.items():
            measures[base] = measure.packed
            surrogates.pop(base, None)
            if measure.surrogate is not None:
                surrogates[base] = measure.surrogate
        return Known(bases, dict(zip(bases, uids, strict=True)), measures, surrogates)


@attrs.define
class Known:
    """Base names in order, with the unique-ids, the packed measures and the sizes of surrogates that are
    known."""

    bases: list[str] = attrs.field(factory=list)
    uids: dict[str, str] = attrs.field(factory=dict)
    measures: dict[str, int] = attrs.field(factory=dict)
    surrogates: dict[str, int] = attrs.field(factory=dict)


def _unique_ids(known: Known) -> list[str]:
    """The unique-ids of messages. If names of ours differ only in their sizes, the file that has those
    sizes gets the unique part, and the others get digests. Their order does not matter."""
    uids = [known.uids.get(base) or names.uid(base) for base in known.bases]
    if len(set(uids)) == len(uids):
        return uids
    owners: dict[str, str] = {}
    for base in known.bases:
        uid = names.uid(base)
        if uid not in owners or Measure.unpack(known.measures[base]).own:
            owners[uid] = base
    return [
        uid if owners[uid] == base else names.digest(base)
        for base, uid in zip(known.bases, map(names.uid, known.bases), strict=True)
    ]


def _in_order(bases: list[str], more: list[str]) -> list[str]:
    """Sort ``more`` into ``bases``, which are sorted already.

    Many names are sorted in parts, because one long sort would block all other threads.
    """
    if len(more) < len(bases) // FEW:
        for base in more:
            bisect.insort(bases, base, key=names.order)
        return bases
    rest = bases + more
    parts = [
        sorted(rest[start : start + SORTED_AT_ONCE], key=names.order)
        for start in range(0, len(rest), SORTED_AT_ONCE)
    ]
    return parts[0] if len(parts) == 1 else list(heapq.merge(*parts, key=names.order))


def scan(box: Path, last: Listing | None, measurer: Measurer) -> Listing:
    """List a Maildir. A missing Maildir is empty.

    Messages of the ``last`` listing are not measured again. Raises
    :class:`~mailserver.store.folders.FolderRefused`, or ``OSError``.
    """
    known = last.known() if last else Known()
    measures = known.measures
    fresh: list[str] = []
    earlier: dict[str, str] = {}
    for attempt in range(1, ATTEMPTS + 1):
        now = time.time_ns()
        state = check(box)
        files = find_files(box)
        refused = dict(files.others)
        denied = moved = False
        places = {**earlier, **files.places} if earlier else files.places
        unknown = list(places.keys() - measures.keys()) if measures else list(places)
        for start in range(0, len(unknown), BATCH):
            with turn():
                for base in unknown[start : start + BATCH]:
                    path = path_of(str(box), base, places[base])
                    try:
                        measures[base] = measurer.packed(path, base)
                        fresh.append(base)
                    except FileNotFoundError:
                        moved = True
                    except PermissionError:
                        denied = True
                        refused[path] = denied_because(path)
        # readdir may miss a file that is being renamed: list the folders again. After the last attempt, all
        # files that any attempt has seen count: a message too many is better than one that seems lost.
        if not moved and check(box).cur == state.cur:
            break
        if attempt < ATTEMPTS:
            earlier = places
        else:
            files = attrs.evolve(files, places=places)
    # A change of the owner or the mode of a file does not change its folder.
    conclusive = not denied and all(
        part is None or part.changed < now - CONCLUSIVE for part in (state.new, state.cur)
    )
    known.surrogates |= measurer.surrogates
    more = [base for base in fresh if base in files.places]
    if known.uids.keys() - files.places.keys():
        known.bases = [base for base in known.bases if base in files.places]
    known.bases = _in_order(known.bases, more)
    return Listing(box, state, conclusive, refused, known, files)


class Listings:
    """Cache of the most recent listings. For the reactor's thread."""

    __slots__ = ("_boxes", "_count")

    def __init__(self) -> None:
        self._boxes: OrderedDict[str, Listing] = OrderedDict()
        self._count = 0

    def fresh(self, box: Path) -> Listing | None:
        """The listing of a Maildir if it is up to date, else None. Raises the errors of :func:`scan`."""
        listing = self._boxes.get(str(box))
        if listing is None or listing.outdated or not listing.conclusive or check(box) != listing.state:
            return None
        self._boxes.move_to_end(str(box))
        return listing

    def last(self, box: Path) -> Listing | None:
        """The last listing of a Maildir, which may be outdated."""
        return self._boxes.get(str(box))

    def remember(self, box: Path, listing: Listing) -> None:
        """Cache a listing, unless it is too large."""
        before = self._boxes.pop(str(box), None)
        self._count += len(listing.messages) - (len(before.messages) if before else 0)
        self._boxes[str(box)] = listing
        while self._count > MAX_REMEMBERED:
            _, oldest = self._boxes.popitem(last=False)
            self._count -= len(oldest.messages)

    def outdate(self, box: str) -> None:
        """Note that this server has changed the Maildir. For any thread."""
        if listing := self._boxes.get(box):
            listing.outdated = True
