"""The keys that SCRAM, CRAM-MD5 and APOP verify a proof with.

SCRAM needs a salt and an iteration count for unknown names, too (RFC 5802 section 5.1, RFC 7677 section 4):
always the same ones, and after the same time. So the first question about any name costs one derivation of
keys, needed or not, and the answer is remembered. All other steps are the same for each name, too.
"""

import hashlib
import hmac
import os

from twisted.internet.defer import Deferred

from mailserver.accounts.credentials import SCRAM_ITERATIONS, SCRAM_SALT
from mailserver.accounts.directory import NOBODY, AccountDirectory
from mailserver.sasl.scram import derive_keys
from mailserver.sasl.steps import ScramKeys
from mailserver.threads.fair import FairThreadPool

REMEMBERED = 10_000
DUMMY_PASSWORD = "the password of an unknown name"
NO_KEYS = ScramKeys(b"", 0, b"", b"")


class KeyRing:
    """The keys of a set of accounts, which may be replaced at any time."""

    def __init__(self, directory: AccountDirectory, dummy_key: bytes, hashing: FairThreadPool) -> None:
        """``dummy_key``: the salts of accounts without keys and of unknown names are derived from it. It is
        secret, and the same after each start, as a salt that changes would reveal that a name is unknown."""
        self._directory = directory
        self._dummy_key = dummy_key
        self._hashing = hashing
        # By normal form and hash: the source of the keys, and the keys; the least recently used first.
        self._made: dict[tuple[str, str], tuple[object, ScramKeys]] = {}

    def replace(self, directory: AccountDirectory, dummy_key: bytes) -> None:
        """Put another set of accounts in force."""
        if dummy_key != self._dummy_key:
            self._made.clear()
        self._directory = directory
        self._dummy_key = dummy_key

    def secret(self, name: str) -> str | None:
        """The password itself, prepared (RFC 6856 section 2.2), if the account stores it."""
        return (self._directory.admits(name) or NOBODY).plaintext

    def scram(self, name: str, hash_name: str, client: str = "") -> Deferred[ScramKeys]:
        """The keys for a name and a hash (a name of hashlib); invented ones if there are none.

        Fails with :class:`~mailserver.threads.fair.TooManyWaiting`.
        """
        return Deferred.fromCoroutine(self._scram(name, hash_name, client))

    async def _scram(self, name: str, hash_name: str, client: str) -> ScramKeys:
        account = self._directory.admits(name) or NOBODY
        known_by = (self._directory.normal_form(name), hash_name)
        stored, plaintext = account.scram.get(hash_name) or NO_KEYS, account.plaintext
        source = (stored.salt, stored.iterations, stored.stored_key, stored.server_key, plaintext)
        made = self._made.pop(known_by, None)
        if made is None or made[0] != source:
            made = (source, await self._make(stored, plaintext, known_by, client))
        while len(self._made) >= REMEMBERED:
            del self._made[next(iter(self._made))]
        self._made[known_by] = made
        return made[1]

    async def _make(
        self, stored: ScramKeys, plaintext: str | None, known_by: tuple[str, str], client: str
    ) -> ScramKeys:
        name, hash_name = known_by
        text = f"{hash_name} {name}".encode(errors="surrogatepass")
        salt = hmac.digest(self._dummy_key, text, "sha256")[:SCRAM_SALT]
        password = DUMMY_PASSWORD if plaintext is None or stored is not NO_KEYS else plaintext
        derived = await self._hashing.run(client, derive_keys, password, hash_name, salt, SCRAM_ITERATIONS)
        size = hashlib.new(hash_name).digest_size
        made_up = ScramKeys(salt, SCRAM_ITERATIONS, os.urandom(size), os.urandom(size))
        if stored is not NO_KEYS:
            return stored
        return made_up if plaintext is None else derived
