"""The content of a message on its way out: its head, then the stored octets."""

from collections.abc import Iterator
from itertools import chain

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads

from mailserver.errors import storage_error
from mailserver.interfaces import IContent
from mailserver.mail.conversion import needs, to_seven_bit
from mailserver.mail.returned import header_of
from mailserver.mail.tls_requirement import waives_tls
from mailserver.threads.pool import run_in_thread

SMALL = 64 * 1024  # octets; a message up to here is read at once
LARGEST_CONVERTED = 64 * 1024 * 1024  # octets; the conversion takes a multiple of the message in memory


class MessageContent:
    """The content. ``read`` reads it once; ``rewind`` begins again.

    ``whole`` has all octets of a small message, None for a large one. ``eight_bit``: some octet is not ASCII.
    ``utf8``: the header has such an octet. ``binary``: the body may have bare line ends and NULs.
    ``waives_tls``: it has the field ``TLS-Required: No``.
    """

    whole: bytes | None

    def __init__(
        self, head: bytes, content: IContent, reactor: IReactorThreads, *, binary: bool = False
    ) -> None:
        self._head = head
        self._content = content
        self._reactor = reactor
        self._chunks: Iterator[bytes] | None = None
        self.size = len(head) + content.size
        self.whole = None
        self.eight_bit = self.utf8 = self.waives_tls = False
        self.binary = binary

    async def open(self) -> None:
        """Read the message as far as necessary. Raises :class:`~mailserver.errors.StorageError` and
        :class:`~mailserver.errors.MessageDamaged`."""
        if self.size <= SMALL:
            self._look()
        else:
            await run_in_thread(self._reactor, self._look)

    def _look(self) -> None:
        try:
            if self.size <= SMALL:
                self.whole = b"".join(self._pieces())
            # The octets of most messages are ASCII, which is seen at once.
            if self.whole is None or not self.whole.isascii():
                self.eight_bit, self.utf8 = needs(self._pieces())
            # Nearly all small messages do not have these letters.
            if self.whole is None or b"tls-required" in self.whole.lower():
                self.waives_tls = waives_tls(header_of(self._pieces()))
        except OSError as error:
            raise storage_error(error) from error

    def rewind(self) -> None:
        """Begin again with the first octet."""
        self._chunks = None

    def read(self) -> Deferred[bytes]:
        """The next piece; an empty one is the end. Fails as :meth:`open` does."""
        return run_in_thread(self._reactor, self._next)

    def _next(self) -> bytes:
        if self._chunks is None:
            self._chunks = self._pieces()
        try:
            return next((piece for piece in self._chunks if piece), b"")
        except OSError as error:
            raise storage_error(error) from error

    def _pieces(self) -> Iterator[bytes]:
        return chain((self._head,), self._content.chunks())

    async def in_seven_bit(self) -> "MessageContent | None":
        """The message in 7-bit form, None if it cannot be converted. Raises as :meth:`open` does."""
        octets = await run_in_thread(self._reactor, self._convert)
        if octets is None:
            return None
        converted = MessageContent(b"", self._content, self._reactor)
        converted.whole, converted.size = octets, len(octets)
        return converted

    def _convert(self) -> bytes | None:
        try:
            return to_seven_bit(self._pieces(), LARGEST_CONVERTED, binary=self.binary)
        except OSError as error:
            raise storage_error(error) from error
