"""Remembers verified passwords for a while, so that a polling client does not cost an argon2 hash each time.

It stores digests, under a key that exists only in this process. A digest covers the stored hash, too: after a
change of the password, the old password is not accepted.
"""

import hashlib
import os

from twisted.internet.interfaces import IReactorTime

SIZE = 10_000


class VerifiedPasswordCache:
    """Digests of correct passwords, each for some time."""

    def __init__(self, reactor: IReactorTime, seconds: float, size: int = SIZE) -> None:
        """``seconds`` may be set at any time; 0 turns the cache off."""
        self.seconds = seconds
        self._reactor = reactor
        self._size = size
        self._key = os.urandom(hashlib.blake2b.MAX_KEY_SIZE)
        # The time of each addition, oldest first: the first to expire comes first.
        self._added: dict[bytes, float] = {}

    def digest(self, *parts: str) -> bytes:
        """The digest of these texts in this order."""
        state = hashlib.blake2b(key=self._key, digest_size=32)
        for part in parts:
            octets = part.encode("utf-8", "surrogatepass")
            state.update(len(octets).to_bytes(8, "big") + octets)
        return state.digest()

    def add(self, digest: bytes) -> None:
        """Remember a digest from now on."""
        self._forget()
        if self.seconds <= 0:
            return
        self._added.pop(digest, None)
        if len(self._added) >= self._size:
            del self._added[next(iter(self._added))]
        self._added[digest] = self._reactor.seconds()

    def __contains__(self, digest: bytes) -> bool:
        self._forget()
        return digest in self._added

    def __len__(self) -> int:
        return len(self._added)

    def _forget(self) -> None:
        ended = self._reactor.seconds() - self.seconds
        while self._added and self._added[first := next(iter(self._added))] <= ended:
            del self._added[first]
