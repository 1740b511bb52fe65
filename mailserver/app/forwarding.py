"""The Sender Rewriting Scheme in force, and its keys.

The keys are in DATA/srs.keys, one a line; lines that begin with "#" are comments. The first key makes
addresses, all of them verify. The start makes the file if it is missing. A new first line and a reload change
the key; the old line must stay until the addresses made with it have expired.
"""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from mailserver.app.data import srs_keys_file
from mailserver.config.keys.top_level import Config
from mailserver.durable.disk import Disk
from mailserver.errors import ConfigurationError, StorageError
from mailserver.mail.srs import DAYS, SRS
from mailserver.threads.pool import Threads

MAX_OCTETS = 64 * 1024
_NOTICE = f"""\
# Keys of the Sender Rewriting Scheme, one a line. The first one makes addresses, all of them verify.
# To change the key, add another one as the first, and run "mailserver reload". Remove the old one after
# {DAYS} days.
"""


class Forwarding:
    """Reads the keys at the start and at each reload."""

    def __init__(self, config: Config, disk: Disk, threads: Threads) -> None:
        self._config = config
        self._path = srs_keys_file(config.data)
        self._disk = disk
        self._threads = threads
        self._srs: SRS | None = None

    def srs(self) -> SRS | None:
        """The scheme in force; None if it is off, and there are no keys from a time when it was on."""
        return self._srs

    def open(self) -> None:
        """Read the keys; make them if they are needed and missing. Blocks.

        Raises ``OSError`` and :class:`~mailserver.errors.StorageError`.
        """
        self._srs = self._read(self._config)

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        try:
            srs = await self._threads.run_long(self._read, config)
        except (StorageError, OSError) as error:
            raise ConfigurationError([f"forward.srs: {error}"]) from error
        return lambda: self._commit(srs)

    def _commit(self, srs: SRS | None) -> None:
        self._srs = srs

    def _read(self, config: Config) -> SRS | None:
        if not self._path.exists():
            if not config.forward.srs:
                return None
            key = secrets.token_urlsafe(32)
            self._disk.replace(self._path, f"{_NOTICE}{key}\n".encode())
        # Without forward.srs there may still be bounces for the mail forwarded before.
        return SRS(
            config.domains[0],
            read_keys(self._path),
            frozenset(config.domains),
            rewrites=config.forward.srs,
        )


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys in a file, at least one. Blocks.

    Raises ``OSError``, and :class:`~mailserver.errors.StorageError` if the file has no key, is too large, or
    if other users can read it. No text has a key.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        octets = os.read(descriptor, MAX_OCTETS + 1) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(descriptor)
    if status.st_mode & stat.S_IRWXO:
        raise StorageError(f"other users can read {path}; fix it with: chmod o-rwx {path}")
    if len(octets) > MAX_OCTETS:
        raise StorageError(f"{path} has more than {MAX_OCTETS} octets")
    lines = [line.strip() for line in octets.splitlines()]
    keys = tuple([line for line in lines if line and not line.startswith(b"#")])
    if not keys:
        raise StorageError(f"{path} has no key; remove it, and the server makes a new one")
    return keys
