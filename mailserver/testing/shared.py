"""A server for many tests: what belongs to which of them."""

from collections.abc import Iterable

from mailserver.faults.rules import Rule, complaint
from mailserver.testing.inbox import InboxMark
from mailserver.testing.server import MailServer


class SharedServer:
    """The rules of a test, and what has happened since its beginning."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._kept: set[Rule] = set()
        self._inbox = server.inbox
        self._mark = InboxMark()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules."""
        return tuple(self._server.rules)

    def keep(self, before: Iterable[Rule]) -> None:
        """All rules but those that were there ``before`` belong to no test."""
        self._kept |= set(self.rules) - set(before)

    def begin_test(self) -> None:
        """A test begins."""
        self._inbox, self._mark = self._server.inbox, self._server.inbox.mark

    def end_test(self) -> str:
        """Remove the rules of the test. Returns the text of a failure if one of them never acted, else ""."""
        rules = self._server.rules
        missed = [rule for rule in rules.never_fired() if rule not in self._kept]
        for rule in rules:
            if rule not in self._kept:
                rules.remove(rule)
        return complaint(missed)

    @property
    def is_used(self) -> bool:
        """Whether something has happened in the test."""
        return self._server.inbox.mark != self._since

    def report(self) -> str:
        """What has happened in the test."""
        return self._server.inbox.report(self._since)

    @property
    def _since(self) -> InboxMark:
        """The beginning of the test. After a reset it is that of the inbox."""
        return self._mark if self._server.inbox is self._inbox else InboxMark()
