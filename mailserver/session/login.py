"""The logins of one client, one SASL exchange after another."""

from collections.abc import Collection
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import attrs

from mailserver.sasl.exchange import Exchange, ExchangeStep, Finished, Rejected, Send
from mailserver.sasl.mechanisms import Channel, Mechanism, available
from mailserver.sasl.steps import Reason
from mailserver.session.events import LoginAsked, LoginRefused

LoginStep = bytes | Finished | LoginAsked | LoginRefused
"""A challenge to send, the result, or a request."""


class LoginOptions(Protocol):
    """Settings of the administrator. ``plaintext_auth``: a login does not need TLS."""

    @property
    def mechanisms(self) -> tuple[str, ...]: ...
    @property
    def plaintext_auth(self) -> bool: ...
    @property
    def max_login_failures(self) -> int: ...


_Options = TypeVar("_Options", bound=LoginOptions)


class SASLLogin(Generic[_Options]):
    """The logins of one session. ``channel`` describes the connection. ``prompt`` precedes each challenge."""

    prompt: ClassVar[bytes]

    __slots__ = ("_exchange", "_failures", "_options", "channel")

    def __init__(self, options: _Options, channel: Channel) -> None:
        self._options = options
        self._exchange: Exchange | None = None
        self._failures = 0
        self.channel = channel

    @property
    def allowed(self) -> bool:
        """Whether passwords are allowed on this connection."""
        return self.channel.secure or self._options.plaintext_auth

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The mechanisms that the client can use now."""
        return available(self._options.mechanisms if self.allowed else (), self.channel)

    def failed_too_often(self, reason: Reason) -> bool:
        """Count a failed login. Returns True if the session must end."""
        self._failures += reason.counts
        return reason.counts and self._failures == self._options.max_login_failures

    def start(self, mechanism: Mechanism, initial: bytes | None, offered: Collection[str]) -> LoginStep:
        """Begin an exchange. ``offered`` are the mechanisms in the list that the client has seen."""
        self._exchange = Exchange(mechanism, attrs.evolve(self.channel, offered=frozenset(offered)))
        return self._go_on(self._exchange.begin(initial))

    def line(self, line: bytes | Reason) -> LoginStep:
        """Continue with a response of the client, or with the reason why it cannot be read."""
        assert self._exchange is not None
        return self._go_on(Rejected(line) if isinstance(line, Reason) else self._exchange.line(line))

    def answer(self, answer: Any) -> LoginStep:
        """Continue with the answer to a question."""
        assert self._exchange is not None
        return self._go_on(self._exchange.answer(answer))

    def _go_on(self, outcome: ExchangeStep) -> LoginStep:
        exchange = self._exchange
        assert exchange is not None
        if isinstance(outcome, Finished | Rejected):
            self._exchange = None
        match outcome:
            case Send(line):
                return self.prompt + line + b"\r\n"
            case Finished():
                self.finished(exchange.name, outcome.account)
                return outcome
            case Rejected(reason):
                return LoginRefused(exchange.mechanism.name, exchange.name, reason)
            case question:
                return LoginAsked(exchange.mechanism.name, question)

    def finished(self, name: str, account: str) -> None:
        """The client has logged in to ``account`` under the given ``name``."""
        raise NotImplementedError
