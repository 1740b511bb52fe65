"""All Maildirs of a store, as a source and as a target of ``engines``."""

import os
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from mailserver.durable.disk import Disk
from mailserver.errors import StorageError, storage_error
from mailserver.mail.words import counted
from mailserver.migration.engines import CopiedMessage, NotTaken
from mailserver.migration.maildir import folders_of
from mailserver.store import names, sizes
from mailserver.store.arrival import arrival
from mailserver.store.content import CRLFPieces, open_message, pieces
from mailserver.store.files import find_files
from mailserver.store.folders import check
from mailserver.store.intake import MAX_BASE, MaildirIntake
from mailserver.store.listing import Listing, scan
from mailserver.store.measure import Measurer

MICROSECOND = 1_000_000  # in a second


class Maildirs:
    """The Maildirs below ``data/mail``. ``reserve`` is how many octets of the disk must stay free.

    ``remarks`` has a line for each folder of a mailbox, such as Sent: POP3 has no folders, so they stay.
    """

    def __init__(self, data: Path, disk: Disk, reserve: int = 0) -> None:
        self._data = data
        self._root = data / "mail"
        self._disk = disk
        self._reserve = reserve
        self.problems: list[str] = []
        self.remarks: list[str] = []

    def paths(self) -> Sequence[str]:
        """See :class:`~mailserver.migration.engines.SourceMailboxes`."""
        found = []
        for domain in _folders_in(self._root):
            for box in _folders_in(domain):
                if not any((box / name).is_dir() for name in ("new", "cur")):
                    continue
                path = f"{domain.name}/{box.name}"
                if _is_written(path):
                    found.append(path)
                else:
                    self.problems.append(f"{box}: is not the name of a mailbox, so it is not copied")
        return found

    def listed(self, path: str) -> "ListedMaildir":
        """See :class:`~mailserver.migration.engines.SourceMailboxes`."""
        box = self._root / path
        try:
            check(box)
            listing = scan(box, None, Measurer(sizes.load(box)))
            for name, folder in folders_of(box).items():
                number = counted(len(find_files(folder).places), "message")
                line = f"{path}: folder {name}: {number} not copied"
                if line not in self.remarks:
                    self.remarks.append(line)
        except OSError as error:
            raise storage_error(error) from error
        for place, reason in listing.refused.items():
            line = f"{place} is not copied: {reason}"
            if line not in self.problems:
                self.problems.append(line)
        return ListedMaildir(listing)

    @contextmanager
    def adding(self, path: str) -> Iterator["MaildirAddition"]:
        """See :class:`~mailserver.migration.engines.TargetMailboxes`."""
        intake = MaildirIntake(
            self._data, self._root / path, self._disk, key_of=lambda unique: unique, reserve=self._reserve
        )
        intake.open()
        try:
            yield MaildirAddition(intake)
        finally:
            intake.close()


def _folders_in(path: Path) -> list[Path]:
    """The folders in a folder, also behind a symbolic link. Those with a dot, and "lost+found", are none of
    ours."""
    if not path.is_dir():
        return []
    with os.scandir(path) as entries:
        found = [
            Path(each.path)
            for each in entries
            if each.is_dir() and not each.name.startswith(".") and each.name != "lost+found"
        ]
    return sorted(found)


def _is_written(path: str) -> bool:
    try:
        return names.written(path) == path
    except StorageError:
        return False


class ListedMaildir:
    """See :class:`~mailserver.migration.engines.ListedMailbox`."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self.messages = listing.messages
        self.whens = array(
            "d", (arrival(listing.paths(index)) or 0.0 for index in range(len(listing.messages)))
        )

    def octets(self, index: int) -> int:
        """See :class:`~mailserver.migration.engines.ListedMailbox`."""
        return self._listing.measure(index).octets

    def chunks(self, index: int) -> Iterator[bytes]:
        """See :class:`~mailserver.migration.engines.ListedMailbox`."""
        is_own = self._listing.measure(index).own
        try:
            with open_message(self._listing.path(index)) as file:
                yield from pieces(file) if is_own else CRLFPieces().pieces(pieces(file))
        except OSError as error:
            raise storage_error(error) from error


class MaildirAddition:
    """See :class:`~mailserver.migration.engines.MailboxAddition`."""

    def __init__(self, intake: MaildirIntake) -> None:
        self._intake = intake

    def add(self, message: CopiedMessage) -> None:
        """See :class:`~mailserver.migration.engines.MailboxAddition`. The new names keep the order, and sort
        before those of later deliveries."""
        unique = _unique(message)
        fields = names.with_sizes("", message.octets, message.sent, utf8=message.utf8)
        if len(names.with_uid(f"{unique}{fields}", message.uid)) > MAX_BASE:
            raise NotTaken("no file name is long enough for this unique-id")
        self._intake.stage(unique, fields, "", message.uid, message.when, message.chunks())

    def commit(self) -> None:
        """See :class:`~mailserver.migration.engines.MailboxAddition`."""
        if different := self._intake.commit():
            raise StorageError(
                f"{self._intake.path}: {different[0]} does not have the octets that were written"
            )


def _unique(message: CopiedMessage) -> str:
    """The unique part of a name, as this server makes them; the same each time."""
    seconds, microseconds = divmod(int(min(message.latest, time.time()) * MICROSECOND), MICROSECOND)
    mark = blake2b(message.uid.encode(), digest_size=6).hexdigest()
    return f"{seconds}.M{microseconds:06}P0Q{message.index + 1}R{mark}.copy"
