"""Passwords that have been verified of late, so that a client that polls costs no argon2 each time.

What is remembered is a digest under a key that dies with the process. It covers the stored hash, too:
who has a new password, or none any more, is not let in by an old one.
"""

import hashlib
import os

from twisted.internet.interfaces import IReactorTime

SIZE = 10_000


class VerifiedPasswordCache:
    """Digests, each for some time. A wrong password never gets here."""

    def __init__(self, reactor: IReactorTime, seconds: float, size: int = SIZE) -> None:
        """``seconds`` may be set anew at any time; 0 remembers nothing."""
        self.seconds = seconds
        self._reactor = reactor
        self._size = size
        self._key = os.urandom(hashlib.blake2b.MAX_KEY_SIZE)
        # When each was added, oldest first: the first to go is the first to end.
        self._added: dict[bytes, float] = {}

    def digest(self, *parts: str) -> bytes:
        """What these texts, in this order, are known by."""
        state = hashlib.blake2b(key=self._key, digest_size=32)
        for part in parts:
            octets = part.encode("utf-8", "surrogatepass")
            state.update(len(octets).to_bytes(8, "big") + octets)
        return state.digest()

    def add(self, digest: bytes) -> None:
        """Remember it from now on."""
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
