"""Delivery by the connection of a server that fetches its mail (ATRN, RFC 2645)."""

from collections.abc import Callable, Mapping, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.delivery.smtp.connections import RelayConnection
from mailserver.delivery.smtp.hosts import NoHost
from mailserver.delivery.smtp.next_hop import NextHop
from mailserver.delivery.smtp.outcomes import BAD_CONNECTION
from mailserver.interfaces import IDelivery, QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.outcome import DeliveryOutcome
from mailserver.mail.queued import QueuedRecipient


class SingleConnection:
    """The part of a connection pool, with one connection that nobody else uses. It is never replaced."""

    def __init__(self, connection: RelayConnection) -> None:
        self._connection = connection

    def of(self, hop: NextHop) -> "SingleConnection":
        """The connections to a next hop."""
        return self

    def acquire(self) -> RelayConnection:
        """The connection. Raises :class:`NoHost` if its session is over."""
        if not self._connection.idle:
            text = f"{self._connection.label}: the session is over that fetches the mail"
            raise NoHost(outcome.Deferred(BAD_CONNECTION, text, tried=False))
        return self._connection

    def release(self, connection: RelayConnection | None) -> None:
        """Nothing waits for the connection."""

    def unreachable(self, result: outcome.Deferred) -> None:
        """Nothing waits for the connection."""


@implementer(IDelivery)
class FetchedDelivery:
    """Delivers by one connection."""

    def __init__(
        self,
        connection: RelayConnection,
        deliver: Callable[..., Deferred[Mapping[QueuedRecipient, DeliveryOutcome]]],
    ) -> None:
        """``deliver`` gets the message, its recipients and the connections to use."""
        self._connections = SingleConnection(connection)
        self._deliver = deliver

    def deliver(
        self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]
    ) -> "Deferred[Mapping[QueuedRecipient, DeliveryOutcome]]":
        """See :class:`~mailserver.interfaces.IDelivery`."""
        return self._deliver(message, recipients, self._connections)
