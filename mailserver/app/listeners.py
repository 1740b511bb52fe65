"""The options, the limits and the TLS of every listener, from the configuration.

A connection uses the options in force when it begins, so a reload does not touch open connections.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import attrs
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IStreamServerEndpoint

from mailserver import __version__
from mailserver.app.receptions import Receptions
from mailserver.config.keys.limits import LimitsSection
from mailserver.config.keys.listen import ListenSection
from mailserver.config.keys.top_level import Config
from mailserver.config.schema.mail_kinds import Network
from mailserver.interfaces import IAuthenticator, IReactor
from mailserver.mail.address import Address
from mailserver.metrics.counts import tls_version
from mailserver.net.clients import client_key
from mailserver.net.endpoints import server_endpoint
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.factory import ConnectionFactory
from mailserver.net.limits import Limits
from mailserver.net.listener import Listener, ListeningFactory
from mailserver.net.listener_context import ListenerContext
from mailserver.net.pop3 import POP3Factory
from mailserver.net.run_queue import RunQueue
from mailserver.net.smtp import SMTPFactory
from mailserver.pop3.options import POP3Options
from mailserver.smtp.options import SMTPOptions

APOP = "APOP"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))


def smtp_options(config: Config, hostname: str, listen: ListenSection, *, plaintext: bool) -> SMTPOptions:
    """The options of a listener for SMTP, submission or LMTP; ``hostname`` is that of the start."""
    lmtp = listen.protocol == "lmtp"
    return SMTPOptions(
        **_keys(config.smtp) | {"plaintext_auth": plaintext},
        hostname=hostname,
        domain=config.domains[0],
        submission=listen.protocol == "submission",
        lmtp=lmtp,
        starttls=listen.tls == "starttls",
        mechanisms=tuple(name for name in config.auth.mechanisms if name != APOP),
        max_login_failures=config.limits.auth_failures,
        queue_starts=bool(config.relay.domains) and not lmtp,
        fetches=bool(config.relay.atrn) and not lmtp,
    )


def pop3_options(config: Config, hostname: str, listen: ListenSection, *, plaintext: bool) -> POP3Options:
    """The options of a listener for POP3."""
    return POP3Options(
        **_keys(config.pop3) | {"plaintext_auth": plaintext},
        hostname=hostname,
        version=__version__,
        starttls=listen.tls == "starttls",
        mechanisms=config.auth.mechanisms,
        max_login_failures=config.limits.auth_failures,
        account_expire={
            str(account.address.key): account.expire
            for account in config.accounts
            if account.expire is not None and account.expire != config.pop3.expire
        },
    )


def _keys(section: attrs.AttrsInstance) -> dict[str, Any]:
    return attrs.asdict(section, recurse=False)


# When maildrops were logged in to, for pop3.login_delay.
LastLogins = ExpiringTable[Address, float]
MOST_LOGINS = 100_000
LONGEST_DELAY = 86400.0  # seconds


def last_logins(seconds: Callable[[], float]) -> LastLogins:
    """The table of the last logins. ``seconds`` is a clock that does not go backwards."""
    return ExpiringTable(MOST_LOGINS, LONGEST_DELAY, seconds)


# Makes the factory of a listener for HTTP; the argument returns the TLS of the next connection, if any.
HTTPFactories = Callable[[Callable[[], object] | None], ListeningFactory]


class TLSContexts(Protocol):
    """The TLS contexts of all listeners."""

    def context_factory_for(self, service: str) -> IOpenSSLServerConnectionCreator:
        """See :meth:`~mailserver.app.tls.TLSService.context_factory_for`."""


@attrs.frozen
class Backends:
    """The services that all connections share."""

    reactor: IReactor
    limits: Limits
    receptions: Receptions
    authenticator: IAuthenticator
    logins: LastLogins


@attrs.frozen
class ServedProtocol:
    """A supported protocol: its section of the configuration, its options and its factory.

    ``section`` also names the TLS contexts.
    """

    section: str
    options: Callable[..., SMTPOptions | POP3Options]
    factory: Callable[[int, ListenerContext, Callable[[str], Any], Backends], ConnectionFactory]


def _smtp(
    number: int, context: ListenerContext, options: Callable[[str], SMTPOptions], to: Backends
) -> ConnectionFactory:
    return SMTPFactory(context, options, partial(to.receptions.of, number), to.authenticator, to.reactor)


def _pop3(
    number: int, context: ListenerContext, options: Callable[[str], POP3Options], to: Backends
) -> ConnectionFactory:
    return POP3Factory(context, options, to.authenticator, to.reactor, to.logins)


PROTOCOLS: Mapping[str, ServedProtocol] = {
    "smtp": ServedProtocol("smtp", smtp_options, _smtp),
    "submission": ServedProtocol("smtp", smtp_options, _smtp),
    "lmtp": ServedProtocol("smtp", smtp_options, _smtp),
    "pop3": ServedProtocol("pop3", pop3_options, _pop3),
}


@attrs.frozen
class _Options:
    """The options of one port, without and with plaintext logins. Clients of LMTP that are not in ``trusted``
    networks must log in."""

    closed: SMTPOptions | POP3Options
    open: SMTPOptions | POP3Options
    plaintext: bool | str
    trusted: tuple[Network, ...]

    @classmethod
    def of(cls, config: Config, hostname: str, listen: ListenSection) -> "_Options":
        served = PROTOCOLS[listen.protocol]
        closed, opened = (
            served.options(config, hostname, listen, plaintext=plaintext) for plaintext in (False, True)
        )
        trusted = (*LOOPBACK, *config.relay.networks)
        return cls(closed, opened, getattr(config, served.section).plaintext_auth, trusted)

    def for_client(self, ip: str) -> SMTPOptions | POP3Options:
        allowed = self.plaintext
        if allowed == "loopback":
            allowed = _is_inside(LOOPBACK, ip)
        options = self.open if allowed else self.closed
        if not isinstance(options, SMTPOptions):
            return options
        if options.lmtp and not _is_inside(self.trusted, ip):
            options = attrs.evolve(options, trusted=False)
        if ip:
            xclient = _is_inside(options.xclient_networks, ip)
            xforward = _is_inside(options.xforward_networks, ip)
            if xclient or xforward:
                options = attrs.evolve(options, xclient=xclient, xforward=xforward)
        return options


def _is_inside(networks: tuple[Network, ...], ip: str) -> bool:
    """Whether the client is in one of the networks. One without an address, of a unix socket, always is."""
    return not client_key(ip, networks)


class Listeners(MultiService):
    """All listeners. They share the limits."""

    def __init__(
        self,
        config: Config,
        tls: TLSContexts,
        backends: Backends,
        remove: Callable[[Path], object],
        adapt: Callable[[ConnectionFactory], ConnectionFactory] = lambda factory: factory,
        http: Mapping[str, HTTPFactories] = {},
        endpoint: Callable[[int], IStreamServerEndpoint] | None = None,
    ) -> None:
        """``remove`` removes the file of a unix socket. ``adapt`` gets the factory of each listener for mail,
        and returns the one to use. ``http`` makes the factories of listeners for metrics and the web, by
        protocol, whose connections have the TLS that its argument returns; without it there are none.
        ``endpoint`` gives the endpoint of a listener by its number, from 0, instead of the text in the
        configuration."""
        MultiService.__init__(self)
        self._config = config
        self._tls = tls
        self._limits = backends.limits
        self._run_queue = RunQueue(backends.reactor)
        self._options = self._options_of(config)
        self._factories: list[tuple[str, ConnectionFactory]] = []
        for number, listen in enumerate(config.listen):
            factory: ListeningFactory
            if listen.protocol in PROTOCOLS:
                context, options = self._context(listen), partial(self._options_for, number)
                served = adapt(PROTOCOLS[listen.protocol].factory(number, context, options, backends))
                self._factories.append((listen.protocol, served))
                factory = served
            elif listen.protocol not in http:
                continue
            else:
                tls_of = partial(tls.context_factory_for, listen.protocol)
                factory = http[listen.protocol](None if listen.tls == "none" else tls_of)
            listener = Listener(
                listen.protocol,
                listen.tls,
                f'listen[{number + 1}].endpoint: cannot listen on "{listen.endpoint}"',
                server_endpoint(backends.reactor, listen.endpoint) if endpoint is None else endpoint(number),
                factory,
                config.stop_grace,
                remove,
            )
            MultiService.addService(self, listener)

    def accounts_changed(self) -> None:
        """Other accounts are in force."""
        for _, factory in self._factories:
            for connection in factory.connections:
                connection.accounts_changed()

    def sessions(self) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
        """The open sessions, and all sessions since the start, by protocol and TLS version."""
        opened: Counter[tuple[str, str]] = Counter()
        ended: Counter[tuple[str, str]] = Counter()
        for protocol, factory in self._factories:
            opened[protocol, tls_version("")] += 0
            for connection in factory.connections:
                opened[protocol, tls_version(connection.tls)] += 1
            for tls, count in factory.ended.items():
                ended[protocol, tls_version(tls)] += count
        ended.update(opened)
        return opened, ended

    def stopService(self) -> Deferred[None]:
        """Stop the listeners, those for HTTP when all sessions of mail have ended."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for is_mail in (True, False):
            stopping = [
                maybeDeferred(listener.stopService)
                for listener in self
                if (listener.protocol in PROTOCOLS) == is_mail
            ]
            await DeferredList(stopping)

    def where(self) -> list[dict[str, object]]:
        """The address of each listener, in the order of the configuration, as in the ready file."""
        return [listener.where() for listener in self]

    def _context(self, listen: ListenSection) -> ListenerContext:
        section = PROTOCOLS[listen.protocol].section
        return ListenerContext(
            self._limits,
            self._run_queue,
            partial(self._tls.context_factory_for, section),
            listen.tls == "implicit",
            listen.proxies,
        )

    def _options_for(self, number: int, client_ip: str) -> SMTPOptions | POP3Options:
        return self._options[number].for_client(client_ip)

    def _options_of(self, config: Config) -> dict[int, _Options]:
        # The listeners and the hostname last from the start.
        return {
            number: _Options.of(config, self._config.hostname, listen)
            for number, listen in enumerate(self._config.listen)
            if listen.protocol in PROTOCOLS
        }

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        return partial(self._commit, self._options_of(config), config.limits)

    def _commit(self, options: dict[int, _Options], limits: LimitsSection) -> None:
        self._options = options
        self._limits.replace(limits)
