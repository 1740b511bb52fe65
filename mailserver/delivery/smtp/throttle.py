"""Limits for the messages to single domains, or to the hosts below them: the sections [[throttle]]."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from mailserver.config.keys.relay import ThrottleSection


class Throttle:
    """The limits. A large provider has hosts below one domain that take the mail for many domains."""

    def __init__(self, sections: Sequence[ThrottleSection], seconds: Callable[[], float]) -> None:
        """``seconds`` is a clock that does not go backwards."""
        self._limits = {section.domain: MessageLimit(section, seconds) for section in sections}

    def limits(self, domain: str, host: str) -> Sequence["MessageLimit"]:
        """The limits for a message to ``domain`` that goes to ``host``."""
        if not self._limits:
            return ()
        names = dict.fromkeys((domain, *_domains_of(host)))
        return [limit for name in names if (limit := self._limits.get(name)) is not None]


class MessageLimit:
    """The limit of one section: the times of the last messages, at most as many as an interval allows."""

    def __init__(self, section: ThrottleSection, seconds: Callable[[], float]) -> None:
        self.domain = section.domain
        self._section = section
        self._seconds = seconds
        self._sent: deque[float] = deque(maxlen=section.messages)
        # The messages that wait for room. Each one gets another time, so that they do not come back together.
        self._waiting = 0

    def wait(self) -> float:
        """Count a message and return 0, or return the seconds until there is room for it."""
        now, most, per = self._seconds(), self._section.messages, self._section.per
        if len(self._sent) < most or self._sent[0] <= now - per:
            self._sent.append(now)
            self._waiting = max(self._waiting - 1, 0)
            return 0.0
        intervals, index = divmod(self._waiting, most)
        self._waiting += 1
        return max(self._sent[index] + per * (1 + intervals) - now, 0.001)

    def give_back(self) -> None:
        """The last message counted has not been sent."""
        if self._sent:
            self._sent.pop()


def count(limits: Sequence[MessageLimit]) -> tuple[str, float] | None:
    """Count a message for all ``limits``. If one of them is reached, count it for none, and return the domain
    of the limit and the seconds until there is room."""
    for index, limit in enumerate(limits):
        if wait := limit.wait():
            give_back(limits[:index])
            return limit.domain, wait
    return None


def give_back(limits: Sequence[MessageLimit]) -> None:
    """The last message counted has not been sent."""
    for limit in limits:
        limit.give_back()


def _domains_of(host: str) -> Iterator[str]:
    """The host itself and the domains above it."""
    while host:
        yield host
        host = host.partition(".")[2]
