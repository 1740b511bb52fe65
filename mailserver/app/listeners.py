"""The options, the limits and the TLS of every listener, from the configuration.

A connection gets what is in force when it begins, so that a reload needs to touch no connection.
"""

import ipaddress
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import MultiService

from mailserver import __version__
from mailserver.app.tls import TLS
from mailserver.config.model import Config, Listen
from mailserver.interfaces import IAuthenticator, IReactor, IRouter, ISpool
from mailserver.mail.address import Address
from mailserver.net.clients import LimitSettings
from mailserver.net.endpoints import server_endpoint
from mailserver.net.entrance import Entrance
from mailserver.net.factory import ConnectionFactory
from mailserver.net.limits import Limits
from mailserver.net.listener import Listener
from mailserver.net.pop3 import POP3Factory
from mailserver.net.recent import Recent
from mailserver.net.run_queue import RunQueue
from mailserver.net.smtp import SMTPFactory
from mailserver.net.terms import POP3Terms, SMTPTerms
from mailserver.pop3.settings import Settings as POP3Settings
from mailserver.smtp.settings import Settings as SMTPSettings

APOP = "APOP"


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


# When maildrops were logged in to, for pop3.login_delay.
Logins = Recent[Address, float]


@attrs.frozen
class Backends:
    """What all connections work with."""

    reactor: IReactor
    router: IRouter
    spool: ISpool
    authenticator: IAuthenticator
    logins: Logins


@attrs.frozen
class Served:
    """A protocol that is served: its section of the configuration, its options, its connections.

    ``section`` is also what its TLS contexts are made for.
    """

    section: str
    options: Callable[..., SMTPTerms | POP3Terms]
    factory: Callable[[Entrance, Callable[[str], Any], Backends], ConnectionFactory]


def _smtp(entrance: Entrance, terms: Callable[[str], SMTPTerms], to: Backends) -> ConnectionFactory:
    return SMTPFactory(entrance, terms, to.router, to.spool, to.authenticator, to.reactor)


def _pop3(entrance: Entrance, terms: Callable[[str], POP3Terms], to: Backends) -> ConnectionFactory:
    return POP3Factory(entrance, terms, to.authenticator, to.reactor, to.logins)


PROTOCOLS: Mapping[str, Served] = {
    "smtp": Served("smtp", smtp_terms, _smtp),
    "submission": Served("smtp", smtp_terms, _smtp),
    "pop3": Served("pop3", pop3_terms, _pop3),
}


@attrs.frozen
class _Terms:
    """Those of one port, without and with a login in the clear."""

    closed: SMTPTerms | POP3Terms
    open: SMTPTerms | POP3Terms
    plaintext: bool | str

    @classmethod
    def of(cls, config: Config, hostname: str, listen: Listen) -> "_Terms":
        served = PROTOCOLS[listen.protocol]
        closed, opened = (
            served.options(config, hostname, listen, plaintext=plaintext) for plaintext in (False, True)
        )
        return cls(closed, opened, getattr(config, served.section).plaintext_auth)

    def for_client(self, ip: str) -> SMTPTerms | POP3Terms:
        allowed = self.plaintext
        if allowed == "loopback":
            allowed = not ip or ipaddress.ip_address(ip.partition("%")[0]).is_loopback
        return self.open if allowed else self.closed


def limit_settings(config: Config) -> LimitSettings:
    """The section [limits]."""
    return LimitSettings(**attrs.asdict(config.limits, recurse=False))


class Listeners(MultiService):
    """All listeners, with the limits that they share."""

    def __init__(
        self, config: Config, tls: TLS, backends: Backends, remove: Callable[[Path], object]
    ) -> None:
        """``remove`` removes the file of a unix socket."""
        MultiService.__init__(self)
        self._config = config
        self._tls = tls
        self._limits = Limits(limit_settings(config), backends.reactor.seconds)
        self._run_queue = RunQueue(backends.reactor)
        self._terms = self._terms_of(config)
        for number, listen in enumerate(config.listen):
            factory = PROTOCOLS[listen.protocol].factory(
                self._entrance(listen), partial(self._terms_for, number), backends
            )
            listener = Listener(
                listen.protocol,
                listen.tls,
                f'listen[{number + 1}].endpoint: cannot listen on "{listen.endpoint}"',
                server_endpoint(backends.reactor, listen.endpoint),
                factory,
                config.stop_grace,
                remove,
            )
            MultiService.addService(self, listener)

    def where(self) -> list[dict[str, object]]:
        """The address of each listener, in the order of the configuration, as in the ready file."""
        return [listener.where() for listener in self]

    def _entrance(self, listen: Listen) -> Entrance:
        section = PROTOCOLS[listen.protocol].section
        return Entrance(
            self._limits,
            self._run_queue,
            partial(self._tls.context_factory_for, section),
            listen.tls == "implicit",
            listen.proxies,
        )

    def _terms_for(self, number: int, client_ip: str) -> SMTPTerms | POP3Terms:
        return self._terms[number].for_client(client_ip)

    def _terms_of(self, config: Config) -> list[_Terms]:
        # The listeners and the hostname last from the start.
        return [_Terms.of(config, self._config.hostname, listen) for listen in self._config.listen]

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        return partial(self._commit, self._terms_of(config), limit_settings(config))

    def _commit(self, terms: list[_Terms], limits: LimitSettings) -> None:
        self._terms = terms
        self._limits.replace(limits)
