"""The certificates: those of the configuration, or a generated one (``tls.generate``)."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from twisted.application.service import MultiService
from twisted.internet.ssl import CertificateOptions

from mailserver.config.keys.top_level import Config
from mailserver.durable.disk import Disk
from mailserver.errors import CannotStart, ConfigurationError
from mailserver.interfaces import IReactor
from mailserver.net.certificates import Certificates, Sources
from mailserver.net.made_certificate import is_due, make_certificate
from mailserver.net.pairs import PairFiles, Unusable

# Files of the generated certificate, in the directory "tls" of the data.
CA, PRIVATE_KEY, CERTIFICATE = "ca.pem", "private_key.pem", "certificate.pem"


# The contents of the files of each pair: certificate and private key.
KeptPairs = Mapping[str, tuple[bytes, bytes]]
NOTHING_KEPT: KeptPairs = {}


def tls_sources(config: Config, kept: KeptPairs = NOTHING_KEPT) -> Sources | None:
    """The files of the certificates; None without TLS. ``kept``: see
    :class:`~mailserver.net.pairs.PairFiles`."""
    if config.tls is None:
        return None
    folder = config.data / "tls"
    first = PairFiles(
        "tls",
        config.tls.certificate or folder / CERTIFICATE,
        config.tls.private_key or folder / PRIVATE_KEY,
        kept.get("tls"),
    )
    more = [
        PairFiles(key := f"certificate[{number}]", pair.certificate, pair.private_key, kept.get(key))
        for number, pair in enumerate(config.certificates, 1)
    ]
    return Sources((first, *more), config.tls.client_ca)


def kept_pairs(config: Config) -> KeptPairs:
    """The contents of the files of all pairs, for processes that may not read the private keys.

    Files that cannot be read are missing.
    """
    sources = tls_sources(config)
    found = {}
    for files in () if sources is None else sources.pairs:
        with suppress(OSError):
            found[files.key] = files.certificate.read_bytes(), files.private_key.read_bytes()
    return found


class TLSService(MultiService):
    """The certificates in force. With ``tls.generate``, the certificate is made when the service starts."""

    def __init__(
        self,
        path: Path,
        config: Config,
        reactor: IReactor,
        disk: Disk,
        kept: KeptPairs = NOTHING_KEPT,
        *,
        generates: bool = True,
    ) -> None:
        """``path`` is the configuration file, for errors. ``kept``: see
        :class:`~mailserver.net.pairs.PairFiles`. Without ``generates`` another process has made the
        certificate of ``tls.generate``.

        The certificates are read now, as the process may lose the privileges for it. Raises
        :class:`ConfigurationError` if one cannot be used.
        """
        MultiService.__init__(self)
        self._path = path
        self._config = config
        self._reactor = reactor
        self._disk = disk
        self._kept = kept
        self._generates = generates
        self._certificates: Certificates | None = None
        if config.tls is not None and not config.tls.generate:
            try:
                self._read(config)
            except Unusable as error:
                raise ConfigurationError(self._lines(error)) from error

    def context_factory_for(self, service: str) -> CertificateOptions:
        """The TLS context for connections of ``service``, "smtp" or "pop3". TLS must be configured."""
        assert self._certificates is not None
        return self._certificates.context_factory_for(service)

    def certificate_ends(self) -> dict[str, float]:
        """See :meth:`~mailserver.net.certificates.Certificates.ends`; empty without TLS."""
        return {} if self._certificates is None else self._certificates.ends()

    def _read(self, config: Config) -> None:
        sources = tls_sources(config, self._kept)
        assert sources is not None
        self._certificates = Certificates(sources, self._reactor)
        MultiService.addService(self, self._certificates)

    def _lines(self, error: Unusable) -> list[str]:
        return [f"{self._path}: {key}: {text}" for key, text in error.problems]

    def open(self) -> None:
        """With ``tls.generate``, make a certificate unless there is one that is valid for long enough.

        Raises OSError, and :class:`CannotStart` if an existing certificate cannot be used.
        """
        if self._config.tls is None or not self._config.tls.generate:
            return
        if self._generates:
            self._generate()
        try:
            self._read(self._config)
        except Unusable as error:
            raise CannotStart(str(error)) from error

    def _generate(self) -> None:
        folder = self._config.data / "tls"
        own = self._config.hostname.strip("[]").removeprefix("IPv6:")
        names = list(dict.fromkeys([own, "localhost", "127.0.0.1", "::1"]))
        self._disk.make_dirs(folder, below=self._config.data)
        certificate = folder / CERTIFICATE
        # The certificate is written last: if it is missing, the last attempt was interrupted.
        if not certificate.exists() or is_due(certificate.read_bytes(), names, time.time()):
            with suppress(FileNotFoundError):
                self._disk.remove(certificate)
            made = make_certificate(names, time.time())
            for name, content in (
                (CA, made.ca),
                (PRIVATE_KEY, made.private_key),
                (CERTIFICATE, made.certificate),
            ):
                self._disk.replace(folder / name, content)

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`. Turning TLS on or off needs a restart."""
        sources = tls_sources(config, self._kept)
        if self._certificates is None or sources is None:
            return lambda: None
        try:
            return self._certificates.prepare(sources)
        except Unusable as error:
            raise ConfigurationError(self._lines(error)) from error
