"""The certificate authority of the fixture: made at run time, one for each process.

It signs a certificate for each host name when a server needs one. Nothing is written to a disk until somebody
asks for the file of the CA.
"""

import os
import ssl
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from weakref import finalize

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.ssl import CertificateOptions

from mailserver.net.made_certificate import LIFE, CertificateAuthority
from mailserver.net.pairs import Pair, PrivateKey
from mailserver.net.tls import server_options

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The names that each certificate has beside those it is asked for."""


class FixtureAuthority:
    """Signs the certificates of the servers of one process.

    ``pem`` is its own certificate. The time is that of the machine, since clients look at no other clock.
    """

    def __init__(self) -> None:
        self._authority = CertificateAuthority("CA of a test", time.time())
        self._folder: Path | None = None
        self._remove: Callable[[], object] = lambda: None
        self._options: dict[tuple[str, ...], CertificateOptions] = {}
        self.pem = self._authority.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def ca_file(self) -> Path:
        """The certificate of the CA as a PEM file, in a temporary folder until :meth:`close`."""
        if self._folder is None:
            # Any: its own finalizer, which a forked child would run at its end, is not public.
            made: Any = tempfile.TemporaryDirectory(prefix="mailserver-ca-")
            made._finalizer.detach()
            self._remove = finalize(self, _remove, made, os.getpid())
            self._folder = Path(made.name)
            (self._folder / "ca.pem").write_text(self.pem)
        return self._folder / "ca.pem"

    def ssl_context(self) -> ssl.SSLContext:
        """A new context for clients. It trusts this CA and no other, and checks host names."""
        return ssl.create_default_context(cadata=self.pem)

    def options(self, *names: str) -> CertificateOptions:
        """The options for ``startTLS`` on a server with these names; the same ones for the same names."""
        if names not in self._options:
            self._options[names] = server_options([self.issue(with_loopback(names))])
        return self._options[names]

    def issue(
        self,
        names: Sequence[str],
        begins: timedelta = timedelta(days=-1),
        ends: timedelta = LIFE,
        key: PrivateKey | None = None,
    ) -> Pair:
        """A certificate for host names and IP addresses, these alone. ``begins`` and ``ends`` count from now.

        The ``key`` is on P-256 if there is none.
        """
        now = datetime.now(UTC)
        return self._authority.issue(names, now + begins, now + ends, key)

    def close(self) -> None:
        """Remove the temporary folder."""
        self._remove()
        self._folder = None


def _remove(folder: "tempfile.TemporaryDirectory[str]", pid: int) -> None:
    """Remove the folder, unless this process was forked from the one with that ``pid``."""
    if os.getpid() == pid:
        folder.cleanup()


def with_loopback(names: Sequence[str]) -> tuple[str, ...]:
    """The names, and those of :data:`LOOPBACK`."""
    return tuple(dict.fromkeys((*names, *LOOPBACK)))
