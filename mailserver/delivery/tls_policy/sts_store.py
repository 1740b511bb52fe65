"""The policies of MTA-STS in the data directory: one file for each domain.

    DATA/mta-sts/example.org.json    {"id": "…", "fetched": seconds since the epoch, "policy": "…"}

All methods but :attr:`PolicyFiles.domains` may block. They raise ``OSError``.
"""

import contextlib
import json
from pathlib import Path

import attrs

from mailserver.delivery.tls_policy.sts_policy import STSPolicy, parse_policy
from mailserver.durable.disk import Disk

MOST_FILES = 20_000
_SUFFIX = ".json"
_LONGEST_NAME = 220  # a file name has up to 255 octets, with the suffixes
_LARGEST = 1 << 18  # octets of a file; a policy has at most a quarter


@attrs.frozen
class KnownPolicy:
    """A fetched policy. ``id`` is that of its DNS record; ``fetched`` is in seconds since the epoch."""

    id: str
    fetched: float
    policy: STSPolicy

    def expires(self, now: float) -> float:
        """The end of its validity. A clock that was wrong when it was fetched does not prolong it."""
        return min(self.fetched, now) + self.policy.max_age


class PolicyFiles:
    """``domains`` has the domains with a file. Any thread may call the methods, one at a time per domain."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self.domains: set[str] = set()

    def open(self) -> None:
        """Find the files. Call this once, before the other methods."""
        if not self._folder.is_dir():
            return  # it is made for the first policy
        for file in self._folder.iterdir():
            if file.name.startswith("."):  # left by a crash while it was written
                self._disk.remove(file)
            elif file.suffix == _SUFFIX:
                self.domains.add(file.name.removesuffix(_SUFFIX))

    def read(self, domain: str) -> KnownPolicy | None:
        """The stored policy of a domain; None without a file, or if the file is damaged."""
        try:
            with self._path(domain).open("rb") as file:
                values = json.loads(file.read(_LARGEST))
            policy = parse_policy(values["policy"].encode())
            return KnownPolicy(str(values["id"]), float(values["fetched"]), policy)
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self, domain: str, known: KnownPolicy) -> None:
        """Store a policy durably, but not more than :data:`MOST_FILES`, and not for the longest names."""
        if (domain not in self.domains and len(self.domains) >= MOST_FILES) or len(domain) > _LONGEST_NAME:
            return
        self._disk.make_dirs(self._folder)
        values = {"id": known.id, "fetched": known.fetched, "policy": "\n".join(known.policy.lines)}
        self._disk.replace(self._path(domain), json.dumps(values).encode() + b"\n")
        self.domains.add(domain)

    def remove(self, domain: str) -> None:
        """Remove the policy of a domain."""
        self.domains.discard(domain)
        with contextlib.suppress(FileNotFoundError):
            self._disk.remove(self._path(domain))

    def _path(self, domain: str) -> Path:
        return self._folder / f"{domain}{_SUFFIX}"
