"""Rules in the words of a test: ``server.smtp.on("RCPT").reply(451, "4.2.1", "busy").times(1)``."""

import functools
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

from mailserver.faults.acts import (
    HANG,
    Act,
    Corrupt,
    Drip,
    Ending,
    Extra,
    Garbage,
    Lie,
    Pause,
    Say,
    Silence,
    Swap,
    Truncate,
)
from mailserver.faults.moments import POP3, check_acts, check_moment
from mailserver.faults.rules import Rule, Rules
from mailserver.testing.clock import parse_duration

_SHOWN = 60  # characters of a value in a failure
IN_USE = ("-ERR", "[IN-USE] the maildrop is locked by another session")


P = ParamSpec("P")
Builder = TypeVar("Builder", bound="RuleBuilder")


def _written(
    method: Callable[Concatenate[Builder, P], Builder],
) -> Callable[Concatenate[Builder, P], Builder]:
    """The method, which also adds its call to the words of the rule."""

    @functools.wraps(method)
    def call(self: Builder, /, *args: P.args, **kwargs: P.kwargs) -> Builder:
        method(self, *args, **kwargs)
        named = [f"{name}={literal(value)}" for name, value in kwargs.items()]
        self.rule.written += f".{method.__name__}({', '.join([*map(literal, args), *named])})"
        return self

    return call


def literal(value: object) -> str:
    """A value as it is written in Python, with double quotes; a long one is cut."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class RuleBuilder:
    """One rule of a server. Each method adds an act or a condition, and returns the rule itself.

    A rule needs an act, and is in force from its first one on. Durations are seconds, or texts such as "2s"
    and "4h".
    """

    def __init__(self, rules: Rules, rule: Rule) -> None:
        self._rules = rules
        self.rule = rule

    # ------------------------------------------------------------ acts

    def _act(self, *acts: Act) -> Self:
        added = (*self.rule.acts, *acts)
        check_acts(self.rule.protocol, self.rule.moment, self.rule.at, added)
        self.rule.acts = added
        return self

    @_written
    def reply(self, status: int | str, *words: str) -> Self:
        """Reply in place of running the command.

        SMTP: a code, an enhanced code (or none), and one or more lines. POP3: "+OK" or "-ERR", and a text;
        further lines make a multi-line reply.
        """
        return self._act(Say(encoded(self.rule.protocol, status, words)))

    @_written
    def raw(self, octets: bytes) -> Self:
        """Send octets as they are, in place of running the command."""
        return self._act(Say(octets))

    @_written
    def extra(self, status: int | str, *words: str) -> Self:
        """Run the command, and send one more reply behind its own."""
        return self._act(Extra(encoded(self.rule.protocol, status, words)))

    @_written
    def delay(self, duration: str | float) -> Self:
        """Wait before the next act, or before the command runs."""
        return self._act(Pause(parse_duration(duration)))

    @_written
    def drip(self, octets_per_second: float) -> Self:
        """Send the reply slowly."""
        return self._act(Drip(octets_per_second))

    @_written
    def truncate(self, octets: int) -> Self:
        """Send only the first octets of the reply."""
        return self._act(Truncate(octets))

    @_written
    def corrupt(self, octets: int = 1) -> Self:
        """Change so many octets of the reply."""
        return self._act(Corrupt(octets))

    @_written
    def garbage(self, octets: int = 64) -> Self:
        """Send random octets in place of the reply."""
        return self._act(Garbage(octets))

    @_written
    def swap(self) -> Self:
        """Send the reply after the next one."""
        return self._act(Swap())

    @_written
    def silence(self) -> Self:
        """Run the command, and send no reply."""
        return self._act(Silence())

    @_written
    def lose(self) -> Self:
        """Run the command, lose its reply, and reset the connection."""
        return self._act(Silence(), Ending.RESET)

    @_written
    def lie(self, octets: int) -> Self:
        """Add a number to the sizes in the reply to STAT, LIST or RETR."""
        return self._act(Lie(octets))

    @_written
    def locked(self) -> Self:
        """Reply that another session holds the maildrop."""
        return self._act(Say(encoded(self.rule.protocol, IN_USE[0], IN_USE[1:])))

    @_written
    def hang(self) -> Self:
        """Keep the connection open, and drop all input."""
        return self._act(HANG)

    @_written
    def reset(self) -> Self:
        """Reset the connection."""
        return self._act(Ending.RESET)

    @_written
    def close(self) -> Self:
        """Close the connection."""
        return self._act(Ending.CLOSE)

    @_written
    def half_close(self) -> Self:
        """Close the server's direction of the connection, that of TLS if there is TLS. Input is dropped."""
        return self._act(Ending.HALF_CLOSE)

    @_written
    def cut(self) -> Self:
        """Reset the connection in the middle of the TLS handshake."""
        return self._act(Ending.CUT)

    # ------------------------------------------------------------ conditions

    @_written
    def times(self, count: int) -> Self:
        """Act so many times at most."""
        self.rule.times = count
        return self

    @_written
    def after(self, count: int) -> Self:
        """Act only after so many times."""
        self.rule.after = count
        return self

    @_written
    def every(self, count: int) -> Self:
        """Act only each time with this number: the 3rd, 6th and 9th for 3."""
        self.rule.every = count
        return self

    @_written
    def for_(self, account: str) -> Self:
        """Act for this account only."""
        self.rule.account = account
        return self

    @_written
    def session(self, number: int) -> Self:
        """Act in the session of the protocol with this number only, from 1."""
        self.rule.session = number
        return self

    @_written
    def above(self, count: int, per: str | float) -> Self:
        """Act only beyond so many times in a duration, as a rate limit does."""
        self.rule.above, self.rule.per = count, parse_duration(per)
        return self

    @_written
    def chance(self, probability: float) -> Self:
        """Act with this probability, from 0 to 1. A server with a seed decides the same in each run."""
        self.rule.chance = probability
        return self

    @_written
    def optional(self) -> Self:
        """Do not fail the test if the rule never acts."""
        self.rule.is_optional = True
        return self

    def remove(self) -> None:
        """Take the rule out of force."""
        self._rules.remove(self.rule)

    @property
    def fired(self) -> int:
        """How often the rule has acted."""
        return self.rule.fired


