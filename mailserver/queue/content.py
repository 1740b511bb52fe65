"""The content of a message from its arrival until its delivery.

The beginning of a message stays in memory if there is space. A thread writes the rest to a nameless file,
in pieces large enough to make thread switches cheap.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.durable.spill import Spill
from mailserver.interfaces import IContent, IReactor
from mailserver.threads.pool import run_in_thread

IN_MEMORY = 8 * 1024 * 1024  # octets of one message
IN_MEMORY_OF_ALL = 64 * 1024 * 1024  # octets of all messages
AT_ONCE = 512 * 1024  # octets that a thread writes at a time
AT_LEAST = 64 * 1024  # the same, while more than WAITING_OF_ALL octets wait for threads
WAITING_OF_ALL = 32 * 1024 * 1024
_PIECE = 64  # octets of overhead of a piece in memory; a client may send very small pieces

_T = TypeVar("_T")


class Room:
    """The memory that messages on their way in share. For the reactor's thread only.

    ``waiting`` is how much of them is on its way to files.
    """

    __slots__ = ("free", "waiting")

    def __init__(self, octets: int) -> None:
        self.free = octets
        self.waiting = 0

    @property
    def portion(self) -> int:
        """The number of octets to write at a time."""
        return AT_ONCE if self.waiting < WAITING_OF_ALL else AT_LEAST


@implementer(IContent)
class Content:
    """Takes octets with ``write``, then returns them with ``chunks``."""

    def __init__(self, reactor: IReactor, make_spill: Callable[[], Spill], room: Room) -> None:
        self._reactor = reactor
        self._make_spill = make_spill
        self._room = room
        # The content is, in this order: the pieces in memory, the file, the pieces to be written to it.
        self._kept: list[bytes] = []
        self._kept_octets = 0
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._spill: Spill | None = None
        self._writing = False
        self._closed = False
        self._error: OSError | None = None
        self.size = 0

    def write(self, data: bytes) -> Deferred[None] | None:
        """Add octets. If the result is a Deferred, wait for it before the next call."""
        self.size += len(data)
        if self._error is not None:
            return None
        octets = len(data) + _PIECE
        if self._keeps(octets):
            self._kept.append(data)
            return None
        self._pieces.append(data)
        self._waiting += octets
        self._room.waiting += octets
        if self._waiting < self._room.portion:
            return None
        whole = b"".join(self._pieces)
        self._forget_pieces()
        self._writing = True
        return run_in_thread(self._reactor, self._write_out, whole).addBoth(self._written)

    def _keeps(self, octets: int) -> bool:
        """Reserve memory for the next octets. False if they must go to the file."""
        if self._pieces or self._spill is not None:
            return False
        if octets > self._room.free or self._kept_octets + octets > IN_MEMORY:
            return False
        self._room.free -= octets
        self._kept_octets += octets
        return True

    def _write_out(self, data: bytes) -> None:
        try:
            if self._spill is None:
                self._spill = self._make_spill()
            self._spill.append(data)
        except OSError as error:
            self._error = error

    def _written(self, result: _T) -> _T:
        self._writing = False
        if self._closed:
            self._release()
        return result

    def check(self) -> None:
        """Raise the :class:`OSError` of a failed write, if there was one."""
        if self._error is not None:
            raise self._error

    def chunks(self) -> Iterator[bytes]:
        """The octets. Call this when all of them have arrived."""
        yield from self._kept
        if self._spill is not None:
            yield from self._spill.chunks()
        yield from self._pieces

    def close(self) -> None:
        """Release memory and file, after a write in progress."""
        self._closed = True
        if not self._writing:
            self._release()

    def _forget_pieces(self) -> None:
        self._room.waiting -= self._waiting
        self._pieces, self._waiting = [], 0

    def _release(self) -> None:
        self._room.free += self._kept_octets
        self._kept, self._kept_octets = [], 0
        self._forget_pieces()
        if self._spill is not None:
            self._spill.close()
            self._spill = None
