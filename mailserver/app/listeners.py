"""The options, the limits and the TLS of every listener, from the configuration.

A connection gets what is in force when it begins, so that a reload needs to touch no connection.
"""

import ipaddress
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

import attrs
from twisted.application.service import MultiService

from mailserver import __version__
from mailserver.config.model import Config, Listen
from mailserver.durable.disk import Disk
from mailserver.errors import CannotStart, ConfigurationError
from mailserver.interfaces import IReactor
from mailserver.net.certificates import Certificates, Sources
from mailserver.net.clients import LimitSettings
from mailserver.net.entrance import Entrance
from mailserver.net.limits import Limits
from mailserver.net.made_certificate import is_due, make_certificate
from mailserver.net.pairs import PairFiles, Unusable
from mailserver.net.run_queue import RunQueue
from mailserver.net.terms import POP3Terms, SMTPTerms
from mailserver.pop3.settings import Settings as POP3Settings
from mailserver.smtp.settings import Settings as SMTPSettings

APOP = "APOP"
# What is made, below data, for tls.generate.
CA, PRIVATE_KEY, CERTIFICATE = "ca.pem", "private_key.pem", "certificate.pem"


def smtp_terms(config: Config, hostname: str, listen: Listen, *, plaintext: bool) -> SMTPTerms:
    """The terms of a port for SMTP; ``hostname`` is the one since the start."""
    smtp, submission = config.smtp, listen.protocol == "submission"
    return SMTPTerms(
        settings=SMTPSettings(
            hostname=hostname,
            domain=config.domains[0],
            max_message_size=smtp.max_message_size,
            max_line_length=smtp.max_line_length,
            max_recipients=smtp.max_recipients,
            hop_limit=smtp.hop_limit,
            bare_newline=smtp.bare_newline,
            verify=smtp.verify,
            strict_syntax=smtp.strict_syntax,
            max_errors=smtp.max_errors,
            max_login_failures=config.limits.auth_failures,
            submission=submission,
            starttls=listen.tls == "starttls",
            mechanisms=tuple(name for name in config.auth.mechanisms if name != APOP),
            plaintext_auth=plaintext,
        ),
        timeout=smtp.command_timeout,
        transaction_timeout=smtp.transaction_timeout,
        greeting_delay=smtp.greeting_delay,
        refuse_early=smtp.early_talkers == "refuse",
        own_senders=config.submission.senders == "own",
        hide_client=submission and config.submission.hide_client,
        remove_bcc=config.submission.remove_bcc,
    )