def encoded(protocol: str, status: int | str, words: tuple[str, ...]) -> bytes:
    """The octets of a reply. Raises ValueError for a status that the protocol does not have, and for a line
    end within a line."""
    if any(end in word for word in words for end in "\r\n"):
        raise ValueError("a line of a reply has no line end; each line is an argument of its own")
    if protocol == POP3:
        if status not in ("+OK", "-ERR"):
            raise ValueError(f'POP3 has no status {status!r}; allowed: "+OK", "-ERR"')
        first, *lines = words or ("",)
        text = f"{status} {first}".rstrip() + "\r\n"
        if lines:
            stuffed = [f".{line}" if line.startswith(".") else line for line in lines]
            text += "\r\n".join([*stuffed, ".", ""])
        return text.encode()
    if not (isinstance(status, int) and 200 <= status <= 599):
        raise ValueError(f"SMTP has no reply code {status!r}; allowed: 200 to 599")
    enhanced = words[0] if words and re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", words[0]) else ""
    lines = list(words[1:] if enhanced else words) or [""]
    prefix = f"{enhanced} " if enhanced else ""
    last = len(lines) - 1
    return "".join(
        f"{status}{'-' if number < last else ' '}{prefix}{line}".rstrip() + "\r\n"
        for number, line in enumerate(lines)
    ).encode()


def begin_rule(
    rules: Rules,
    protocol: str,
    moment: str,
    argument: "str | re.Pattern[str] | None",
    at: int | None,
    own: Iterable[str] = (),
) -> RuleBuilder:
    """Add a rule without acts. ``own`` are verbs of the test. Raises ValueError for an unknown moment."""
    pattern = re.compile(argument, re.IGNORECASE) if isinstance(argument, str) else argument
    rule = Rule(protocol, check_moment(protocol, moment, at, own), argument=pattern, at=at)
    words = [literal(each) for each in (moment, argument) if each is not None]
    words += [f"at={at}"] if at is not None else []
    rule.written = f"{protocol}.on({', '.join(words)})"
    rules.add(rule)
    return RuleBuilder(rules, rule)


def calling_line() -> str:
    """File and line of the code that has called this package, "" if there is none."""
    frame = sys._getframe()
    while frame.f_globals.get("__name__", "").startswith("mailserver."):
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{frame.f_lineno}"
