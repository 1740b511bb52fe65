"""The delivery engine for recipients on other servers (RFC 5321, RFC 2033).

A destination is "smtp:" and a domain. Each attempt looks up where mail for the domain goes now: by a route,
by the smarthost, or by its MX hosts. So a reload counts for the messages that wait. The parts: ``next_hop``
and ``hosts`` find the hosts, ``pool`` has the connections, ``attempt`` sends one message, ``throttle``
counts.

A stop of the engine ends its attempts, so it comes before that of the runner.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, succeed
from zope.interface import implementer

from mailserver.config.keys.top_level import Config
from mailserver.delivery.interfaces import ITLSPolicy
from mailserver.delivery.smtp.attempt import Attempt, Relaying
from mailserver.delivery.smtp.configured_tls import ConfiguredTLS
from mailserver.delivery.smtp.connections import RelayConnection, RelayDialler
from mailserver.delivery.smtp.fetched import FetchedDelivery, SingleConnection
from mailserver.delivery.smtp.next_hop import Routes
from mailserver.delivery.smtp.outcomes import fetched
from mailserver.delivery.smtp.pool import ConnectionPool
from mailserver.delivery.smtp.throttle import Throttle
from mailserver.dns.interfaces import IResolver
from mailserver.dns.mail_hosts import MailHostFinder
from mailserver.errors import MailserverError, StorageError
from mailserver.interfaces import IDelivery, IReactor, QueuedMessage
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import QueuedRecipient

STOPPING = "the server is stopping"

Outcomes = Mapping[QueuedRecipient, DeliveryOutcome]
_T = TypeVar("_T")


@attrs.frozen
class RelaySettings:
    """The settings for relaying that follow from a configuration."""

    config: Config
    routes: Routes
    relaying: Relaying


@implementer(IDelivery)
class SMTPDelivery:
    """Delivers to other servers. For the reactor's thread."""

    def __init__(
        self,
        config: Config,
        reactor: IReactor,
        dialler: RelayDialler,
        resolver: IResolver,
        tls_policy: Callable[[ConfiguredTLS], ITLSPolicy] = lambda configured: configured,
        *,
        is_own_address: Callable[[str], bool] = lambda address: False,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``tls_policy`` makes the policy for MX hosts, at each reload, of what the configuration requires.
        ``is_own_address`` tells whether this server receives mail at an IP address. ``now`` is in seconds
        since the epoch.
        """
        self._reactor = reactor
        self._dialler = dialler
        self._resolver = resolver
        self._tls_policy = tls_policy
        self._is_own_address = is_own_address
        self._now = now
        self._random = random.SystemRandom()
        self._settings = self._read(config, None)
        self._pool = ConnectionPool(reactor, lambda: self._settings.config.queue)
        self._running: dict[Deferred[Outcomes], Sequence[Attempt]] = {}
        self._stopping = False
        self._finished: Deferred[None] | None = None

    # ------------------------------------------------------------ configuration

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        settings = self._read(config, self._settings)

        def commit() -> None:
            self._settings = settings

        return commit

    def _read(self, config: Config, before: RelaySettings | None) -> RelaySettings:
        routes = Routes(config.relay)
        finder = MailHostFinder(
            resolver=self._resolver,
            hostname=config.hostname,
            random=self._random,
            is_own_address=self._is_own_address,
            allow_private=config.relay.allow_private,
        )
        policy = self._tls_policy(routes.tls)
        if before is not None and before.config.throttle == config.throttle:
            throttle = before.relaying.throttle  # with what it has counted
        else:
            throttle = Throttle(config.throttle, self._reactor.seconds)
        relaying = Relaying(
            hostname=config.hostname,
            relay=config.relay,
            finder=finder,
            dialler=self._dialler,
            policy=policy,
            throttle=throttle,
            reactor=self._reactor,
            now=self._now,
        )
        return RelaySettings(config, routes, relaying)

    # ------------------------------------------------------------ attempts

    def deliver(self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]) -> "Deferred[Outcomes]":
        """See :class:`~mailserver.interfaces.IDelivery`."""
        domain = recipients[0].destination.partition(":")[2]
        if self._settings.routes.is_fetched(domain):
            return succeed(dict.fromkeys(recipients, fetched(domain)))
        return self._begin(message, recipients, self._pool)

    def accepts_no_mail(self, domain: str) -> bool:
        """Whether mail to ``domain`` would bounce, as it is known to have a null MX record (RFC 7505)."""
        settings = self._settings
        hop = settings.routes.next_hop(domain)
        if not hop.by_mx or settings.routes.is_fetched(domain):
            return False
        return settings.relaying.finder.accepts_no_mail(domain)

    def over(self, connection: RelayConnection) -> IDelivery:
        """An engine that delivers by ``connection``, whatever the way to the destination is."""
        return FetchedDelivery(connection, self._begin)

    def _begin(
        self,
        message: QueuedMessage,
        recipients: Sequence[QueuedRecipient],
        pool: ConnectionPool | SingleConnection,
    ) -> "Deferred[Outcomes]":
        settings = self._settings
        domain = recipients[0].destination.partition(":")[2]
        hop = settings.routes.next_hop(domain)
        # A report must arrive, also where it cannot have REQUIRETLS (RFC 8689 section 5).
        if message.handling.require_tls and message.reverse_path and not hop.path:
            hop = attrs.evolve(hop, requires_tls=True)
        attempts = [Attempt(settings.relaying, pool, hop, message, group) for group in _groups(recipients)]
        running = Deferred.fromCoroutine(self._make(attempts))
        if not running.called:
            self._running[running] = attempts
            running.addBoth(self._ended, running)
        return running

    async def _make(self, attempts: Iterable[Attempt]) -> Outcomes:
        """Make the attempts, one after another."""
        outcomes: dict[QueuedRecipient, DeliveryOutcome] = {}
        for attempt in attempts:
            try:
                if self._stopping:
                    raise StorageError(STOPPING)
                await attempt.run()
            except (MailserverError, CancelledError) as error:
                # The outcomes so far must not be lost; the other recipients wait for the next attempt.
                outcomes.update(attempt.outcomes)
                if outcomes:
                    break
                if isinstance(error, CancelledError):
                    raise StorageError(STOPPING) from None
                raise
            outcomes.update(attempt.outcomes)
        return outcomes

    def _ended(self, result: _T, running: "Deferred[Outcomes]") -> _T:
        del self._running[running]
        if self._finished is not None and not self._running:
            self._finished.callback(None)
        return result

    # ------------------------------------------------------------ the end

    async def stop(self, grace: float) -> None:
        """Begin no more attempts. Attempts that are connecting end at once, the others within ``grace``
        seconds. Fires when no attempt runs any more.
        """
        self._stopping = True
        for running, attempts in tuple(self._running.items()):
            if not any(attempt.is_sending for attempt in attempts):
                running.cancel()
        self._pool.close()
        if not self._running:
            return
        self._finished = Deferred()
        timer = self._reactor.callLater(grace, self._give_up)
        await self._finished
        if timer.active():
            timer.cancel()
        self._pool.close()

    def _give_up(self) -> None:
        for attempts in tuple(self._running.values()):
            for attempt in attempts:
                attempt.give_up(STOPPING)


def _groups(recipients: Sequence[QueuedRecipient]) -> Iterable[Sequence[QueuedRecipient]]:
    """Recipients that get the same octets from the same sender, which one transaction can carry."""
    if len(recipients) == 1:
        return (recipients,)
    groups: dict[tuple[str, bytes], list[QueuedRecipient]] = {}
    for each in recipients:
        groups.setdefault((each.reverse_path, each.head), []).append(each)
    return groups.values()
