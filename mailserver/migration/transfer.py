"""Copies the messages of a source into a Maildir, and verifies each by its digest.

A message that is there already is compared and skipped, so that a transfer can be repeated until nothing is
left, also after it was killed. A message that cannot be copied stays in the source, and is named.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import attrs

from mailserver.errors import StorageError, StorageFull, one_line, storage_error
from mailserver.mail.words import counted
from mailserver.migration.source import MessageSource, SourceMessage
from mailserver.store.intake import MaildirIntake, digest

AT_ONCE = 200  # messages that are synced together
OCTETS_AT_ONCE = 32 * 1024 * 1024

User = Callable[[], AbstractContextManager[None]]
"""Enters the user who may read a source, or write a target."""


@attrs.define
class Transferred:
    """The result. ``octets`` are those of the ``copied`` messages. ``kept`` is how many of them keep a
    unique-id; ``without`` how many had one that could not be kept; ``vanished`` how many were removed from
    the source meanwhile. ``problems`` has a line for each message that was not copied."""

    copied: int = 0
    octets: int = 0
    skipped: int = 0
    kept: int = 0
    without: int = 0
    vanished: int = 0
    problems: list[str] = attrs.field(factory=list)

    def __add__(self, other: "Transferred") -> "Transferred":
        values = zip(attrs.astuple(self, recurse=False), attrs.astuple(other, recurse=False), strict=True)
        return Transferred(*(one + another for one, another in values))

    def summary(self, done: str) -> str:
        """One line, such as "imported 3 messages (1234 octets), skipped 0, verified"."""
        parts = [
            f"{done} {counted(self.copied, 'message')} ({self.octets} octets)",
            f"skipped {self.skipped}",
        ]
        if self.kept:
            parts.append(f"kept the unique-ids of {self.kept}")
        if self.without:
            parts.append(f"could not keep the unique-ids of {self.without}")
        if self.vanished:
            parts.append(f"{self.vanished} removed meanwhile")
        if self.problems:
            return ", ".join([*parts, f"{len(self.problems)} not {done}"])
        return ", ".join([*parts, "verified"])


@attrs.frozen
class Transfer:
    """One transfer from ``source`` to ``target``, read as one user and written as another.

    ``show`` is told how many messages are done, and of how many.
    """

    source: MessageSource
    target: MaildirIntake
    reading: User
    writing: User
    show: Callable[[int, int], None] = lambda done, total: None
    result: Transferred = attrs.field(factory=Transferred, init=False)

    def run(self) -> Transferred:
        """Copy all messages.

        Raises :class:`~mailserver.errors.StorageError` if the source or the target cannot be used at all.
        """
        try:
            with self.reading():
                found = list(self.source.messages())
            with self.writing():
                self.target.open()
            try:
                self._copy_all(found)
            finally:
                with self.writing():
                    self.target.close()
        except OSError as error:
            raise storage_error(error) from error
        self.result.problems += self.source.problems
        return self.result

    def _copy_all(self, found: Sequence[SourceMessage]) -> None:
        pending = octets = 0
        for done, message in enumerate(found, 1):
            pending += 1
            octets += self._copy(message)
            if pending == AT_ONCE or octets >= OCTETS_AT_ONCE or done == len(found):
                self._commit()
                self.show(done, len(found))
                pending = octets = 0

    def _copy(self, message: SourceMessage) -> int:
        """Copy a message, or compare it with the one that is there. Returns the octets that were written."""
        opened = message.open()
        try:
            with self.reading():
                chunks = opened.__enter__()
            try:
                return self._put(message, chunks)
            finally:
                opened.__exit__(None, None, None)
        except StorageFull:
            raise
        except FileNotFoundError:
            self.result.vanished += 1
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._problem(message.place, error.strerror or str(error))
        except StorageError as error:
            self._problem(message.place, str(error))
        return 0

    def _put(self, message: SourceMessage, chunks: Iterator[bytes]) -> int:
        with self.writing():
            if self.target.has(message.key):
                there = self.target.digest(message.key)
                if there is None or digest(chunks) == there:
                    self.result.skipped += 1
                else:
                    self._problem(message.place, "the target has other octets under this name")
                return 0
            counting = _Counted(chunks)
            keeps = self.target.stage(
                message.unique, message.fields, message.info, message.uid, message.when, counting
            )
        self.result.kept += keeps
        self.result.without += message.uid is not None and not keeps
        self.result.copied += 1
        self.result.octets += counting.octets
        return counting.octets

    def _commit(self) -> None:
        with self.writing():
            for name in self.target.commit():
                self._problem(name, "the target does not have the octets that were written")

    def _problem(self, place: str, what: str) -> None:
        self.result.problems.append(one_line(f"{place}: {what}"))


class _Counted:
    """Passes octets on, and counts them."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.octets = 0

    def __iter__(self) -> "_Counted":
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.octets += len(chunk)
        return chunk
