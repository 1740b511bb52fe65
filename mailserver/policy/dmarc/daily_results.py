"""Counts the results of DMARC by policy domain and by day, for aggregate reports (RFC 9990).

The counts are in memory: a restart begins the day anew. What strangers send is bounded: messages beyond that
are not counted.
"""

from collections import Counter
from collections.abc import Callable

import attrs

from mailserver.mail.daily_report import DAY
from mailserver.policy.dmarc.aggregate import AggregateRow
from mailserver.policy.dmarc.record import DMARCRecord

MOST_DOMAINS = 10_000
MOST_ROWS = 1_000  # of one domain
MOST_OCTETS = 32 * 1024 * 1024  # of all rows of a day, about
_ROW = 600  # octets of a row beside its texts, about


@attrs.define
class DomainDay:
    """The messages of one policy domain. ``policy`` is its last record."""

    policy: DMARCRecord
    rows: Counter[AggregateRow] = attrs.field(factory=Counter)


@attrs.define
class _Day:
    domains: dict[str, DomainDay] = attrs.field(factory=dict)
    octets: int = 0


class DMARCResults:
    """Counts while it is ``enabled``. ``now`` is wall-clock time in seconds since the epoch."""

    def __init__(self, now: Callable[[], float], *, enabled: bool) -> None:
        self._now = now
        self.enabled = enabled
        self._days: dict[int, _Day] = {}

    def count(self, policy: DMARCRecord, row: AggregateRow) -> None:
        """Count a message."""
        if not self.enabled:
            return
        day = self._days.setdefault(int(self._now() // DAY), _Day())
        domain = day.domains.get(policy.domain)
        if domain is None:
            if len(day.domains) >= MOST_DOMAINS:
                return
            domain = day.domains[policy.domain] = DomainDay(policy)
        domain.policy = policy
        if row not in domain.rows:
            octets = _ROW + row.size
            if len(domain.rows) >= MOST_ROWS or day.octets + octets > MOST_OCTETS:
                return
            day.octets += octets
        domain.rows[row] += 1

    def take(self) -> dict[int, dict[str, DomainDay]]:
        """Remove and return the results of the days that are over, by day since the epoch and domain."""
        today = int(self._now() // DAY)
        return {day: self._days.pop(day).domains for day in sorted(self._days) if day < today}