def pop3_terms(config: Config, hostname: str, listen: Listen, *, plaintext: bool) -> POP3Terms:
    """The terms of a port for POP3."""
    return POP3Terms(
        settings=POP3Settings(
            hostname=hostname,
            version=__version__,
            starttls=listen.tls == "starttls",
            mechanisms=config.auth.mechanisms,
            plaintext_auth=plaintext,
            login_delay=-int(-config.pop3.login_delay // 1),
            max_login_failures=config.limits.auth_failures,
        ),
        timeout=config.pop3.command_timeout,
        login_delay=config.pop3.login_delay,
    )


@attrs.frozen
class _Terms:
    """Those of one port, without and with a login in the clear."""

    closed: SMTPTerms | POP3Terms
    open: SMTPTerms | POP3Terms
    plaintext: bool | str

    def of(self, client_ip: str) -> SMTPTerms | POP3Terms:
        allowed = self.plaintext
        if allowed == "loopback":
            allowed = not client_ip or ipaddress.ip_address(client_ip.partition("%")[0]).is_loopback
        return self.open if allowed else self.closed


def _terms(config: Config, hostname: str, listen: Listen) -> _Terms:
    pop3 = listen.protocol == "pop3"
    make: Callable[..., SMTPTerms | POP3Terms] = pop3_terms if pop3 else smtp_terms
    closed, opened = (make(config, hostname, listen, plaintext=plaintext) for plaintext in (False, True))
    return _Terms(closed, opened, config.pop3.plaintext_auth if pop3 else config.smtp.plaintext_auth)


def tls_sources(config: Config) -> Sources | None:
    """Where the certificates are; None without TLS."""
    if config.tls is None:
        return None
    folder = config.data / "tls"
    first = PairFiles(
        "tls",
        config.tls.certificate or folder / CERTIFICATE,
        config.tls.private_key or folder / PRIVATE_KEY,
    )
    more = [
        PairFiles(f"certificate[{number}]", pair.certificate, pair.private_key)
        for number, pair in enumerate(config.certificates, 1)
    ]
    return Sources((first, *more), config.tls.client_ca)


def limit_settings(config: Config) -> LimitSettings:
    """The section [limits]."""
    return LimitSettings(**attrs.asdict(config.limits, recurse=False))


class Listeners(MultiService):
    """All ports; what changes with the configuration is here."""

    def __init__(self, path: Path, config: Config, reactor: IReactor) -> None:
        """``path`` is the configuration's file, for errors.

        Raises :class:`ConfigurationError` for certificates that no TLS can be served with.
        """
        MultiService.__init__(self)
        self._path = path
        self._config = config
        self._reactor = reactor
        self._listen: dict[int, Listen] = {}
        self._terms: dict[int, _Terms] = {}
        self._certificates: Certificates | None = None
        self.limits = Limits(limit_settings(config), reactor.seconds)
        self._run_queue = RunQueue(reactor)
        # What privileges are needed for is read while there are any.
        if config.tls is not None and not config.tls.generate:
            try:
                self._read_certificates()
            except Unusable as error:
                raise ConfigurationError(self._lines(error)) from error

    def entrance(self, number: int, listen: Listen) -> Entrance:
        """What the connections of a port share; ``number`` is its own, from 1."""
        self._listen[number] = listen
        self._terms[number] = _terms(self._config, self._config.hostname, listen)
        service = "smtp" if listen.protocol == "submission" else listen.protocol
        return Entrance(
            self.limits,
            self._run_queue,
            partial(self._tls, service),
            listen.tls == "implicit",
            listen.proxies,
        )

    def smtp_terms(self, number: int) -> Callable[[str], SMTPTerms]:
        """The terms of a port for a client's IP address."""
        return lambda ip: cast(SMTPTerms, self._terms[number].of(ip))

    def pop3_terms(self, number: int) -> Callable[[str], POP3Terms]:
        """As :meth:`smtp_terms`."""
        return lambda ip: cast(POP3Terms, self._terms[number].of(ip))

    def _tls(self, service: str) -> object:
        assert self._certificates is not None
        return self._certificates.context_factory_for(service)

    # ------------------------------------------------------------ certificates

    def _read_certificates(self) -> None:
        sources = tls_sources(self._config)
        assert sources is not None
        self._certificates = Certificates(sources, self._reactor)
        MultiService.addService(self, self._certificates)

    def _lines(self, error: Unusable) -> list[str]:
        return [f"{self._path}: {key}: {text}" for key, text in error.problems]

    def make_certificate(self, disk: Disk) -> None:
        """Make a certificate for demos and tests, where that is asked for and there is none that lasts.

        Raises OSError, and :class:`CannotStart` if what is there cannot be used.
        """
        if self._config.tls is None or not self._config.tls.generate:
            return
        folder = self._config.data / "tls"
        own = self._config.hostname.strip("[]").removeprefix("IPv6:")
        names = list(dict.fromkeys([own, "localhost", "127.0.0.1", "::1"]))
        disk.make_dirs(folder, below=self._config.data)
        certificate = folder / CERTIFICATE
        # The certificate is the last to be written: without it, something was cut short.
        if not certificate.exists() or is_due(certificate.read_bytes(), names, time.time()):
            with suppress(FileNotFoundError):
                disk.remove(certificate)
            made = make_certificate(names, time.time())
            for name, content in (
                (CA, made.ca),
                (PRIVATE_KEY, made.private_key),
                (CERTIFICATE, made.certificate),
            ):
                disk.replace(folder / name, content)
        try:
            self._read_certificates()
        except Unusable as error:
            raise CannotStart(str(error)) from error

    # ------------------------------------------------------------ reload

    def renew(self, config: Config) -> None:
        """Put new certificates in force, all or none. Raises :class:`ConfigurationError`."""
        sources = tls_sources(config)
        if self._certificates is None or sources is None:
            return
        try:
            self._certificates.reload(sources)
        except Unusable as error:
            raise ConfigurationError(self._lines(error)) from error

    def replace(self, config: Config) -> None:
        """Put another configuration in force, except for what lasts from the start."""
        for number, listen in self._listen.items():
            self._terms[number] = _terms(config, self._config.hostname, listen)
        self.limits.replace(limit_settings(config))
