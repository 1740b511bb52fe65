"""The logins of one client, one exchange after another; a protocol says what each outcome means to it."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Generic, TypeVar

import attrs

from mailserver.sasl.exchange import Exchange, Finished, Outcome, Refused
from mailserver.sasl.mechanisms import Channel, Mechanism
from mailserver.sasl.steps import Reason

Step = TypeVar("Step")


class Logins(ABC, Generic[Step]):
    """``channel`` is what is known of the connection."""

    __slots__ = ("_exchange", "channel")

    def __init__(self, channel: Channel) -> None:
        self._exchange: Exchange | None = None
        self.channel = channel

    @property
    def under_way(self) -> bool:
        """True while lines of the client are responses and no commands."""
        return self._exchange is not None

    def start(self, mechanism: Mechanism, initial: bytes | None, offered: Collection[str]) -> Step:
        """Begin an exchange; the client was told that these mechanisms are ``offered``."""
        self._exchange = Exchange(mechanism, attrs.evolve(self.channel, offered=frozenset(offered)))
        return self._go_on(self._exchange.begin(initial))

    def line(self, line: bytes | Reason) -> Step:
        """A response of the client, or the reason why it cannot be read."""
        assert self._exchange is not None
        return self._go_on(Refused(line) if isinstance(line, Reason) else self._exchange.line(line))

    def answer(self, answer: Any) -> Step:
        """The answer to a question."""
        assert self._exchange is not None
        return self._go_on(self._exchange.answer(answer))

    def _go_on(self, outcome: Outcome) -> Step:
        exchange = self._exchange
        assert exchange is not None
        if isinstance(outcome, Finished | Refused):
            self._exchange = None
        return self.step(exchange, outcome)

    @abstractmethod
    def step(self, exchange: Exchange, outcome: Outcome) -> Step:
        """What the protocol does next."""
