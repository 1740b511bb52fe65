"""The octets of messages: copies to be written, and the content of files.

A file that this server has stored is sent unchanged. In a file that another program has delivered or
changed, each bare LF becomes CRLF. If a message does not end in CRLF, POP3 completes its last line (RFC 1939
section 3), so its *sent* size is two octets more than its content. An empty message stays empty.
"""

import io
import os
import stat
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator

import attrs
from zope.interface import implementer

from mailserver.errors import StorageError
from mailserver.interfaces import IContent, IMessageReader, IStoredMessage
from mailserver.mail.surrogate import Surrogate, needs_surrogate

SMALL = 256 * 1024  # octets; a message up to here is read at once
CHUNK = 64 * 1024  # octets
LARGE_CHUNK = 256 * 1024  # octets
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Read only data in the page cache (preadv2(2), Linux); 0 if the system does not support it.
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
# A new buffer for each piece would cost the kernel the time to clear its pages.
_buffer = memoryview(bytearray(LARGE_CHUNK))


def sent_size(octets: int, ending: bytes) -> int:
    """The size as sent of a message of so many octets that ends with ``ending``."""
    return octets if octets == 0 or ending.endswith(b"\r\n") else octets + 2


def surrogate_size(message: Iterable[bytes]) -> int | None:
    """The size as sent of the surrogate of a message, None if it is the message itself."""
    surrogate = Surrogate()
    octets, ending = 0, b""
    for piece in surrogate.pieces(message):
        octets += len(piece)
        ending = (ending + piece[-2:])[-2:]
    return sent_size(octets, ending) if surrogate.changed else None


class Copy:
    """One copy of a message: its own head, then the content that all copies share.

    ``octets``, ``sent``, ``checksum`` (CRC-32) and ``is_ascii`` are valid after ``chunks`` has been read to
    its end.
    """

    __slots__ = ("_content", "_head", "checksum", "is_ascii", "octets", "sent")

    def __init__(self, head: bytes, content: IContent) -> None:
        self._head = head
        self._content = content
        self.octets = self.sent = self.checksum = 0
        self.is_ascii = False

    def chunks(self) -> Generator[bytes, None, None]:
        """The octets in order. Raises :class:`~mailserver.errors.StorageError` if the content does not have
        the size that it announced."""
        yield self._head
        octets = len(self._head)
        checksum = zlib.crc32(self._head)
        ending = self._head[-2:]
        ascii_only = self._head.isascii()
        for chunk in self._content.chunks():
            yield chunk
            octets += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
            ending = (ending + chunk[-2:])[-2:]
            ascii_only = ascii_only and chunk.isascii()
        promised = len(self._head) + self._content.size
        if octets != promised:
            raise StorageError(f"the message has {octets} octets, not the {promised} that were announced")
        self.octets = octets
        self.sent = sent_size(octets, ending)
        self.checksum = checksum
        self.is_ascii = ascii_only

    def has_utf8(self, content_has_utf8: Callable[[], bool]) -> bool:
        """Whether there is UTF-8 in a header. ``content_has_utf8`` is asked about the shared content, whose
        first line begins a field."""
        if self.is_ascii:
            return False
        return (not self._head.isascii() and needs_surrogate((self._head,))) or content_has_utf8()


def open_for_reading(path: str) -> int:
    """Open what should be a regular file. Never follows a symbolic link, and never waits.

    Returns a descriptor, which the caller closes. Raises ``OSError``."""
    return os.open(path, _READ)


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """Like :func:`open_for_reading`, but also returns the status of the file. Raises ``OSError``, or
    :class:`~mailserver.errors.StorageError` for a FIFO, a device….
    """
    descriptor = open_for_reading(path)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise StorageError(f"{path!r} is not a file")
    return descriptor, status


def open_message(path: str) -> io.FileIO:
    """Like :func:`open_regular`, but returns a file object."""
    return io.FileIO(open_regular(path)[0])


def pieces(file: io.FileIO) -> Iterator[bytes]:
    """The rest of a file, in pieces."""
    while chunk := file.read(CHUNK):
        yield chunk


def cached(descriptor: int, offset: int) -> bytes | None:
    """The next octets of a file that are in the page cache. None if there are none, or if the system does
    not support this. For the reactor's thread."""
    if not _NOWAIT:
        return None
    try:
        octets = os.preadv(descriptor, [_buffer], offset, _NOWAIT)
    except OSError:  # not in the cache, not supported, or an error that the blocking read will report
        return None
    return bytes(_buffer[:octets])


def with_crlf(text: bytes) -> bytes:
    """Convert every bare LF to CRLF. Other CRs stay."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    return text.replace(b"\n", b"\r\n")


class CRLFPieces:
    """Converts every bare LF of a text in pieces to CRLF."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, piece: bytes) -> bytes:
        """Convert the next octets."""
        text = self._kept + piece
        # A CR at the end may be half of a CRLF.
        self._kept = b"\r" if text.endswith(b"\r") else b""
        return with_crlf(text[:-1] if self._kept else text)

    def pieces(self, text: Iterable[bytes]) -> Iterator[bytes]:
        """Convert a whole text."""
        for piece in text:
            yield self.feed(piece)
        yield self.end()

    def end(self) -> bytes:
        """The last octets."""
        kept, self._kept = self._kept, b""
        return kept


@implementer(IStoredMessage)
@attrs.frozen
class BytesContent:
    """Content in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        """See :meth:`~mailserver.interfaces.IContent.chunks`."""
        for start in range(0, len(self.data), CHUNK):
            yield self.data[start : start + CHUNK]

    def open(self) -> IMessageReader:
        """See :class:`~mailserver.interfaces.IStoredMessage`."""
        return BytesReader(self.chunks())


@implementer(IMessageReader)
@attrs.frozen
class BytesReader:
    """Reads a message from memory, which never blocks."""

    _chunks: Iterator[bytes]

    def read_nowait(self) -> bytes | None:
        """See :class:`~mailserver.interfaces.IMessageReader`."""
        return self.read()

    def read(self) -> bytes:
        """See :class:`~mailserver.interfaces.IMessageReader`."""
        return next(self._chunks, b"")

    def close(self) -> None:
        """See :class:`~mailserver.interfaces.IMessageReader`."""
