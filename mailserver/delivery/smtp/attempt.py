"""One attempt to send a message to recipients with the same next hop.

The recipients share a transaction as far as the other server allows. A host that refuses, or ends the session
before it has decided about any recipient, is followed by the next host. A connection from the pool that turns
out to be closed is replaced, and does not count. Replies about the message, its sender or its recipients are
final for this attempt.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import floor

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads

from mailserver.config.keys.relay import RelaySection
from mailserver.delivery.interfaces import ITLSPolicy
from mailserver.delivery.smtp.connections import RelayConnection, RelayDialler
from mailserver.delivery.smtp.content import MessageContent
from mailserver.delivery.smtp.fetched import SingleConnection
from mailserver.delivery.smtp.hosts import NoHost, configured_tls, find_hosts
from mailserver.delivery.smtp.next_hop import NextHop
from mailserver.delivery.smtp.outcomes import (
    NO_MAIL_HERE,
    SECURITY,
    closed,
    no_conversion,
    outcome_of,
    throttled,
    unreachable,
)
from mailserver.delivery.smtp.password import read_password
from mailserver.delivery.smtp.pool import ConnectionPool, HopConnections
from mailserver.delivery.smtp.required_tls import check_offer, raised, returned
from mailserver.delivery.smtp.throttle import MessageLimit, Throttle, count, give_back
from mailserver.dns.mail_hosts import DIRECTORY_FAILURE, MailHostFinder
from mailserver.errors import DNSFailure, HostUnusable, StorageError
from mailserver.events.base import report
from mailserver.events.relay import RelayHostUnusable
from mailserver.interfaces import QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.handling import USUAL
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import QueuedRecipient
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSRequirement
from mailserver.sasl.client import ClientCredentials
from mailserver.smtp.sender.events import CloseCause, Fate, RecipientResult
from mailserver.smtp.sender.settings import OutgoingMail, OutgoingRecipient, SenderSettings
from mailserver.threads.pool import run_in_thread

MOST_SECONDS = 999_999_999  # of a deadline (RFC 2852)
MOST_CONNECTIONS = 20  # that one attempt opens


@attrs.frozen(eq=False, kw_only=True)
class Relaying:
    """The parts that all attempts use, with the configuration in force. ``now`` is in seconds since the
    epoch."""

    hostname: str
    relay: RelaySection
    finder: MailHostFinder
    dialler: RelayDialler
    policy: ITLSPolicy
    throttle: Throttle
    reactor: IReactorThreads
    now: Callable[[], float]


class Attempt:
    """One attempt. ``outcomes`` has the outcomes that are known."""

    def __init__(
        self,
        relaying: Relaying,
        pool: ConnectionPool | SingleConnection,
        hop: NextHop,
        message: QueuedMessage,
        recipients: Sequence[QueuedRecipient],
    ) -> None:
        """``recipients`` have the same destination, reverse-path and head."""
        self.outcomes: dict[QueuedRecipient, DeliveryOutcome] = {}
        self._relaying = relaying
        self._pool = pool
        self._hop = hop
        self._message = message
        self._left: Sequence[QueuedRecipient] = recipients
        self._content = MessageContent(
            recipients[0].head, message.content, relaying.reactor, binary=message.handling.binary
        )
        self._converted: MessageContent | None = None
        self._limits: Sequence[MessageLimit] = ()  # that have counted the message
        self._hosts: Iterator[RelayHost] | None = None
        self._problem: outcome.Deferred | None = None
        self._all_closed = False
        self._no_tls = False  # REQUIRETLS rules out all hosts so far
        self._opened = 0
        self._given_up = ""
        self._connection: RelayConnection | None = None

    async def run(self) -> Mapping[QueuedRecipient, DeliveryOutcome]:
        """Make the attempt. Raises :class:`~mailserver.errors.StorageError` and
        :class:`~mailserver.errors.MessageDamaged`; then ``outcomes`` may have some outcomes nevertheless."""
        await self._content.open()
        if self._content.waives_tls and self._hop.by_mx and not self._hop.requires_tls:
            self._hop = attrs.evolve(self._hop, waives_tls=True)
        while self._left:
            try:
                connections = self._pool.of(self._hop)
                connection, is_reused = await self._connect(connections)
            except NoHost as error:
                self.outcomes.update(dict.fromkeys(self._left, error.outcome))
                break
            try:
                self._connection = connection
                content = await self._content_for(connection)
                if content is None:
                    no = no_conversion(connection.label, binary=self._content.binary)
                    self.outcomes.update(dict.fromkeys(self._left, no))
                    break
                if not connection.idle:  # it has ended in the pool, or while the content was converted
                    continue
                results = await self._send(connection, content)
            finally:
                self._connection = None
                connections.release(connection)
            self._record(connection, results, is_reused)
            if self._given_up and self._left:
                raise StorageError(self._given_up)
        return self.outcomes

    @property
    def is_sending(self) -> bool:
        """Whether a message is under way. Otherwise the Deferred of :meth:`run` may be cancelled."""
        return self._connection is not None

    def give_up(self, text: str) -> None:
        """End the session of the message that is under way."""
        self._given_up = text
        if self._connection is not None:
            self._connection.give_up(text)

    # ------------------------------------------------------------ connections

    async def _connect(self, connections: HopConnections | SingleConnection) -> tuple[RelayConnection, bool]:
        """A connection, and whether it was used before. Raises :class:`NoHost`."""
        turn = connections.acquire()
        connection = await turn if isinstance(turn, Deferred) else turn
        try:
            if connection is not None:
                self._count(connection.host)
                return connection, True
            return await self._open(), False
        except NoHost as error:
            if isinstance(error.outcome, outcome.Deferred) and error.outcome.unreachable:
                connections.unreachable(error.outcome)
                if not self.outcomes:
                    give_back(self._limits)
            connections.release(connection)
            raise
        except BaseException:  # cancelled, too
            connections.release(None)
            raise

    def _count(self, host: RelayHost) -> None:
        """Count the message, once, before it goes to ``host``. Raises :class:`NoHost` if it has to wait."""
        if self._limits:
            return
        relaying = self._relaying
        limits = relaying.throttle.limits(self._left[0].destination.partition(":")[2], host.name)
        if (reached := count(limits)) is not None:
            domain, wait = reached
            raise NoHost(throttled(domain, relaying.now() + wait))
        self._limits = limits

    async def _open(self) -> RelayConnection:
        """Connect to the next host that takes mail. Raises :class:`NoHost` after the last one."""
        if self._hosts is None:
            hosts = await find_hosts(self._hop, self._relaying.finder)
            # Hosts that did not work a short time ago come last.
            self._hosts = iter(sorted(hosts, key=self._relaying.dialler.is_down))
            self._all_closed = self._hop.by_mx
            self._no_tls = self._hop.requires_tls
        self._opened += 1
        rejected: outcome.Failed | None = None
        for host in self._hosts:
            self._count(host)
            try:
                return await self._dial(host)
            except HostUnusable as error:
                report(RelayHostUnusable(id=self._message.id, host=error.host, reason=str(error)))
                self._problem = unreachable(error)
                self._all_closed &= error.reply.startswith(f"{NO_MAIL_HERE} ")
                self._no_tls &= error.tls_failed or bool(error.tls_problem)
                if self._no_tls:
                    rejected = returned(error)
            except DNSFailure as error:
                self._problem = outcome.Deferred(DIRECTORY_FAILURE, str(error), unreachable=True)
                self._all_closed = self._no_tls = False
        assert self._problem is not None
        if self._no_tls and rejected is not None:
            raise NoHost(rejected)
        if self._hop.requires_tls:  # other messages may go there
            self._problem = attrs.evolve(self._problem, unreachable=False)
        raise NoHost(closed(self._problem) if self._all_closed else self._problem)

    async def _dial(self, host: RelayHost) -> RelayConnection:
        relaying, hop = self._relaying, self._hop
        requirement = await self._requirement(host)
        credentials = await self._credentials() if hop.login else None
        settings = SenderSettings(
            hostname=relaying.hostname,
            protocol="lmtp" if hop.lmtp else "smtp",
            credentials=credentials,
            plaintext_auth=host.is_local,
        )
        try:
            connection = await relaying.dialler.dial(
                host, settings, requirement, relaying.relay.source_address
            )
        except HostUnusable as error:
            self._tell(host, requirement, error.tls_problem)
            raise
        self._tell(host, requirement, connection.tls_problem)
        if hop.requires_tls:
            check_offer(connection)
        return connection

    async def _requirement(self, host: RelayHost) -> TLSRequirement:
        requirement = await self._usual_requirement(host)
        return raised(requirement, host, by_mx=self._hop.by_mx) if self._hop.requires_tls else requirement

    async def _usual_requirement(self, host: RelayHost) -> TLSRequirement:
        hop = self._hop
        if not hop.by_mx or hop.waives_tls:
            return configured_tls(hop, host)
        requirement = await self._relaying.policy.policy_for(hop.name, host.name, host.secure)
        if requirement.refused:
            raise HostUnusable(f"{host.name}: {requirement.refused}", host.name, tls_failed=True)
        return requirement

    def _tell(self, host: RelayHost, requirement: TLSRequirement, problem: str | None) -> None:
        if self._hop.by_mx and problem is not None:
            self._relaying.policy.connected(self._hop.name, host.name, requirement, problem)

    async def _credentials(self) -> ClientCredentials:
        relay = self._relaying.relay
        assert relay.smarthost_password_file is not None
        try:
            password = await run_in_thread(
                self._relaying.reactor, read_password, relay.smarthost_password_file
            )
        except StorageError as error:
            rule = "relay.smarthost_password_file"
            raise NoHost(outcome.Deferred(SECURITY, str(error), rule=rule, unreachable=True)) from None
        return ClientCredentials(relay.smarthost_user, password)

    # ------------------------------------------------------------ one transaction

    async def _send(self, connection: RelayConnection, content: MessageContent) -> Sequence[RecipientResult]:
        mail = OutgoingMail(
            reverse_path=self._left[0].reverse_path,
            recipients=tuple(
                [OutgoingRecipient(each.address, each.notify, each.orcpt) for each in self._left]
            ),
            size=content.size,
            eight_bit=content.eight_bit,
            binary=content.binary,
            # 8-bit headers are older than SMTPUTF8. Without that parameter they go to any server.
            utf8=content.utf8 and (connection.extensions.utf8 or self._message.handling.utf8),
            ret=self._message.ret,
            envid=self._message.envid,
        )
        if self._message.handling != USUAL:
            mail = self._with_handling(mail, connection)
        content.rewind()
        return await connection.send(mail, content)

    def _with_handling(self, mail: OutgoingMail, connection: RelayConnection) -> OutgoingMail:
        """The message with the handling that its sender asks for."""
        asked, extensions = self._message.handling, connection.extensions
        can_require = connection.tls_problem is not None and extensions.require_tls
        mail = attrs.evolve(
            mail,
            priority=asked.priority,
            require_tls=asked.require_tls and (self._hop.requires_tls or can_require),
        )
        if asked.deadline is None or self._hop.lmtp:
            return mail
        is_returned = asked.deadline.mode == "R"
        left = floor(asked.deadline.when - self._relaying.now())
        return attrs.evolve(
            mail,
            deadline=min(max(left, 1 if is_returned else -MOST_SECONDS), MOST_SECONDS),
            returned=is_returned,
            traced=asked.deadline.trace,
        )

    async def _content_for(self, connection: RelayConnection) -> MessageContent | None:
        """The content in a form that the other server accepts; None if no form is possible."""
        content, extensions = self._content, connection.extensions
        if content.binary:
            is_accepted = extensions.takes_binary
        else:
            is_accepted = not content.eight_bit or extensions.eight_bit
        if is_accepted:
            return content
        if self._converted is None:
            self._converted = await content.in_seven_bit()
        return self._converted

    def _record(
        self, connection: RelayConnection, results: Sequence[RecipientResult], is_reused: bool
    ) -> None:
        """Keep the decided results, and decide about the others: whether to try them again now."""
        untried: dict[QueuedRecipient, DeliveryOutcome] = {}
        is_lost = False
        for each, result in zip(self._left, results, strict=True):
            decided = self.outcomes if result.fate is not Fate.UNTRIED else untried
            decided[each] = outcome_of(result, connection.label)
            is_lost |= result.fate is Fate.UNCERTAIN
        progress = len(untried) < len(results)
        if connection.ended is not None and (is_lost or not (progress or is_reused)):
            self._relaying.dialler.mark_down(connection.host)
        if not untried:
            self._left = ()
            return
        self._left = tuple(untried)
        ended = connection.ended
        if self._opened >= MOST_CONNECTIONS or (ended is None and not progress):
            self.outcomes.update(untried)
            self._left = ()
        elif ended is not None and progress:
            self._hosts = None  # the same host takes the rest, if it is reachable
        elif ended is not None:
            found = untried[self._left[0]]
            assert isinstance(found, outcome.Deferred)
            # A server that refuses does so for all messages.
            self._problem = attrs.evolve(found, unreachable=ended.cause is CloseCause.REFUSED)
            self._all_closed = self._no_tls = False
