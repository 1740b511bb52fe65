"""The limits of one client and of all clients: the section ``[limits]``.

One :class:`Limits` serves all listeners. It has no socket and no timer; its callers reject, wait and log.
The key of a client is computed once per connection, after the PROXY header if there is one. A reload changes
the limits of a connected client, but not its key.
"""

from collections.abc import Callable
from functools import lru_cache

from zope.interface import implementer

from mailserver.config.keys.limits import LimitsSection
from mailserver.config.schema.mail_kinds import Network
from mailserver.interfaces import ISendingLimits
from mailserver.mail.verdict import POLICY, Defer
from mailserver.net.clients import UNCOUNTED, client_key
from mailserver.net.guard import AuthGuard
from mailserver.net.rates import RateLimiter

# Wrong commands of a connection without a delay.
FREE_ERRORS = 3


class ConnectionCounter:
    """Counts the open connections. Rejected and exempt clients are not counted."""

    __slots__ = ("_clients", "_settings", "total")

    def __init__(self, settings: LimitsSection) -> None:
        self._clients: dict[str, int] = {}
        self.total = 0
        self.replace(settings)

    def __len__(self) -> int:
        """The number of clients that have a connection."""
        return len(self._clients)

    def replace(self, settings: LimitsSection) -> None:
        """Apply new settings. Connections above a lower limit stay open."""
        self._settings = settings

    def admit(self, client: str) -> Defer | None:
        """Count a connection, or return why it is rejected."""
        if client == UNCOUNTED:
            return None
        count = self._clients.get(client, 0)
        if 0 < self._settings.connections_per_address <= count:
            text = "too many connections from your address; please close one, or try again later"
            return Defer(POLICY, text, "limits.connections_per_address")
        if 0 < self._settings.connections <= self.total:
            return Defer(POLICY, "too many connections; please try again later", "limits.connections")
        self._clients[client] = count + 1
        self.total += 1
        return None

    def release(self, client: str) -> None:
        """An admitted connection is closed."""
        count = self._clients.get(client, 0)
        if not count:
            return
        self.total -= 1
        if count > 1:
            self._clients[client] = count - 1
        else:
            del self._clients[client]


@implementer(ISendingLimits)
class Limits:
    """All limits. ``client`` is always a result of :meth:`client`."""

    __slots__ = ("_client", "_rates", "_settings", "connections", "guard")

    def __init__(self, settings: LimitsSection, seconds: Callable[[], float]) -> None:
        """``seconds`` is a clock that does not go backwards, such as that of a reactor."""
        self.connections = ConnectionCounter(settings)
        self.guard = AuthGuard(settings, seconds)
        self._rates = RateLimiter(settings, seconds)
        self.replace(settings)

    def replace(self, settings: LimitsSection) -> None:
        """Apply new settings. All counts stay."""
        self._settings = settings
        self._client = _finder(settings.exempt)
        self.connections.replace(settings)
        self.guard.replace(settings)
        self._rates.replace(settings)

    def client(self, ip: str) -> str:
        """The key of the client at ``ip``, "" if it is not counted: no address, or an exempt one."""
        return self._client(ip)

    def commands(self, client: str, count: int) -> Defer | None:
        """Count ``count`` commands of a client, or return why one of them is rejected."""
        for _ in range(count):
            if refusal := self._rates.take(("commands_per_address", client)):
                return Defer(POLICY, refusal.text, refusal.key)
        return None

    def message(self, client: str, account: str, sender_domain: str) -> Defer | None:
        """Count a message of a client, or return why it is deferred.

        ``account`` is "" without a login; ``sender_domain`` is "" for the null reverse-path.
        """
        return self._rates.take(
            ("messages_per_address", client),
            ("messages_per_account", account),
            ("messages_per_sender_domain", sender_domain),
        )

    def recipient(self, client: str, account: str, sender_domain: str) -> Defer | None:
        """Count a recipient of a client, or return why it is deferred. Parameters: as :meth:`message`.

        Call this before the recipient is looked up, so that a client over the limit learns nothing.
        """
        if client != UNCOUNTED and (refusal := self.probe(client)):
            return refusal
        return self._rates.take(
            ("recipients_per_address", client),
            ("recipients_per_account", account),
            ("recipients_per_sender_domain", sender_domain),
        )

    def probe(self, client: str) -> Defer | None:
        """Return why a lookup is deferred, if the client has looked up too many unknown names."""
        return self._rates.check("failed_recipients_per_address", client)

    def recipient_failed(self, client: str) -> None:
        """Count an unknown recipient, or an unknown name of VRFY or EXPN."""
        self._rates.take(("failed_recipients_per_address", client))

    def error_delay(self, client: str, errors: int) -> float:
        """The delay of the reply to a wrong command, in seconds. ``errors`` is the number of wrong commands
        of the connection, with this one."""
        return self._settings.error_delay if client != UNCOUNTED and errors > FREE_ERRORS else 0.0


def _finder(exempt: tuple[Network, ...]) -> Callable[[str], str]:
    """``client_key`` with a cache."""

    @lru_cache(maxsize=1024)
    def client(ip: str) -> str:
        return client_key(ip, exempt)

    return client
