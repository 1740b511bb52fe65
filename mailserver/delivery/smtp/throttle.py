"""Limits for the messages to single domains: the sections [[throttle]]."""

from collections import deque
from collections.abc import Callable, Sequence

from mailserver.config.keys.relay import ThrottleSection


class Throttle:
    """Counts the messages to the limited domains."""

    def __init__(self, sections: Sequence[ThrottleSection], seconds: Callable[[], float]) -> None:
        """``seconds`` is a clock that does not go backwards."""
        self._windows = {section.domain: _Window(section, seconds) for section in sections}

    def wait(self, domain: str) -> float:
        """Count a message to ``domain`` and return 0, or return the seconds until there is room for it."""
        window = self._windows.get(domain)
        return 0.0 if window is None else window.wait()

    def give_back(self, domain: str) -> None:
        """The last message counted has not been sent."""
        if (window := self._windows.get(domain)) is not None:
            window.give_back()


class _Window:
    """The times of the last messages, at most as many as an interval allows."""

    def __init__(self, section: ThrottleSection, seconds: Callable[[], float]) -> None:
        self._section = section
        self._seconds = seconds
        self._sent: deque[float] = deque(maxlen=section.messages)
        # The messages that wait for room. Each one gets another time, so that they do not come back together.
        self._waiting = 0

    def wait(self) -> float:
        now, most, per = self._seconds(), self._section.messages, self._section.per
        if len(self._sent) < most or self._sent[0] <= now - per:
            self._sent.append(now)
            self._waiting = max(self._waiting - 1, 0)
            return 0.0
        intervals, index = divmod(self._waiting, most)
        self._waiting += 1
        return max(self._sent[index] + per * (1 + intervals) - now, 0.001)

    def give_back(self) -> None:
        if self._sent:
            self._sent.pop()
