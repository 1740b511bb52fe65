"""The limits of clients on a worker, which asks the supervisor: ``shared_limits``.

A worker waits for the answer, some ten microseconds if the supervisor is idle. It asks only about clients
that are counted, and about rates that are set.
"""

import pickle
import socket
from typing import Any

from mailserver.app.listeners import LastLogins
from mailserver.app.workers.shared_limits import LARGEST
from mailserver.config.keys.limits import LimitsSection
from mailserver.events.base import report
from mailserver.events.cluster import LimitsNotAnswered
from mailserver.mail.address import Address
from mailserver.mail.verdict import Defer
from mailserver.net.clients import UNCOUNTED
from mailserver.net.guard import AuthGuard
from mailserver.net.limits import ConnectionCounter, Limits

PATIENCE = 5.0  # seconds until a worker goes on without an answer


class LimitsLine:
    """A worker's end of the socket to the supervisor.

    If an answer does not come in time, nothing waits any more until the supervisor answers again.
    """

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(PATIENCE)
        self._end = end
        self._number = 0
        self._is_late = False
        self._is_asked = False  # the question with the last number is sent, and has no answer yet

    def ask(self, default: Any, name: str, *arguments: Any) -> Any:
        """The answer to a call. Without one it is the ``default``: a server without limits is better than
        none."""
        if self._is_late and not self._is_in_order_again():
            return default
        try:
            self._send_question(name, *arguments)
            return self._answer()
        except OSError as error:
            self._give_up(error)
            return default

    def tell(self, name: str, *arguments: Any) -> None:
        """Make a call without an answer."""
        try:
            self._end.send(pickle.dumps((0, name, arguments)))
        except OSError as error:
            self._give_up(error)

    def _send_question(self, name: str, *arguments: Any) -> None:
        self._number += 1
        self._end.send(pickle.dumps((self._number, name, arguments)))
        self._is_asked = True

    def _answer(self) -> Any:
        while True:
            packet = self._end.recv(LARGEST)
            if not packet:
                raise ConnectionError("the supervisor has ended")
            number, value = pickle.loads(packet)
            if number == self._number:  # otherwise it is too late
                self._is_asked = False
                return value

    def _give_up(self, error: OSError) -> None:
        if not self._is_late:
            self._is_late = True
            self._end.settimeout(0)
            report(LimitsNotAnswered(error=error))

    def _is_in_order_again(self) -> bool:
        """Whether the supervisor has answered the last question by now. Does not wait."""
        try:
            if not self._is_asked:  # the packet before did not fit into the socket
                self._send_question("blocked", UNCOUNTED, "")
            self._answer()
        except OSError:
            return False
        self._is_late = False
        self._end.settimeout(PATIENCE)
        return True


class RemoteConnections(ConnectionCounter):
    """Counts the connections to all workers."""

    __slots__ = ("_line",)

    def __init__(self, settings: LimitsSection, line: LimitsLine) -> None:
        super().__init__(settings)
        self._line = line

    def admit(self, client: str) -> Defer | None:
        """See :class:`~mailserver.net.limits.ConnectionCounter`."""
        refusal: Defer | None = None if client == UNCOUNTED else self._line.ask(None, "admit", client)
        return refusal

    def release(self, client: str) -> None:
        """See :class:`~mailserver.net.limits.ConnectionCounter`."""
        if client != UNCOUNTED:
            self._line.tell("release", client)


