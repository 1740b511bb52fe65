"""The acts of a rule, and their order.

The acts of a rule are a small program. Acts before the command runs come first. ``Say``, and the endings,
take the place of the command if they come before it. A change of the reply runs the command. If no act does
one or the other, the command runs at the end. So ``reply, close`` rejects and closes, ``truncate, close``
runs the command and sends a part of its reply, ``delay, reset`` waits and resets without running it.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from math import inf
from random import Random

import attrs

DRIP_INTERVAL = 0.1  # seconds between two pieces of a slow reply
PRINTABLE = bytes(range(0x21, 0x7F))


class Ending(Enum):
    """How the server stops to serve the client."""

    HANG = "keeps the connection, and sends and reads nothing more"
    CLOSE = "closes the connection"
    HALF_CLOSE = "closes its own direction, and reads nothing more"
    RESET = "resets the connection"
    CUT = "resets the connection in the middle of the TLS handshake"


@attrs.frozen
class Pause:
    """Wait for some seconds, ``inf`` for ever."""

    seconds: float


@attrs.frozen
class Say:
    """Send octets: in place of the command, or after its reply."""

    octets: bytes


@attrs.frozen
class Drip:
    """Send the reply slowly."""

    octets_per_second: int

    def change(self, reply: bytes, random: Random) -> "list[ActStep]":
        """The reply in pieces."""
        size = max(1, round(self.octets_per_second * DRIP_INTERVAL))
        steps: list[ActStep] = []
        for start in range(0, len(reply), size):
            piece = reply[start : start + size]
            steps += [Pause(len(piece) / self.octets_per_second), piece]
        return steps


@attrs.frozen
class Truncate:
    """Send only the first octets of the reply."""

    octets: int

    def change(self, reply: bytes, random: Random) -> "list[ActStep]":
        """The beginning of the reply."""
        return [reply[: self.octets]]


@attrs.frozen
class Corrupt:
    """ReplyChange some octets of the reply, but no line end."""

    octets: int = 1

    def change(self, reply: bytes, random: Random) -> "list[ActStep]":
        """The reply with other octets at random places."""
        changed = bytearray(reply)
        places = [place for place, octet in enumerate(reply) if octet not in b"\r\n"]
        for place in random.sample(places, min(self.octets, len(places))):
            changed[place] = random.choice([octet for octet in PRINTABLE if octet != changed[place]])
        return [bytes(changed)]


@attrs.frozen
class Garbage:
    """Send random octets in place of the reply. They have a line end at their end only."""

    octets: int = 64

    def change(self, reply: bytes, random: Random) -> "list[ActStep]":
        """Random octets."""
        text = bytes(random.choice(range(0x80, 0x100)) for _ in range(self.octets))
        return [text + b"\r\n"]


@attrs.frozen
class Silence:
    """Send no reply. The command has its effect."""

    def change(self, reply: bytes, random: Random) -> "list[ActStep]":
        """Nothing."""
        return []


@attrs.frozen
class Extra:
    """Send octets behind the reply, such as one more reply."""

    octets: bytes

    def change(self, reply: bytes, random: Random) -> "list[ActStep]":
        """The reply and the octets."""
        return [reply, self.octets]


@attrs.frozen
class Swap:
    """Send the reply after the next one."""

    def change(self, reply: bytes, random: Random) -> "list[ActStep]":
        """The reply, to be sent later."""
        return [Later(reply)]


@attrs.frozen
class Later:
    """Octets to be sent after the next reply."""

    octets: bytes


@attrs.frozen
class Lie:
    """Add a number of octets, which may be negative, to the sizes in the reply to STAT, LIST or RETR."""

    octets: int

    def change(self, reply: bytes, random: Random) -> "list[ActStep]":
        """The reply with wrong sizes. A multi-line text is kept but for the first line of a message."""
        head, end, body = reply.partition(b"\r\n")
        is_listing = bool(body) and all(_is_entry(line) for line in body.split(b"\r\n")[:-2])
        lines = [_add(head, 2 if b"octets" not in head else 1, self.octets)]
        if is_listing:
            lines += [_add(line, 2, self.octets) for line in body.split(b"\r\n")]
            return [b"\r\n".join(lines)]
        return [lines[0] + end + body]


def _is_entry(line: bytes) -> bool:
    return all(word.isdigit() for word in line.split())


def _add(line: bytes, number: int, octets: int) -> bytes:
    """Add ``octets`` to the number with this count, from 1, of a line. A line with fewer does not change."""
    words = line.split(b" ")
    places = [place for place, word in enumerate(words) if word.strip(b"()").isdigit()]
    if number > len(places):
        return line
    word = words[places[number - 1]]
    digits = word.strip(b"()")
    words[places[number - 1]] = word.replace(digits, b"%d" % max(0, int(digits) + octets))
    return b" ".join(words)


ReplyChange = Drip | Truncate | Corrupt | Garbage | Silence | Extra | Swap | Lie
Act = Pause | Say | Ending | ReplyChange
ActStep = bytes | Pause | Ending | Later
"""What a caller does next: send octets, wait, end, or keep octets for later."""


@attrs.frozen
class Plan:
    """The acts of a rule in order. ``runs``: the command runs between ``before`` and ``after``."""

    before: tuple[ActStep, ...] = ()
    runs: bool = True
    changes: tuple[ReplyChange, ...] = ()
    after: tuple[ActStep, ...] = ()

    @classmethod
    def of(cls, acts: Iterable[Act]) -> "Plan":
        """Put acts in order; see the docstring of the module."""
        before: list[ActStep] = []
        after: list[ActStep] = []
        changes: list[ReplyChange] = []
        runs: bool | None = None
        for act in acts:
            if isinstance(act, ReplyChange):
                if runs is False or after:
                    raise ValueError("the reply cannot be changed any more after another act")
                runs = True
                changes.append(act)
                continue
            steps = before if runs is None else after
            steps.append(act.octets if isinstance(act, Say) else act)
            if runs is None and not isinstance(act, Pause):
                runs = False
        if runs is False:
            return cls((*before, *after), False)
        return cls(tuple(before), True, tuple(changes), tuple(after))

    def steps(self, reply: bytes, random: Random) -> list[ActStep]:
        """The steps after the command has run, with its ``reply``."""
        steps: list[ActStep] = [reply]
        for change in self.changes:
            steps = [
                new
                for step in steps
                for new in (change.change(step, random) if isinstance(step, bytes) else [step])
            ]
        return [*steps, *self.after]


HANG = Pause(inf)


def ends(steps: Sequence[ActStep]) -> bool:
    """Whether the steps end the session."""
    return any(isinstance(step, Ending) or step == HANG for step in steps)
