"""Quotas: the maximum size of a mailbox, in octets and in messages.

The usage is computed from the file names, and computed again when a Maildir has changed. Between two counts,
deliveries of this process are added; removals and deliveries of others are not considered. Most mailboxes
are far from their quotas and rarely counted. That includes large ones: a count takes 2 microseconds for each
message. A mailbox without a quota is never counted.

If the server has several workers, the first one decides. The others may only deliver to mailboxes with a
large quota of which less than half is used, and count them more often. So a large quota is exceeded only if
all workers together put more than half of it into one mailbox within :data:`SHARED_FOR`.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from mailserver.mail.address import Address
from mailserver.mail.quota import Quota
from mailserver.store.files import find_files, path_of
from mailserver.store.folders import MaildirState, check
from mailserver.store.names import claimed_sizes, mailbox_path

COUNTED_FOR = 2.0  # seconds that a count of a Maildir is valid
ROOMY_FOR = 300.0  # seconds, while there is much room
SHARED_FOR = 20.0  # seconds, the same if other workers may deliver, too
MUCH_OCTETS, MUCH_MESSAGES = 1 << 30, 20_000  # more than this is much room; or half of the quota
LARGE_OCTETS, LARGE_MESSAGES = 1 << 30, 20_000  # of a large quota, at least
SHARE = 20  # a count is valid for at least this multiple of its duration

QuotaOf = Callable[[Address], Quota | None]


@attrs.define(eq=False)
class Usage:
    """The usage of a Maildir, with the state and the time of the count.

    ``holds``: the validity of the count for a nearly full mailbox, in seconds.
    """

    octets: int
    messages: int
    state: MaildirState
    counted: float
    holds: float

    def is_half_empty(self, quota: Quota, octets: int) -> bool:
        """Whether a message of so many octets fits, and less than half of the quota is used."""
        return quota.admits(2 * self.messages, 2 * self.octets, octets)

    def has_much_room(self, quota: Quota, octets: int) -> bool:
        """Whether there is still much room after a message of so many octets."""
        return self.is_half_empty(quota, octets) or quota.admits(
            self.messages + MUCH_MESSAGES, self.octets + MUCH_OCTETS, octets
        )

    def fits(self, quota: Quota, octets: int, now: float, roomy_for: float) -> bool | None:
        """Whether a message of so many octets fits; None if the count is too old to tell.

        ``roomy_for``: the validity of the count in seconds while there is much room.
        """
        age = now - self.counted
        if age < roomy_for and self.has_much_room(quota, octets):
            return True
        return quota.admits(self.messages, self.octets, octets) if age < self.holds else None


class Quotas:
    """The usage of Maildirs below ``root``. ``quota_of`` gives their quotas. For any thread."""

    def __init__(
        self,
        root: Path,
        quota_of: QuotaOf,
        now: Callable[[], float] = time.monotonic,
        *,
        alone: bool = True,
        decides: bool = True,
    ) -> None:
        """``alone``: no other process of the server delivers mail. Without ``decides`` another one decides:
        here a mailbox has room if that is certain."""
        self._root = root
        self._decides = decides
        self._roomy_for = ROOMY_FOR if alone else SHARED_FOR
        self._quota_of = quota_of
        self._now = now
        self._lock = threading.Lock()
        self._usage: dict[str, Usage] = {}

    def known(self, mailbox: Address, octets: int) -> bool | None:
        """Whether a message of so many octets fits; None if the usage must be counted. Does not block."""
        quota = self._quota_of(mailbox)
        if quota is None:
            return True
        usage = self._usage.get(mailbox_path(mailbox))
        return self._known(quota, usage, octets, self._now())

    def _known(self, quota: Quota, usage: Usage | None, octets: int, now: float) -> bool | None:
        if not (self._decides or _is_large(quota)):
            return False
        known = None if usage is None else usage.fits(quota, octets, now, self._roomy_for)
        if known and not self._decides:
            assert usage is not None
            return usage.is_half_empty(quota, octets)
        return known

    def has_room(self, mailbox: Address, octets: int) -> bool:
        """Whether a message of so many octets fits. May block; raises ``OSError`` and
        :class:`~mailserver.errors.StorageError`."""
        return self._fits(mailbox, mailbox_path(mailbox), octets)

    def take(self, mailbox: Address, path: str, octets: int) -> bool:
        """Reserve space for a message of so many octets; False if it does not fit. ``path`` is that of the
        Maildir below the root. May block, and raises as :meth:`has_room` does."""
        if not self._fits(mailbox, path, octets):
            return False
        self._add(path, octets, 1)
        return True

    def give_back(self, path: str, octets: int) -> None:
        """Release space that was reserved. ``path`` is that of the Maildir below the root."""
        self._add(path, -octets, -1)

    def forget(self, path: str) -> None:
        """Count the Maildir at this path again."""
        with self._lock:
            self._usage.pop(path, None)

    def _add(self, path: str, octets: int, messages: int) -> None:
        with self._lock:
            if usage := self._usage.get(path):
                usage.octets += octets
                usage.messages += messages

    def _fits(self, mailbox: Address, path: str, octets: int) -> bool:
        quota = self._quota_of(mailbox)
        if quota is None:
            return True
        usage, now = self._usage.get(path), self._now()
        fits = self._known(quota, usage, octets, now)
        if fits is None:
            usage = self._count(path, usage, now)
            if not self._decides:
                return usage.is_half_empty(quota, octets)
            fits = quota.admits(usage.messages, usage.octets, octets)
        return fits

    def _count(self, path: str, known: Usage | None, now: float) -> Usage:
        box = self._root / path
        state = check(box)
        if known is not None and known.state == state:
            known.counted = now
            return known
        before = (known.octets, known.messages) if known else (0, 0)
        octets, messages = count_usage(box)
        holds = max(COUNTED_FOR, SHARE * (self._now() - now))
        counted = Usage(octets, messages, state, now, holds)
        with self._lock:
            if known is not None:  # add the deliveries since the count began
                counted.octets += known.octets - before[0]
                counted.messages += known.messages - before[1]
            self._usage[path] = counted
        return counted


def _is_large(quota: Quota) -> bool:
    return (not quota.octets or quota.octets >= LARGE_OCTETS) and (
        not quota.messages or quota.messages >= LARGE_MESSAGES
    )


def count_usage(box: Path) -> tuple[int, int]:
    """The octets and the messages of a Maildir. Blocks; raises ``OSError``."""
    places = find_files(box).places
    return sum(_octets(str(box), base, place) for base, place in places.items()), len(places)


def _octets(box: str, base: str, place: str) -> int:
    claimed = claimed_sizes(base)
    try:
        return claimed[0] if claimed else os.lstat(path_of(box, base, place)).st_size
    except FileNotFoundError:
        return 0
