"""How long messages stay in a mailbox (RFC 2449 section 6.7)."""

from collections.abc import Iterable
from math import inf

import attrs

DAY = 86400  # seconds


@attrs.frozen
class Retention:
    """``days`` from the arrival of a message until it is removed; None: it is never removed.

    With 0 days, a message is removed at the end of the session that has retrieved it.
    """

    days: int | None = None

    @property
    def seconds(self) -> float:
        """The age at which a message is removed without a session; infinite with 0 days."""
        return self.days * DAY if self.days else inf

    def __str__(self) -> str:
        return "NEVER" if self.days is None else str(self.days)


def shortest(retentions: Iterable[Retention]) -> Retention:
    """The shortest of them; that of no messages is for ever."""
    days = [each.days for each in retentions if each.days is not None]
    return Retention(min(days)) if days else Retention()
