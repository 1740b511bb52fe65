"""The content of one message while it arrives and until it is delivered.

The beginning of a message stays in memory, as far as there is room for it; what goes beyond is
written to a nameless file, in a thread, in pieces large enough that the thread costs little.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.durable.spill import Spill
from mailserver.interfaces import IContent, IReactor
from mailserver.threads.pool import run_in_thread

IN_MEMORY = 8 * 1024 * 1024  # octets; of one message
IN_MEMORY_OF_ALL = 64 * 1024 * 1024
AT_ONCE = 512 * 1024  # octets written in one visit to a thread
AT_LEAST = 64 * 1024  # the same, while all messages together have many that wait for it
WAITING_OF_ALL = 32 * 1024 * 1024
_PIECE = 64  # octets of memory that a piece takes beside its own; a client may send very small ones

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
        """How many octets of a message are written together."""
        return AT_ONCE if self.waiting < WAITING_OF_ALL else AT_LEAST


@implementer(IContent)
class Content:
    """Octets to come, then octets to read."""

    def __init__(self, reactor: IReactor, make_spill: Callable[[], Spill], room: Room) -> None:
        self._reactor = reactor
        self._make_spill = make_spill
        self._room = room
        # In this order: pieces that stay in memory, what is in the file, pieces that will go there.
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
        """Add octets; wait for the Deferred, if there is one, before the next call."""
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
        """Whether the next octets stay in memory; if so, their room is taken."""
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
            self._let_go()
        return result

    def check(self) -> None:
        """Raise :class:`OSError` if any of the octets could not be kept."""
        if self._error is not None:
            raise self._error

    def chunks(self) -> Iterator[bytes]:
        """The octets, once all have come."""
        yield from self._kept
        if self._spill is not None:
            yield from self._spill.chunks()
        yield from self._pieces

    def close(self) -> None:
        """Forget the octets; a write under way is finished first."""
        self._closed = True
        if not self._writing:
            self._let_go()

    def _forget_pieces(self) -> None:
        self._room.waiting -= self._waiting
        self._pieces, self._waiting = [], 0

    def _let_go(self) -> None:
        self._room.free += self._kept_octets
        self._kept, self._kept_octets = [], 0
        self._forget_pieces()
        if self._spill is not None:
            self._spill.close()
            self._spill = None
