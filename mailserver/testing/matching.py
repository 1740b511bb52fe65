"""Which messages a test asks for: ``to="bob@example.test", subject="Reset"``.

``to`` is the mailbox of a message, in lower case, or the recipients of one that was relayed. Addresses are
compared as a whole, in any case. Texts are searched for the given words, in the given case. A compiled
regular expression is searched in both. ``after`` is a message: those that came later match.
"""

import difflib
import re
from collections.abc import Callable
from typing import Self

import attrs

from mailserver.errors import AddressError
from mailserver.mail.address import Address, folded
from mailserver.testing.message import CaughtMessage, quoted

Pattern = str | re.Pattern[str]
Condition = Callable[[CaughtMessage], object]

_ADDRESSES: dict[str, Callable[[CaughtMessage], tuple[str, ...]]] = {
    "to": lambda message: (message.mailbox,) if message.mailbox else message.recipients,
    "sender": lambda message: (message.sender,),
    "mailbox": lambda message: (message.mailbox,),
}
_TEXTS: dict[str, Callable[[CaughtMessage], str]] = {
    "subject": lambda message: message.subject,
    "text": lambda message: message.visible_text,
}
KEYS = (*_ADDRESSES, *_TEXTS, "where", "after")


@attrs.frozen
class Match:
    """Conditions that a message meets all at once; without any, all messages match."""

    patterns: dict[str, Pattern] = attrs.field(factory=dict)
    where: Condition | None = None
    after: CaughtMessage | None = attrs.field(default=None, eq=False)

    @classmethod
    def of(cls, **conditions: object) -> Self:
        """Conditions by their keys, those of :data:`KEYS`; one that is None does not count.

        Raises TypeError for an unknown key, and for a value of the wrong type.
        """
        patterns: dict[str, Pattern] = {}
        where: Condition | None = None
        after: CaughtMessage | None = None
        for key, value in conditions.items():
            if key not in KEYS:
                near = difflib.get_close_matches(key, KEYS, n=1)
                hint = f"did you mean {near[0]}=?" if near else f"the keys are {', '.join(KEYS)}"
                raise TypeError(f"unknown condition {key}=; {hint}")
            if value is None:
                continue
            if key == "where":
                if not callable(value):
                    raise TypeError(f"where= is a function of a message, not {type(value).__name__}")
                where = value
            elif key == "after":
                if not isinstance(value, CaughtMessage):
                    raise TypeError(f"after= is a message, not {type(value).__name__}")
                after = value
            elif isinstance(value, str) or (isinstance(value, re.Pattern) and isinstance(value.pattern, str)):
                patterns[key] = value
            else:
                kind = "bytes" if isinstance(value, re.Pattern) else type(value).__name__
                raise TypeError(f"{key}= is a str or a compiled regular expression of str, not of {kind}")
        return cls(patterns, where, after)

    def matches(self, message: CaughtMessage) -> bool:
        """Whether the message meets all conditions but ``after``. Exceptions of ``where`` are raised."""
        for key, wanted in self.patterns.items():
            if key in _TEXTS:
                text = _TEXTS[key](message)
                met = wanted in text if isinstance(wanted, str) else bool(wanted.search(text))
            else:
                met = any(_is_address(wanted, address) for address in _ADDRESSES[key](message))
            if not met:
                return False
        return self.where is None or bool(self.where(message))

    def describe(self) -> str:
        """The conditions as one line for a failed test."""
        told = [_told(key, wanted) for key, wanted in self.patterns.items()]
        if self.where is not None:
            told.append(f"where={getattr(self.where, '__qualname__', repr(self.where))}")
        if self.after is not None:
            told.append(f"after={quoted(self.after.subject)}")
        return ", ".join(told) or "any content"


def _told(key: str, wanted: Pattern) -> str:
    if isinstance(wanted, re.Pattern):
        return f"{key} matches {quoted(wanted.pattern)}"
    return f"{key} contains {quoted(wanted)}" if key in _TEXTS else f"{key}={quoted(wanted)}"


def _is_address(wanted: Pattern, address: str) -> bool:
    if isinstance(wanted, re.Pattern):
        return bool(wanted.search(address))
    return _key(wanted) == _key(address)


def _key(address: str) -> str:
    """The same for all spellings of an address that differ in case, quotes or the form of the domain."""
    try:
        return str(Address.parse(address, any_dots=True).key)
    except AddressError:
        return folded(address)
