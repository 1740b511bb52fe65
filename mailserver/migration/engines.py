"""Copies all mailboxes of one storage engine to another, and verifies them by their digests.

A message keeps its unique-id, its place among the others, the time of its arrival, and its octets as POP3
sends them. One that is there already, by its unique-id, is compared and skipped: after an interruption the
same copy goes on. Messages that only the target has stay.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import attrs

from mailserver.errors import StorageError, one_line
from mailserver.mail.snapshot import Snapshot
from mailserver.migration.transfer import AT_ONCE, OCTETS_AT_ONCE, Transferred
from mailserver.store.intake import HashedPieces, digest


@attrs.frozen
class CopiedMessage:
    """A message to be copied.

    ``when`` is its arrival in seconds since the epoch, and ``latest`` the latest arrival among it and all
    messages before it, of which there are ``index``. ``octets`` is its size, and ``sent`` its size as sent;
    ``utf8`` says that it needs a surrogate. ``chunks`` reads it, each time from the beginning. It raises
    :class:`~mailserver.errors.StorageError` if this message cannot be read.
    """

    uid: str
    when: float
    latest: float
    index: int
    octets: int
    sent: int
    utf8: bool
    chunks: Callable[[], Iterable[bytes]]


class NotTaken(StorageError):
    """A message cannot be stored by this engine."""


class ListedMailbox(Protocol):
    """The messages of a mailbox in order. ``whens`` are their arrivals."""

    messages: Snapshot
    whens: "array[float]"

    def octets(self, index: int) -> int:
        """The size of a message."""

    def chunks(self, index: int) -> Iterator[bytes]:
        """The octets of a message as POP3 sends them. Raises ``OSError``, and
        :class:`~mailserver.errors.StorageError` if only this message cannot be read."""


class MailboxAddition(Protocol):
    """Adds messages to a mailbox. The methods raise ``OSError`` and
    :class:`~mailserver.errors.StorageError`."""

    def add(self, message: CopiedMessage) -> None:
        """Add a message, which an interruption removes until it is committed. Raises :class:`NotTaken` if
        this message alone cannot be added."""

    def commit(self) -> None:
        """Make the added messages durable, each as a whole."""


class SourceMailboxes(Protocol):
    """The mailboxes of an engine. ``problems`` has a line for each thing that is not copied."""

    problems: list[str]

    def paths(self) -> Sequence[str]:
        """The paths of all mailboxes, as ``store.names.mailbox_path`` makes them."""

    def listed(self, path: str) -> ListedMailbox:
        """A mailbox, empty if it does not exist. Raises ``OSError``, and
        :class:`~mailserver.errors.StorageError` if only this mailbox cannot be used."""


class TargetMailboxes(Protocol):
    """The mailboxes of the other engine."""

    def listed(self, path: str) -> ListedMailbox:
        """As above."""

    def adding(self, path: str) -> AbstractContextManager[MailboxAddition]:
        """Adds to a mailbox, which is made if it is missing. What is not committed at the end is dropped."""


class EngineTransfer:
    """One copy of all mailboxes. ``show`` is told how many mailboxes are done, and of how many."""

    def __init__(
        self, source: SourceMailboxes, target: TargetMailboxes, show: Callable[[int, int], None]
    ) -> None:
        self._source = source
        self._target = target
        self._show = show
        self._result = Transferred()

    def run(self) -> Transferred:
        """Copy and verify. Raises ``OSError`` and :class:`~mailserver.errors.StorageError` if one of the
        engines fails."""
        paths = self._source.paths()
        for done, path in enumerate(paths, 1):
            try:
                box = self._source.listed(path)
            except StorageError as error:
                self._problem(path, str(error))
            else:
                if len(box.messages):
                    self._verify(path, box, self._copy(path, box))
            self._show(done, len(paths))
        self._result.problems += map(one_line, self._source.problems)
        return self._result

    def _problem(self, path: str, what: str) -> None:
        self._result.problems.append(one_line(f"{path}: {what}"))

    def _copy(self, path: str, box: ListedMailbox) -> dict[int, bytes]:
        """Copy what is missing. Returns the digests of all messages that could be read, by index."""
        there = set(_uids(self._target.listed(path)))
        digests: dict[int, bytes] = {}
        pending = octets = 0
        with self._target.adding(path) as addition:
            for message in _messages(box):
                content = _Content(box, message.index)
                try:
                    if message.uid in there:
                        digests[message.index] = digest(content.chunks())
                        self._result.skipped += 1
                        continue
                    addition.add(attrs.evolve(message, chunks=content.chunks))
                except (_Unreadable, NotTaken) as error:
                    self._problem(path, f"message {message.uid}: {error}")
                    continue
                digests[message.index] = content.digest
                self._result.copied += 1
                self._result.octets += content.octets
                pending, octets = pending + 1, octets + content.octets
                if pending >= AT_ONCE or octets >= OCTETS_AT_ONCE:
                    addition.commit()
                    pending = octets = 0
            addition.commit()
        return digests

    def _verify(self, path: str, box: ListedMailbox, digests: dict[int, bytes]) -> None:
        """Read the target again, and compare it."""
        there = self._target.listed(path)
        places: dict[str, int] = {}
        twice = set()
        for number, uid in enumerate(_uids(there)):
            if uid in places:
                twice.add(uid)
            places[uid] = number
        last = -1
        for index, uid in enumerate(_uids(box)):
            if index not in digests:
                continue
            place = places.get(uid)
            wrong = None
            if place is None or uid in twice:
                wrong = "is not there after the copy" if place is None else "is there twice"
            else:
                try:
                    if digest(there.chunks(place)) != digests[index]:
                        wrong = "the target has other octets under this unique-id"
                    elif place < last:
                        wrong = "has another place among the messages of the target"
                except StorageError as error:
                    wrong = f"cannot be read in the target: {error}"
                last = max(last, place)
            if wrong is not None:
                self._problem(path, f"message {uid}: {wrong}")


def _uids(box: ListedMailbox) -> Sequence[str]:
    return box.messages.uids(0, len(box.messages))


def _messages(box: ListedMailbox) -> Iterator[CopiedMessage]:
    latest = 0.0
    for index, uid in enumerate(_uids(box)):
        when = box.whens[index]
        latest = max(latest, when)
        sent, utf8 = box.messages.size(index), index in box.messages.surrogates
        yield CopiedMessage(uid, when, latest, index, box.octets(index), sent, utf8, tuple)


class _Unreadable(Exception):
    """A message of the source cannot be read."""


class _Content:
    """A message of the source. ``digest`` and ``octets`` are valid after it has been read to its end."""

    def __init__(self, box: ListedMailbox, index: int) -> None:
        self._box = box
        self._index = index
        self.digest = b""
        self.octets = 0

    def chunks(self) -> Iterator[bytes]:
        """See :class:`CopiedMessage`. Raises :class:`_Unreadable`, and ``OSError`` if the source fails."""
        hashed = HashedPieces(self._box.chunks(self._index))
        octets = 0
        try:
            for chunk in hashed:
                octets += len(chunk)
                yield chunk
        except StorageError as error:
            raise _Unreadable(str(error)) from error
        self.digest, self.octets = hashed.digest, octets
