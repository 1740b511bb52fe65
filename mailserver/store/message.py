"""Reads a message in a Maildir, at once or in pieces, even if its file has been moved.

Other programs may set flags on a file or move it from ``new/`` to ``cur/`` at any time. The message is then
found again by its base name.
"""

import contextlib
import errno
import io
import os
from collections.abc import Iterator

from zope.interface import implementer

from mailserver.errors import MessageVanished, StorageError, storage_error
from mailserver.interfaces import IMessageReader, IStoredMessage
from mailserver.store.content import (
    LARGE_CHUNK,
    SMALL,
    CRLFPieces,
    cached,
    open_for_reading,
    open_message,
    open_regular,
    sent_size,
    with_crlf,
)
from mailserver.store.listing import Listing
from mailserver.store.measure import measure_open


@implementer(IStoredMessage)
class StoredMessage:
    """A message of a listing, by its index."""

    __slots__ = ("_index", "_listing", "_measure", "size")

    def __init__(self, listing: Listing, index: int) -> None:
        self._listing = listing
        self._index = index
        self._measure = listing.measure(index)
        self.size = self._measure.octets

    def load(self) -> "bytes | IStoredMessage":
        """All octets at once, or this object if they are too many.

        Raises ``FileNotFoundError`` if the file is not where it was, other ``OSError`` and
        :class:`~mailserver.errors.StorageError`.
        """
        if self.size > SMALL:
            return self._checked()
        # Whatever is no file has another size.
        descriptor = open_for_reading(self._path())
        try:
            data = os.read(descriptor, self.size + 1)
            if not self._measure.own:
                data = with_crlf(data)
            if sent_size(len(data), data[-2:]) != self._measure.sent:
                raise self.changed(descriptor)
            return data
        finally:
            os.close(descriptor)

    def _checked(self) -> IStoredMessage:
        descriptor, status = open_regular(self._path())
        try:
            if self._measure.own and status.st_size != self.size:
                raise self.changed(descriptor)
            return self
        finally:
            os.close(descriptor)

    def open(self) -> IMessageReader:
        """See :class:`~mailserver.interfaces.IStoredMessage`."""
        return Reader(self, own=self._measure.own)

    def chunks(self) -> Iterator[bytes]:
        """See :class:`~mailserver.interfaces.IContent`. Raises the errors of an ``IMessageReader``."""
        with contextlib.closing(self.open()) as reader:
            while piece := reader.read():
                yield piece

    def find(self) -> io.FileIO:
        """Open the file. Blocks; raises ``OSError`` and :class:`~mailserver.errors.StorageError`."""
        try:
            return open_message(self._path())
        except FileNotFoundError:
            self._listing.look_again()
        try:
            return open_message(self._path())
        except FileNotFoundError:
            raise vanished() from None

    def _path(self) -> str:
        path = self._listing.path(self._index)
        if not path:
            raise FileNotFoundError(errno.ENOENT, "no such message", self._listing.base(self._index))
        return path

    def changed(self, descriptor: int) -> StorageError:
        """Correct the listing of a message whose size has changed. Returns the error to raise."""
        status = os.fstat(descriptor)
        measure = measure_open(descriptor, status.st_size, self._listing.base(self._index))
        self._listing.correct(self._index, measure, status)
        return StorageError(f"{self._listing.path(self._index)!r} does not have the size it was listed with")


@implementer(IMessageReader)
class Reader:
    """Reads a message in pieces. The file is opened by the first :meth:`read`."""

    __slots__ = ("_crlf", "_file", "_message", "_octets", "_offset")

    def __init__(self, message: StoredMessage, *, own: bool) -> None:
        self._message = message
        self._crlf = None if own else CRLFPieces()
        self._file: io.FileIO | None = None
        self._offset = self._octets = 0

    def read_nowait(self) -> bytes | None:
        """See :class:`~mailserver.interfaces.IMessageReader`."""
        if self._file is None:
            return None
        piece = None
        while piece is None and (data := cached(self._file.fileno(), self._offset)) is not None:
            if not data and self._octets != self._message.size:
                return None  # the message is incomplete; read() reports it, which may block
            piece = self._took(data)
        return piece

    def read(self) -> bytes:
        """See :class:`~mailserver.interfaces.IMessageReader`."""
        try:
            if self._file is None:
                self._file = self._message.find()
            piece = None
            while piece is None:
                piece = self._took(os.pread(self._file.fileno(), LARGE_CHUNK, self._offset))
            return piece
        except OSError as error:
            raise storage_error(error) from error

    def close(self) -> None:
        """See :class:`~mailserver.interfaces.IMessageReader`."""
        if self._file is not None:
            self._file.close()

    def _took(self, data: bytes) -> bytes | None:
        """Convert the next octets of the file to a piece of the message. None if more are needed."""
        self._offset += len(data)
        piece = data
        if self._crlf is not None:
            piece = self._crlf.feed(data) if data else self._crlf.end()
        self._octets += len(piece)
        if data and not piece:
            return None
        if not piece and self._octets != self._message.size:
            assert self._file is not None
            raise self._message.changed(self._file.fileno())
        return piece


def vanished() -> MessageVanished:
    """The error for a message that another program has removed."""
    return MessageVanished("another program has removed the message")
