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
from typing import Any

import attrs
from attrs.validators import ge, gt

from mailserver.faults.sizes import add_to_sizes

DRIP_INTERVAL = 0.1  # seconds between two pieces of a slow reply
PRINTABLE = bytes(range(0x21, 0x7F))

# Any: the type of a field that attrs makes.
_at_least_0: Any = ge(0)
_at_least_1: Any = ge(1)


class Ending(Enum):
    """How the server stops to serve the client. The value is for the transcript."""

    CLOSE = "connection closed by a rule"
    HALF_CLOSE = "connection half-closed by a rule"
    RESET = "connection reset by a rule"
    CUT = "TLS handshake cut by a rule"


@attrs.frozen
class Pause:
    """Wait for some seconds, ``inf`` for ever."""

    seconds: float = attrs.field(validator=_at_least_0)


@attrs.frozen
class Say:
    """Send octets: in place of the command, or after its reply."""

    octets: bytes


@attrs.frozen
class Truncate:
    """Send only the first octets of the reply."""

    octets: int = attrs.field(validator=_at_least_0)

    def change(self, reply: bytes, random: Random) -> bytes:
        """The beginning of the reply."""
        return reply[: self.octets]


@attrs.frozen
class Corrupt:
    """Change some octets of the reply, but no line end."""

    octets: int = attrs.field(default=1, validator=_at_least_1)

    def change(self, reply: bytes, random: Random) -> bytes:
        """The reply with other octets at random places."""
        changed = bytearray(reply)
        places = [place for place, octet in enumerate(reply) if octet not in b"\r\n"]
        for place in random.sample(places, min(self.octets, len(places))):
            changed[place] = random.choice([octet for octet in PRINTABLE if octet != changed[place]])
        return bytes(changed)


@attrs.frozen
class Garbage:
    """Send random octets in place of the reply. They have a line end at their end only."""

    octets: int = attrs.field(default=64, validator=_at_least_0)

    def change(self, reply: bytes, random: Random) -> bytes:
        """Random octets."""
        return bytes(random.choice(range(0x80, 0x100)) for _ in range(self.octets)) + b"\r\n"


@attrs.frozen
class Silence:
    """Send no reply. The command has its effect."""

    def change(self, reply: bytes, random: Random) -> bytes:
        """Nothing."""
        return b""


@attrs.frozen
class Extra:
    """Send octets behind the reply, such as one more reply."""

    octets: bytes

    def change(self, reply: bytes, random: Random) -> bytes:
        """The reply and the octets."""
        return reply + self.octets


@attrs.frozen
class Lie:
    """Add a number of octets, which may be negative, to the sizes in the reply to STAT, LIST or RETR."""

    octets: int

    def change(self, reply: bytes, random: Random) -> bytes:
        """The reply with wrong sizes."""
        return add_to_sizes(reply, self.octets)


@attrs.frozen
class Drip:
    """Send the reply slowly."""

    octets_per_second: float = attrs.field(validator=gt(0))

    def send(self, reply: bytes) -> "list[ActStep]":
        """The reply in pieces."""
        size = max(1, round(self.octets_per_second * DRIP_INTERVAL))
        steps: list[ActStep] = []
        for start in range(0, len(reply), size):
            piece = reply[start : start + size]
            steps += [Pause(len(piece) / self.octets_per_second), piece]
        return steps


@attrs.frozen
class Swap:
    """Send the reply after the next one."""

    def send(self, reply: bytes) -> "list[ActStep]":
        """The reply, to be sent later."""
        return [Later(reply)]


@attrs.frozen
class Later:
    """Octets to be sent after the next reply."""

    octets: bytes


ReplyChange = Truncate | Corrupt | Garbage | Silence | Extra | Lie
SendingMode = Drip | Swap
Act = Pause | Say | Ending | ReplyChange | SendingMode
ActStep = bytes | Pause | Ending | Later
"""What a caller does next: send octets, wait, end, or keep octets for later."""

HANG = Pause(inf)


@attrs.frozen
class Plan:
    """The acts of a rule in order. ``runs``: the command runs between ``before`` and ``after``."""

    before: tuple[ActStep, ...] = ()
    runs: bool = True
    changes: tuple[ReplyChange, ...] = ()
    mode: SendingMode | None = None
    after: tuple[ActStep, ...] = ()

    @classmethod
    def of(cls, acts: Iterable[Act]) -> "Plan":
        """Put acts in order; see the docstring of the module. Raises ValueError if they cannot follow each
        other."""
        before: list[ActStep] = []
        after: list[ActStep] = []
        changes: list[ReplyChange] = []
        mode: SendingMode | None = None
        runs: bool | None = None
        for act in acts:
            if any(isinstance(step, Ending) or step == HANG for step in (*before, *after)):
                raise ValueError("nothing can follow an act that ends the session")
            if isinstance(act, ReplyChange | SendingMode):
                if runs is False or after:
                    raise ValueError("the reply cannot be changed any more after another act")
                if mode is not None:
                    raise ValueError("nothing of the reply can be changed after drip or swap")
                runs = True
                if isinstance(act, SendingMode):
                    mode = act
                else:
                    changes.append(act)
                continue
            steps = before if runs is None else after
            steps.append(act.octets if isinstance(act, Say) else act)
            if runs is None and not isinstance(act, Pause):
                runs = False
        if runs is False:
            return cls((*before, *after), False)
        return cls(tuple(before), True, tuple(changes), mode, tuple(after))

    @property
    def changes_reply(self) -> bool:
        """Whether another reply is sent, or the same one in another way."""
        return bool(self.changes) or self.mode is not None

    def followed_by(self, later: "Plan") -> "Plan":
        """The plan of a command if a ``later`` moment of it has a plan, too. ``before`` is that of the later
        one."""
        if not later.runs:
            return later
        mode = later.mode or self.mode
        return Plan(later.before, True, self.changes + later.changes, mode, self.after + later.after)

    def reply_steps(self, reply: bytes, random: Random) -> list[ActStep]:
        """The steps after the command has run, with its ``reply``."""
        for change in self.changes:
            reply = change.change(reply, random)
        sent = [reply] if self.mode is None else self.mode.send(reply)
        return [*sent, *self.after]


def with_late(steps: Sequence[ActStep], late: Sequence[bytes]) -> list[ActStep] | None:
    """The steps of a reply, with the ``late`` octets behind it; None if nothing is sent now.

    A reply is not postponed while another one is late.
    """
    shown: list[ActStep] = [step.octets if isinstance(step, Later) else step for step in steps]
    places = [place for place, step in enumerate(shown) if isinstance(step, bytes)]
    if not places:
        return None
    end = places[-1] + 1
    return [*shown[:end], *late, *shown[end:]]
