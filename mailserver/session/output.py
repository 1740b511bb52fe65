"""Replies that wait to be sent, together and in order."""

# Octets that may be queued: a client that pipelines and never reads makes a session keep no more.
MAX_OCTETS = 65536
# Pieces that may be queued: a reply is one, so a session runs no more commands than that in one go.
MAX_PIECES = 32


class OutputBuffer:
    """Collects octets until they are taken. ``full``: they are to be sent before more replies are made."""

    __slots__ = ("_octets", "_pieces", "full")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._octets = 0
        self.full = False

    def add(self, data: bytes) -> None:
        """Queue octets."""
        self._pieces.append(data)
        self._octets += len(data)
        self.full = self._octets >= MAX_OCTETS or len(self._pieces) >= MAX_PIECES

    def take(self) -> bytes:
        """Return what is queued; the buffer is empty then."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._octets = 0
        self.full = False
        return data
