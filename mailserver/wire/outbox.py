"""Replies that wait to be sent, together and in order."""

# Octets that may wait: a client that pipelines and never reads makes a session keep no more.
MUCH = 65536
# Pieces that may wait: a reply is one, so a session runs no more commands than that in one go.
MANY = 32


class Outbox:
    """Collects octets until somebody takes them."""

    __slots__ = ("_octets", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._octets = 0

    def add(self, data: bytes) -> None:
        """Put octets behind those that wait."""
        self._pieces.append(data)
        self._octets += len(data)

    @property
    def full(self) -> bool:
        """True when so much waits that it must be sent before more is made."""
        return self._octets >= MUCH or len(self._pieces) >= MANY

    def take(self) -> bytes:
        """All that waits; it waits no more."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._octets = 0
        return data