class RemoteGuard(AuthGuard):
    """Protects against password guessing on all workers."""

    __slots__ = ("_line",)

    def __init__(self, settings: LimitsSection, line: LimitsLine) -> None:
        super().__init__(settings, lambda: 0.0)
        self._line = line

    def begin(self, client: str, name: str) -> float:
        """See :class:`~mailserver.net.guard.AuthGuard`."""
        return 0.0 if client == UNCOUNTED else float(self._line.ask(0.0, "begin", client, name))

    def blocked(self, client: str, name: str) -> bool:
        """See :class:`~mailserver.net.guard.AuthGuard`."""
        return client != UNCOUNTED and bool(self._line.ask(False, "blocked", client, name))

    def may_check(self, client: str, name: str) -> bool:
        """See :class:`~mailserver.net.guard.AuthGuard`."""
        return client == UNCOUNTED or bool(self._line.ask(True, "may_check", client, name))

    def checked(self, client: str, name: str) -> None:
        """See :class:`~mailserver.net.guard.AuthGuard`."""
        self._tell("checked", client, name)

    def end(self, client: str) -> None:
        """See :class:`~mailserver.net.guard.AuthGuard`."""
        self._tell("end", client)

    def failed(self, client: str, name: str, *, wrong: bool = True) -> float:
        """See :class:`~mailserver.net.guard.AuthGuard`."""
        if client == UNCOUNTED:
            return 0.0
        default = self._settings.auth_failure_delay
        return float(self._line.ask(default, "failed", client, name, wrong))

    def succeeded(self, client: str, name: str) -> None:
        """See :class:`~mailserver.net.guard.AuthGuard`."""
        self._tell("succeeded", client, name)

    def _tell(self, name: str, client: str, *more: str) -> None:
        if client != UNCOUNTED:
            self._line.tell(name, client, *more)


class RemoteLimits(Limits):
    """All limits, for all workers."""

    __slots__ = ("_line",)

    def __init__(self, settings: LimitsSection, line: LimitsLine) -> None:
        super().__init__(settings, lambda: 0.0)
        self._line = line
        self.connections = RemoteConnections(settings, line)
        self.guard = RemoteGuard(settings, line)

    def commands(self, client: str, count: int) -> Defer | None:
        """See :class:`~mailserver.net.limits.Limits`."""
        asks = client != UNCOUNTED and self._settings.commands_per_address
        return self._ask("commands", client, count) if asks else None

    def message(self, client: str, account: str, sender_domain: str) -> Defer | None:
        """See :class:`~mailserver.net.limits.Limits`."""
        return self._take("message", client, account, sender_domain)

    def recipient(self, client: str, account: str, sender_domain: str) -> Defer | None:
        """See :class:`~mailserver.net.limits.Limits`."""
        if client != UNCOUNTED and self._settings.failed_recipients_per_address:
            return self._ask("recipient", client, account, sender_domain)
        return self._take("recipient", client, account, sender_domain)

    def _take(self, what: str, client: str, account: str, sender_domain: str) -> Defer | None:
        whom = {"address": client, "account": account, "sender_domain": sender_domain}
        asks = any(who and getattr(self._settings, f"{what}s_per_{kind}") for kind, who in whom.items())
        return self._ask(what, client, account, sender_domain) if asks else None

    def _ask(self, name: str, *arguments: object) -> Defer | None:
        refusal: Defer | None = self._line.ask(None, name, *arguments)
        return refusal

    def probe(self, client: str) -> Defer | None:
        """See :class:`~mailserver.net.limits.Limits`."""
        asks = client != UNCOUNTED and self._settings.failed_recipients_per_address
        return self._ask("probe", client) if asks else None

    def recipient_failed(self, client: str) -> None:
        """See :class:`~mailserver.net.limits.Limits`."""
        if client != UNCOUNTED and self._settings.failed_recipients_per_address:
            self._line.tell("recipient_failed", client)


class RemoteLogins(LastLogins):
    """The last logins to maildrops, on all workers."""

    def __init__(self, line: LimitsLine) -> None:
        super().__init__(0, 0.0, lambda: 0.0)
        self._line = line

    def get(self, key: Address) -> float | None:
        """See :class:`~mailserver.net.expiring_table.ExpiringTable`."""
        last: float | None = self._line.ask(None, "last_login", key)
        return last

    def put(self, key: Address, value: float) -> None:
        """See :class:`~mailserver.net.expiring_table.ExpiringTable`."""
        self._line.tell("logged_in", key, value)
