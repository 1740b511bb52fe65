"""The limits of clients, counted over all workers by the supervisor.

``remote_limits`` is the other side. Each packet of the socket between them is one call::

    call   = pickle of ( number, name, arguments )    ; number 0: nobody waits for an answer
    answer = pickle of ( number, value )
"""

import pickle
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import attrs
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.app.listeners import last_logins
from mailserver.config.keys.limits import LimitsSection
from mailserver.interfaces import IReactor
from mailserver.net.limits import Limits

LARGEST = 1 << 16  # octets of a packet
AT_ONCE = 100  # calls of one worker, before others get their turn


@attrs.define
class _Holding:
    """The connections, login attempts and checks of a worker that have not ended."""

    connections: Counter[str] = attrs.field(factory=Counter)
    attempts: Counter[str] = attrs.field(factory=Counter)
    checks: Counter[tuple[str, str]] = attrs.field(factory=Counter)


class SharedLimits:
    """The limits of all workers, in the supervisor."""

    def __init__(self, settings: LimitsSection, seconds: Callable[[], float]) -> None:
        """``seconds`` is a clock that does not go backwards, the same in all processes."""
        self.limits = Limits(settings, seconds)  # only to be read
        self._logins = last_logins(seconds)
        self._holdings: dict[int, _Holding] = {}
        self._lines: dict[int, _Line] = {}
        limits, guard = self.limits, self.limits.guard
        self._calls: dict[str, Callable[..., Any]] = {
            "blocked": guard.blocked,
            "failed": lambda client, name, wrong: guard.failed(client, name, wrong=wrong),
            "succeeded": guard.succeeded,
            "commands": limits.commands,
            "message": limits.message,
            "recipient": limits.recipient,
            "probe": limits.probe,
            "recipient_failed": limits.recipient_failed,
            "logged_in": self._logins.put,
        }

    def replace(self, settings: LimitsSection) -> None:
        """Apply new settings. All counts stay."""
        self.limits.replace(settings)

    def connect(self, number: int, reactor: IReactor) -> socket.socket:
        """Answer the calls of a worker that starts. Returns its end of the socket."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._lines[number] = line = _Line(ours, lambda packet: self.answer(number, packet), reactor)
        reactor.addReader(line)
        return theirs

    def gone(self, number: int) -> None:
        """A worker has ended: release what it holds."""
        if line := self._lines.pop(number, None):
            line.close()
        holding = self._holdings.pop(number, None)
        if holding is None:
            return
        guard = self.limits.guard
        for client in holding.connections.elements():
            self.limits.connections.release(client)
        for pair in holding.checks.elements():
            guard.checked(*pair)
        for client in holding.attempts.elements():
            guard.end(client)

    def answer(self, number: int, packet: bytes) -> bytes | None:
        """Answer a call of a worker; None if nobody waits for the answer."""
        call, name, arguments = pickle.loads(packet)
        value = self._answer(self._holdings.setdefault(number, _Holding()), name, arguments)
        return pickle.dumps((call, value)) if call else None

    def _answer(self, holding: _Holding, name: str, arguments: tuple[Any, ...]) -> Any:
        limits, guard = self.limits, self.limits.guard
        match name, arguments:
            case "admit", (client,):
                refusal = limits.connections.admit(client)
                holding.connections[client] += refusal is None
                return refusal
            case "release", (client,):
                if _given_back(holding.connections, client):
                    limits.connections.release(client)
            case "begin", (client, _):
                holding.attempts[client] += 1
                return guard.begin(*arguments)
            case "end", (client,):
                if _given_back(holding.attempts, client):
                    guard.end(client)
            case "may_check", pair:
                may = guard.may_check(*pair)
                holding.checks[cast(tuple[str, str], pair)] += may
                return may
            case "checked", pair:
                if _given_back(holding.checks, cast(tuple[str, str], pair)):
                    guard.checked(*pair)
            case "last_login", (key,):
                self._take_waiting()
                return self._logins.get(key)
            case _:
                return self._calls[name](*arguments)
        return None

    def _take_waiting(self) -> None:
        """Answer all calls that have arrived: that of another worker may be older than the one at hand."""
        for line in list(self._lines.values()):
            line.doRead()


def _given_back(held: Counter[Any], key: object) -> bool:
    """Count one less of ``key``; False if there is none."""
    if not held[key]:
        return False
    held[key] -= 1
    if not held[key]:
        del held[key]
    return True


@implementer(IReadDescriptor)
class _Line:
    """The supervisor's end of the socket to a worker."""

    def __init__(
        self, end: socket.socket, answer: Callable[[bytes], bytes | None], reactor: IReactor
    ) -> None:
        self._end = end
        self._answer = answer
        self._reactor = reactor
        self.fileno = end.fileno

    def logPrefix(self) -> str:
        """See ``ILoggingContext``."""
        return "limits"

    def doRead(self) -> None:
        """See ``IReadDescriptor``."""
        try:
            for _ in range(AT_ONCE):
                packet = self._end.recv(LARGEST)
                if not packet:  # the worker has ended
                    self._reactor.removeReader(self)
                    return
                answer = self._answer(packet)
                if answer is not None:
                    self._end.send(answer)
        except BlockingIOError:
            return
        except OSError:  # the worker has been killed, before it read an answer
            self._reactor.removeReader(self)

    def connectionLost(self, reason: Failure) -> None:
        """See ``IReadDescriptor``."""
        self.close()

    def close(self) -> None:
        """Answer no more calls."""
        if self._end.fileno() >= 0:
            self._reactor.removeReader(self)
            self._end.close()
