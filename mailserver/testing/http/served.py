"""One server with what its clients by HTTP know of it: names of rules and of messages."""

from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import Any

from mailserver.faults.rules import Rule
from mailserver.http.exchange import HTTPProblem
from mailserver.testing.message import CaughtMessage
from mailserver.testing.server import MailServer
from mailserver.testing.sessions import Session


class ServedMailServer:
    """A server by its ``id``. All methods are for the thread of the servers."""

    def __init__(self, id: str, server: MailServer) -> None:
        self.id = id
        self.server = server
        self._begin()

    def _begin(self) -> None:
        self._numbers = count(1)
        self._rules: dict[str, Rule] = {}
        self._given: dict[str, Mapping[str, Any]] = {}

    async def reset(self) -> None:
        """See :meth:`~mailserver.testing.server.MailServer.reset`."""
        self._begin()
        await self.server.resetting()

    # ------------------------------------------------------------ rules

    def name(self, rule: Rule, given: Mapping[str, Any]) -> str:
        """Give an id to a new rule, and return it. ``given`` is its JSON."""
        id = str(next(self._numbers))
        self._rules[id] = rule
        self._given[id] = given
        return id

    def rules(self) -> dict[str, Rule]:
        """All rules by their ids, those of a fault of TLS, too."""
        named = set(self._rules.values())
        for rule in self.server.instance.rules:
            if rule not in named:
                self._rules[str(next(self._numbers))] = rule
        return self._rules

    def rule(self, id: str) -> Rule:
        """The rule with this id. Raises HTTPProblem, 404."""
        found = self.rules().get(id)
        if found is None:
            raise HTTPProblem(404, f'There is no rule "{id}".')
        return found

    def given(self, id: str) -> Mapping[str, Any] | None:
        """The JSON that the rule was made of, None if a setting has made it."""
        return self._given.get(id)

    def remove_rule(self, id: str) -> None:
        """Remove a rule. Raises HTTPProblem, 404."""
        self.server.instance.rules.remove(self.rule(id))
        del self._rules[id]
        self._given.pop(id, None)

    # ------------------------------------------------------------ messages, sessions

    def messages(self) -> dict[str, CaughtMessage]:
        """All messages by their ids: those that came into a mailbox, then those that were relayed.

        The id is that of the reply to the client, for the first copy; further copies have a number behind it,
        and copies that were relayed "out".
        """
        found: dict[str, CaughtMessage] = {}
        for copies, mark in ((self.server.messages, ""), (self.server.outbox, ".out")):
            numbers: Counter[str] = Counter()
            for message in copies:
                numbers[message.id] += 1
                number = numbers[message.id]
                found[f"{message.id}{mark}{f'.{number}' if number > 1 else ''}"] = message
        return found

    def ids(self) -> dict[int, str]:
        """The ids of messages by the identities of the objects."""
        return {id(message): name for name, message in self.messages().items()}

    def message(self, name: str) -> CaughtMessage:
        """The message with this id. Raises HTTPProblem, 404."""
        found = self.messages()
        message = found.get(name) or found.get(f"{name}.out")
        if message is None:
            raise HTTPProblem(404, f'There is no message "{name}".', report=self.server.inbox.report())
        return message

    def session(self, id: str) -> Session:
        """The session with this id. Raises HTTPProblem, 404."""
        for session in self.server.sessions:
            if session.id == id:
                return session
        raise HTTPProblem(404, f'There is no session "{id}".')
