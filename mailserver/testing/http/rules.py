"""Rules in JSON, such as ``{"protocol": "smtp", "on": "RCPT", "acts": ["close"], "times": 1}``."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from mailserver.faults.moments import POP3, SMTP
from mailserver.faults.rules import Rule, Rules
from mailserver.http.exchange import HTTPProblem
from mailserver.http.fields import (
    Member,
    MemberKind,
    MemberTable,
    boolean,
    choice,
    hint,
    integer,
    mapping,
    number,
    octets,
    pattern,
    read_members,
    text,
)
from mailserver.testing.clock import parse_duration
from mailserver.testing.rule_builder import RuleBuilder, begin_rule


def duration(value: Any) -> float:
    """Seconds, or a text such as "2s"."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('expected seconds, or a text such as "2s"')
    seconds = parse_duration(value)
    if not seconds >= 0:
        raise ValueError('expected seconds, or a text such as "2s"')
    return seconds


def reply(value: Any) -> list[Any]:
    """A status, and words: ``[451, "4.2.1", "busy"]``."""
    if not (
        isinstance(value, list)
        and value
        and isinstance(value[0], int | str)
        and not isinstance(value[0], bool)
        and all(isinstance(word, str) for word in value[1:])
    ):
        raise ValueError('expected an array such as [451, "4.2.1", "busy"] or ["-ERR", "busy"]')
    return value


@attrs.frozen
class ActName:
    """An act with its argument, ``kind``; ``None`` without one. ``bare``: it may stand alone as a string."""

    do: Callable[..., object]
    kind: MemberKind | None = None
    bare: bool = False

    @property
    def is_bare(self) -> bool:
        """Whether the name alone is an act."""
        return self.bare or self.kind is None


ACTS: Mapping[str, ActName] = {
    "reply": ActName(lambda rule, words: rule.reply(*words), reply),
    "extra": ActName(lambda rule, words: rule.extra(*words), reply),
    "raw": ActName(lambda rule, value: rule.raw(value.encode()), text),
    "raw_base64": ActName(RuleBuilder.raw, octets),
    "delay": ActName(RuleBuilder.delay, duration),
    "drip": ActName(RuleBuilder.drip, number(0.001, 1e9)),
    "truncate": ActName(RuleBuilder.truncate, integer(0)),
    "corrupt": ActName(RuleBuilder.corrupt, integer(1), bare=True),
    "garbage": ActName(RuleBuilder.garbage, integer(1), bare=True),
    "lie": ActName(RuleBuilder.lie, integer()),
    "swap": ActName(RuleBuilder.swap),
    "silence": ActName(RuleBuilder.silence),
    "lose": ActName(RuleBuilder.lose),
    "locked": ActName(RuleBuilder.locked),
    "hang": ActName(RuleBuilder.hang),
    "reset": ActName(RuleBuilder.reset),
    "close": ActName(RuleBuilder.close),
    "half_close": ActName(RuleBuilder.half_close),
    "cut": ActName(RuleBuilder.cut),
}

RATE: MemberTable = {"count": Member(integer(0), True), "per": Member(duration, True)}


def acts(value: Any) -> list[tuple[str, tuple[Any, ...]]]:
    """An array of acts: names, or objects with one member such as ``{"delay": "2s"}``."""
    if not isinstance(value, list) or not value:
        raise ValueError('expected an array of acts such as ["close"]')
    return [_act(each) for each in value]


def _act(value: Any) -> tuple[str, tuple[Any, ...]]:
    name, argument = value, None
    is_bare = isinstance(value, str)
    if isinstance(value, dict) and len(value) == 1:
        [(name, argument)] = value.items()
    if not isinstance(name, str):
        raise ValueError('an act is a string, or an object with one member such as {"delay": "2s"}')
    if name not in ACTS:
        raise ValueError(f'no act "{name}"; {hint(name, ACTS)}')
    kind = ACTS[name].kind
    if is_bare:
        if not ACTS[name].is_bare:
            raise ValueError(f'the act "{name}" needs an argument')
        return name, ()
    if kind is None:
        raise ValueError(f'the act "{name}" has no argument')
    try:
        return name, (kind(argument),)
    except ValueError as error:
        raise ValueError(f'the act "{name}": {error}') from None


RULE: MemberTable = {
    "protocol": Member(choice(SMTP, POP3), True),
    "on": Member(text, True),
    "argument": Member(pattern),
    "at": Member(integer(0)),
    "acts": Member(acts, True),
    "times": Member(integer(1)),
    "after": Member(integer(0)),
    "every": Member(integer(1)),
    "account": Member(text),
    "session": Member(integer(1)),
    "above": Member(mapping),
    "chance": Member(number(0, 1)),
    "optional": Member(boolean),
}
CONDITIONS: Mapping[str, Callable[[RuleBuilder, Any], object]] = {
    "times": RuleBuilder.times,
    "after": RuleBuilder.after,
    "every": RuleBuilder.every,
    "account": RuleBuilder.for_,
    "session": RuleBuilder.session,
    "chance": RuleBuilder.chance,
    "above": lambda rule, rate: rule.above(**read_members(rate, RATE, 'The rule: "above"')),
    "optional": lambda rule, value: rule.optional() if value else rule,
}


def add_rule(rules: Rules, given: Mapping[str, Any], own: Iterable[str] = ()) -> Rule:
    """Add a rule, of the values of :data:`RULE`. ``own`` are verbs of the test.

    Raises HTTPProblem; then nothing is added.
    """
    try:
        # The rule is added as a whole at the end.
        builder = begin_rule(
            Rules(), given["protocol"], given["on"], given.get("argument"), given.get("at"), own
        )
        for name, arguments in given["acts"]:
            ACTS[name].do(builder, *arguments)
        for name, add in CONDITIONS.items():
            if name in given:
                add(builder, given[name])
    except ValueError as error:
        raise HTTPProblem(422, f"The rule: {error}") from None
    rules.add(builder.rule)
    return builder.rule
