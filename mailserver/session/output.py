"""A buffer for replies."""

# Maximum number of octets. It limits the memory of a client that pipelines and never reads.
MAX_OCTETS = 65536
# Maximum number of pieces. A reply is one piece, so this limits the commands that run at a time.
MAX_PIECES = 32


class OutputBuffer:
    """Collects octets until they are taken. ``full``: take them before you add more."""

    __slots__ = ("_octets", "_pieces", "full")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._octets = 0
        self.full = False

    def add(self, data: bytes) -> None:
        """Append octets."""
        self._pieces.append(data)
        self._octets += len(data)
        self.full = self._octets >= MAX_OCTETS or len(self._pieces) >= MAX_PIECES

    def take(self) -> bytes:
        """Return and remove all octets."""
        if not self._pieces:
            return b""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._octets = 0
        self.full = False
        return data
