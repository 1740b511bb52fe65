"""The certificates in use: read at the start, and again when their files change.

The service checks the files every few seconds, so a renewed certificate serves the next connection without a
restart. Open connections keep the old one. Files that are broken or unreadable are never used. They may be
half of a renewal, so the service reports them only if two checks in a row see the same files; it repeats the
report each day, or each hour near the end of the certificate. The files may be symbolic links.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import attrs
from cryptography import x509
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.ssl import CertificateOptions

from mailserver.events.base import report
from mailserver.events.server import (
    CertificateInForce,
    CertificateUnreadable,
    CertificateUnusable,
    CertificateWarning,
    ClientAuthoritiesInForce,
)
from mailserver.net.pairs import Pair, PairFiles, PairProblem, Unusable, read_authorities, read_pair
from mailserver.net.tls import server_options

INTERVAL = 10.0  # seconds between two checks

HOUR, DAY = 3600.0, 86400.0  # seconds between two log lines about one broken renewal
NEAR_END = 3  # days before the end, when the shorter interval begins
WARN_BEFORE_END = (14, 7, 3, 1, 0)  # days
# The part of a short lifetime that is left at the first warning: half of 6 days are left at a usual renewal.
OVERDUE = 1 / 3

CLIENT_CA = "tls.client_ca"

T = TypeVar("T")


@attrs.frozen
class Sources:
    """The files: at least one pair. The first one is for clients that ask for an unknown name or for none.

    ``client_ca`` has the authorities of client certificates; None: clients are not asked for a certificate.
    """

    pairs: tuple[PairFiles, ...]
    client_ca: Path | None = None


class Certificates(Service):
    """Provides the TLS contexts, and checks the files while it runs."""

    def __init__(self, sources: Sources, reactor: IReactorTime, now: Callable[[], float] = time.time) -> None:
        """Read all files; log nothing yet. ``now`` returns the seconds since the epoch.

        Raises :class:`~mailserver.net.pairs.Unusable` with all problems.
        """
        self._reactor = reactor
        self._now = now
        self._next: IDelayedCall | None = None
        self._pairs: list[_WatchedFiles[Pair]] = []
        self._authorities: list[_WatchedFiles[tuple[x509.Certificate, ...]]] = []
        self.prepare(sources)()

    def context_factory_for(self, service: str) -> CertificateOptions:
        """The TLS context of the next connection of ``service``, such as "smtp".

        Call this for each connection, since the certificates may change.
        """
        options = self._options.get(service)
        if options is None:
            pairs = [pair.value for pair in self._pairs]
            authorities = [one for watched in self._authorities for one in watched.value]
            options = self._options[service] = server_options(pairs, authorities)
        return options

    def ends(self) -> dict[str, float]:
        """The end of each certificate in seconds since the epoch, by its table in the configuration."""
        found = {}
        for watched in self._pairs:
            assert isinstance(watched.name, PairFiles)
            found[watched.name.key] = watched.value.certificate.not_valid_after_utc.timestamp()
        return found

    def prepare(self, sources: Sources) -> Callable[[], None]:
        """Read the files, and return a function that applies them. That function cannot fail.

        Unchanged files are not read again. Raises :class:`~mailserver.net.pairs.Unusable`.
        """
        problems: list[PairProblem] = []
        pairs = _current(
            [(files, files.paths, partial(read_pair, files)) for files in sources.pairs],
            self._pairs,
            problems,
        )
        ca = sources.client_ca
        authorities = _current(
            [(ca, (ca,), partial(read_authorities, CLIENT_CA, ca))] if ca is not None else [],
            self._authorities,
            problems,
        )
        if problems:
            raise Unusable(problems)
        return partial(self._commit, pairs, authorities)

    def _commit(
        self,
        pairs: "list[_WatchedFiles[Pair]]",
        authorities: "list[_WatchedFiles[tuple[x509.Certificate, ...]]]",
    ) -> None:
        if (pairs, authorities) == (self._pairs, self._authorities):
            return
        known, self._pairs, self._authorities = self._pairs, pairs, authorities
        self._renew()
        if self.running:
            self._report([pair for pair in pairs if pair not in known])

    def startService(self) -> None:
        """Report the certificates, and begin to check the files."""
        Service.startService(self)
        self._report(self._pairs)
        for pair in self._pairs:
            self._check_readable(pair.paths)
        for authorities in self._authorities:
            self._check_readable(authorities.paths)
        self._next = self._reactor.callLater(INTERVAL, self._check)

    def stopService(self) -> None:
        """Stop the checks; the certificates stay in use."""
        Service.stopService(self)
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _renew(self) -> None:
        self._options: dict[str, CertificateOptions] = {}

    def _check(self) -> None:
        self._next = self._reactor.callLater(INTERVAL, self._check)
        for pair in self._pairs:
            near = pair.value.days_left(self._now()) < NEAR_END * _scale(pair.value)
            if self._has_changed(pair, HOUR if near else DAY):
                self._renew()
                self._report([pair])
            else:
                self._warn_of_end(pair)
        for authorities in self._authorities:
            if self._has_changed(authorities, DAY):
                report(ClientAuthoritiesInForce(key=CLIENT_CA))
                self._renew()

    def _has_changed(self, watched: "_WatchedFiles[T]", repeat: float) -> bool:
        """Whether there is a new value. Problems with the files are logged every ``repeat`` seconds."""
        try:
            return watched.check()
        except Unusable as error:
            now = self._reactor.seconds()
            if watched.logged is None or watched.logged[0] is not error or now - watched.logged[1] >= repeat:
                watched.logged = error, now
                report(CertificateUnusable(reason=error))
            return False

    def _report(self, pairs: Sequence["_WatchedFiles[Pair]"]) -> None:
        for watched in pairs:
            pair = watched.value
            until = f"{pair.certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            report(CertificateInForce(names=", ".join(pair.names) or "without a name", until=until))
            watched.warned = 0
            if not self._warn_of_end(watched):
                self._warn_of_dates(watched)

    def _warn_of_end(self, watched: "_WatchedFiles[Pair]") -> bool:
        """Warn if the certificate has passed the next step towards its end. Returns whether it has."""
        left = watched.value.days_left(self._now())
        steps = sum(left <= days * _scale(watched.value) for days in WARN_BEFORE_END)
        nearer = steps > watched.warned
        watched.warned = steps
        if nearer:
            self._warn_of_dates(watched)
        return nearer

    def _warn_of_dates(self, watched: "_WatchedFiles[Pair]") -> None:
        problem = watched.value.date_problem(self._now(), first_warning(watched.value))
        if problem is not None:
            report(CertificateWarning(path=watched.paths[0], reason=problem))

    def _check_readable(self, paths: Sequence[Path]) -> None:
        """Warn about files that are no longer readable after privileges were dropped."""
        for path in paths:
            try:
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            except OSError as error:
                report(CertificateUnreadable(path=path, error=error.strerror))


def first_warning(pair: Pair) -> float:
    """The days before the end of a certificate when the warnings begin."""
    return min(WARN_BEFORE_END[0], pair.lifetime * OVERDUE)


def _scale(pair: Pair) -> float:
    """The factor for the steps before the end of a certificate; 1 if it has a long lifetime."""
    return first_warning(pair) / WARN_BEFORE_END[0]


Source = tuple[object, tuple[Path, ...], Callable[[], T]]  # name, files, function that reads them
_Stamp = tuple[tuple[int, ...], ...]


class _WatchedFiles(Generic[T]):
    """A value that was read from files that may change. ``name`` is a unique hashable value."""

    def __init__(self, name: object, paths: tuple[Path, ...], read: Callable[[], T]) -> None:
        self.name = name
        self.paths = paths
        self._read = read
        self._stamp = _stamp(paths)
        self._broken_once: _Stamp | None = None
        self._refused: tuple[_Stamp, Unusable] | None = None
        self.value = read()
        # The last logged error with its time, and the number of logged steps towards the end.
        self.logged: tuple[Unusable, float] | None = None
        self.warned = 0

    def check(self) -> bool:
        """Check the files. Returns whether there is a new value.

        Raises :class:`Unusable` if two checks in a row have seen the same broken files.
        """
        stamp = _stamp(self.paths)
        if stamp == self._stamp:
            return False
        if self._refused is not None and stamp == self._refused[0]:
            raise self._refused[1]
        try:
            value = self._read()
        except Unusable as error:
            if stamp == self._broken_once:
                self._refused = stamp, error
                raise
            self._broken_once = stamp
            return False
        if _stamp(self.paths) != stamp:
            return False  # the files are being written
        self.value, self._stamp = value, stamp
        return True

    def current(self) -> "_WatchedFiles[T]":
        """This object if its files are unchanged, otherwise a new one."""
        if _stamp(self.paths) == self._stamp:
            return self
        return _WatchedFiles(self.name, self.paths, self._read)


def _current(
    sources: Sequence[Source[T]], known: Sequence[_WatchedFiles[T]], problems: list[PairProblem]
) -> list[_WatchedFiles[T]]:
    """The values of the sources. ``known`` ones are read again if changed. Appends to ``problems``."""
    by_name = {watched.name: watched for watched in known}
    found = []
    for source in sources:
        try:
            watched = by_name.get(source[0])
            found.append(watched.current() if watched is not None else _WatchedFiles(*source))
        except Unusable as error:
            problems += error.problems
    return found


def _stamp(paths: Sequence[Path]) -> _Stamp:
    """A value that changes with the files, with their modes, and with the links to them."""
    return tuple(_stamp_of(path) for path in paths)


def _stamp_of(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
