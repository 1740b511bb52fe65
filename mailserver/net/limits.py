"""How much one client, and all of them, may have of the server: the section ``[limits]``.

One :class:`Limits` serves all listeners. It has no socket and no timer; who asks it refuses, waits and
writes the log. A client is asked for once, when it connects (behind a proxy: when its header has been
read), and is the same to the end: a reload changes what it may do, not who it is.
"""

from collections.abc import Callable
from functools import lru_cache

from zope.interface import implementer

from mailserver.config.keys.limits import LimitsSection
from mailserver.config.schema.mail_kinds import Network
from mailserver.interfaces import ISendingLimits
from mailserver.mail.verdict import Defer
from mailserver.net.clients import POLICY, UNCOUNTED, client_key
from mailserver.net.guard import AuthGuard
from mailserver.net.rates import RateLimiter

# Honest people mistype; from the fourth wrong command of a connection on each is slow.
FREE_ERRORS = 3


class ConnectionCounter:
    """Counts the connections that are open. Whoever is refused, or is nobody, is not counted."""

    __slots__ = ("_clients", "_settings", "total")

    def __init__(self, settings: LimitsSection) -> None:
        self._clients: dict[str, int] = {}
        self.total = 0
        self.replace(settings)

    def __len__(self) -> int:
        """The number of clients that have a connection."""
        return len(self._clients)

    def replace(self, settings: LimitsSection) -> None:
        """Put other settings in force. Connections above a lower limit stay."""
        self._settings = settings

    def admit(self, client: str) -> Defer | None:
        """Count a connection, or say why there may not be another."""
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
        """A connection that was admitted is gone."""
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
    """All of it. ``client`` is what :meth:`client` has said of an address."""

    __slots__ = ("_client", "_rates", "_settings", "connections", "guard")

    def __init__(self, settings: LimitsSection, seconds: Callable[[], float]) -> None:
        """``seconds`` is a clock that does not go backwards, such as that of a reactor."""
        self.connections = ConnectionCounter(settings)
        self.guard = AuthGuard(settings, seconds)
        self._rates = RateLimiter(settings, seconds)
        self.replace(settings)

    def replace(self, settings: LimitsSection) -> None:
        """Put other settings in force; what has been counted stays counted."""
        self._settings = settings
        self._client = _finder(settings.exempt)
        self.connections.replace(settings)
        self.guard.replace(settings)
        self._rates.replace(settings)

    def client(self, ip: str) -> str:
        """What the client at ``ip`` counts as, "" for nobody: no address, or an exempt one."""
        return self._client(ip)

    def commands(self, client: str, count: int) -> Defer | None:
        """The client has sent ``count`` commands: count them, or say why one of them is too many."""
        for _ in range(count):
            if refusal := self._rates.take(("commands_per_address", client)):
                return Defer(POLICY, refusal.text, refusal.key)
        return None

    def message(self, client: str, account: str, sender_domain: str) -> Defer | None:
        """The client begins a message: count it, or say why it is one too many.

        ``account`` is "" before a login, ``sender_domain`` for the null reverse-path.
        """
        return self._rates.take(
            ("messages_per_address", client),
            ("messages_per_account", account),
            ("messages_per_sender_domain", sender_domain),
        )

    def recipient(self, client: str, account: str, sender_domain: str) -> Defer | None:
        """The client names a recipient: count it, or say why it is one too many. As :meth:`message`.

        To be asked before anybody looks whether the recipient exists, else who has tried too many
        goes on learning.
        """
        if client != UNCOUNTED and (refusal := self.probe(client)):
            return refusal
        return self._rates.take(
            ("recipients_per_address", client),
            ("recipients_per_account", account),
            ("recipients_per_sender_domain", sender_domain),
        )

    def probe(self, client: str) -> Defer | None:
        """The client asks whether a name exists: why not, if it has asked for too many that do not."""
        return self._rates.check("failed_recipients_per_address", client)

    def recipient_failed(self, client: str) -> None:
        """A recipient, or a name asked for with VRFY or EXPN, does not exist."""
        self._rates.take(("failed_recipients_per_address", client))

    def error_delay(self, client: str, errors: int) -> float:
        """Seconds that the answer to a wrong command waits; ``errors`` are those of the connection, this
        one included."""
        return self._settings.error_delay if client != UNCOUNTED and errors > FREE_ERRORS else 0.0


def _finder(exempt: tuple[Network, ...]) -> Callable[[str], str]:
    """``client_key`` with a memory, as the same clients come again and again."""

    @lru_cache(maxsize=1024)
    def client(ip: str) -> str:
        return client_key(ip, exempt)

    return client
