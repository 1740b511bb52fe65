"""The web: the listeners with ``protocol = "web"``. The first worker has them, as it has the commands."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import attrs

from mailserver.app.accounts import AccountService
from mailserver.app.receptions import Receptions
from mailserver.app.tasks import Tasks
from mailserver.config.keys.top_level import Config
from mailserver.control.channel import Command
from mailserver.interfaces import IMailboxStore, IMaildrops, IReactor
from mailserver.mail.address import Address
from mailserver.net.limits import Limits
from mailserver.net.listener import ListeningFactory
from mailserver.threads.pool import Threads

WEB = "web"


@attrs.frozen(kw_only=True)
class WebServices:
    """The parts of the server that the web uses. ``kept_aside`` returns the mailboxes of the quarantine."""

    accounts: AccountService
    limits: Limits
    store: IMailboxStore
    maildrops: IMaildrops
    receptions: Receptions
    tasks: Tasks
    commands: Callable[[], Mapping[str, Command]]
    problem: Callable[[], Awaitable[str]]
    kept_aside: Callable[[], tuple[Address, ...]]


class Web:
    """Makes the factories of the listeners. ``hostname`` is that of the start."""

    def __init__(self, config: Config, services: WebServices, reactor: IReactor, threads: Threads) -> None:
        self._hostname = config.hostname
        self._domain = config.domains[0]
        self._listeners = config.listen
        self._services = services
        self._reactor = reactor
        self._threads = threads
        self._commit(config)

    def factory(self, tls: Callable[[], object] | None) -> ListeningFactory:
        """The factory of a listener. ``tls`` returns the TLS context of the next connection."""
        # Most servers never need it.
        from mailserver.http.listening import HTTPListening
        from mailserver.web.access import Access
        from mailserver.web.application import WebApplication
        from mailserver.web.arrivals import Arrivals
        from mailserver.web.context import ApiParts
        from mailserver.web.mailboxes import MailboxReader
        from mailserver.web.well_known import WellKnownFiles

        services = self._services
        authenticator = services.accounts.authenticator
        parts = ApiParts(
            reader=MailboxReader(services.store, self._reactor, self._threads),
            reactor=self._reactor,
            threads=self._threads,
            authenticator=authenticator,
            limits=services.limits,
            maildrops=services.maildrops,
            arrivals=Arrivals(self._reactor),
            has_mailbox=self._has_mailbox,
            domain=self._domain,
            start=services.tasks.start,
            reception=lambda: services.receptions.web,
            smtp=lambda: services.receptions.section,
            commands=services.commands,
            problem=services.problem,
        )
        access = Access(authenticator, services.limits, lambda: self._section, self._reactor)
        files = WellKnownFiles(self._hostname, lambda: self._domains, self._listeners, lambda: self._section)
        application = WebApplication(access, parts, files, lambda: self._names)
        return HTTPListening(application, self._reactor, tls=tls, limits=services.limits)

    def _has_mailbox(self, address: Address) -> bool:
        return self._services.accounts.has(address) or address in self._services.kept_aside()

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        return partial(self._commit, config)

    def _commit(self, config: Config) -> None:
        self._section = config.web
        self._domains = config.domains
        self._names = frozenset((self._hostname, *config.web.names))
