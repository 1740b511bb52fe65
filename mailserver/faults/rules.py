"""Rules: when a fault happens.

A rule names a moment (see ``moments``) and conditions. The rules of a server are asked in their order until
one acts. Each counts the times that it was asked and its conditions held.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import attrs
from attrs.validators import and_, ge, le, optional

from mailserver.faults.acts import Act, Plan

COMPLAINT = "rules that never acted (make them .optional() if that is right)"

# Any: the type of a field that attrs makes.
_at_least_0: Any = ge(0)
_at_least_1: Any = ge(1)
_a_probability: Any = and_(ge(0.0), le(1.0))


@attrs.frozen
class Facts:
    """What a session knows at a moment.

    ``number`` counts the sessions of the protocol from 1. ``account`` is the account that has logged in, or
    the name that the client has given. ``now`` is in seconds since the epoch.
    """

    number: int
    account: str
    argument: str
    now: float


@attrs.define(eq=False)
class Rule:
    """One rule. ``seen`` counts the times that the conditions held, ``fired`` those that it acted.

    ``at`` is an octet of the reply, or of the text of a message for DATA and BDAT. ``session`` is the number
    of a session from 1, 0 for all. ``above``: act only beyond so many times in ``per`` seconds.
    ``is_optional``: a test does not fail if the rule never acts. Conditions that cannot hold raise
    ValueError. ``written`` is the rule in the words of the test, and ``place`` the line of the test.
    """

    protocol: str
    moment: str
    acts: tuple[Act, ...] = ()
    argument: re.Pattern[str] | None = None
    at: int | None = None
    account: str = ""
    session: int = attrs.field(default=0, validator=_at_least_0)
    after: int = attrs.field(default=0, validator=_at_least_0)
    every: int = attrs.field(default=1, validator=_at_least_1)
    times: int | None = attrs.field(default=None, validator=optional(_at_least_1))
    chance: float = attrs.field(default=1.0, validator=_a_probability)
    above: int | None = attrs.field(default=None, validator=optional(_at_least_0))
    per: float = 0.0
    is_optional: bool = False
    written: str = ""
    place: str = ""
    seen: int = 0
    fired: int = 0
    _recent: deque[float] = attrs.field(factory=deque)

    @property
    def plan(self) -> Plan:
        """The acts in order."""
        return Plan.of(self.acts)

    def holds(self, protocol: str, moment: str, facts: Facts) -> bool:
        """Whether the conditions hold that do not count."""
        return (
            self.protocol == protocol
            and self.moment == moment
            and bool(self.acts)
            and (not self.session or self.session == facts.number)
            and (not self.account or is_same_account(self.account, facts.account))
            and (self.argument is None or self.argument.search(facts.argument) is not None)
        )

    def is_due(self, facts: Facts, random: Random) -> bool:
        """Count a time that the conditions hold. Returns whether the rule acts."""
        self.seen += 1
        turn = self.seen - self.after
        if turn <= 0 or turn % self.every or (self.times is not None and self.fired >= self.times):
            return False
        if self.above is not None and not self._is_above(facts.now):
            return False
        if self.chance < 1.0 and random.random() >= self.chance:
            return False
        self.fired += 1
        return True

    def _is_above(self, now: float) -> bool:
        while self._recent and self._recent[0] <= now - self.per:
            self._recent.popleft()
        if len(self._recent) >= (self.above or 0):
            return True
        self._recent.append(now)
        return False

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        acted = f"acted {self.fired} of {self.seen} times" if self.acts else "a rule without an act"
        return f"{place}{self.written or self._described()} ({acted})"

    def _described(self) -> str:
        where = f" {self.argument.pattern!r}" if self.argument is not None else ""
        at = f" at octet {self.at}" if self.at is not None else ""
        return f"{self.protocol} {self.moment}{where}{at}: {', '.join(map(str, self.acts))}"


def is_same_account(wanted: str, account: str) -> bool:
    """Whether two account names are the same. A bare local part, on either side, is that of any domain."""
    names = [name.casefold() for name in (wanted, account)]
    if not all("@" in name for name in names):
        names = [name.partition("@")[0] for name in names]
    return names[0] == names[1]


class Rules:
    """The rules of one server. ``random`` decides by chance."""

    def __init__(self, random: Random | None = None) -> None:
        self.random = random or Random()
        self._rules: list[Rule] = []

    def __iter__(self) -> Iterator[Rule]:
        return iter(tuple(self._rules))

    def add(self, rule: Rule) -> None:
        """Add a rule behind the others."""
        self._rules.append(rule)

    def remove(self, rule: Rule) -> None:
        """Remove a rule. Raises ValueError if it is not there."""
        self._rules.remove(rule)

    def clear(self) -> None:
        """Remove all rules."""
        self._rules.clear()

    def find(self, protocol: str, moment: str, facts: Facts, at: int | None = None) -> Plan | None:
        """The plan of the first rule that acts now, None for none."""
        for rule in self:
            if rule.at == at and rule.holds(protocol, moment, facts) and rule.is_due(facts, self.random):
                return rule.plan
        return None

    def places(self, protocol: str, moment: str, facts: Facts) -> list[int]:
        """The octets at which a rule may act, ascending."""
        return sorted(
            {rule.at for rule in self if rule.at is not None and rule.holds(protocol, moment, facts)}
        )

    def never_fired(self) -> list[Rule]:
        """The rules that were expected to act and never did, and those without an act."""
        return [rule for rule in self if not rule.acts or not (rule.fired or rule.is_optional)]


def complaint(rules: Iterable[Rule]) -> str:
    """The text of a failure for rules that never acted; "" for no rules."""
    lines = [f"  {rule}" for rule in rules]
    return "\n".join([f"{COMPLAINT}:", *lines]) if lines else ""
