"""Counts the results of TLS with other servers, by policy domain and by day (RFC 8460 section 4).

The counts are in memory: a restart begins the day anew.
"""

from collections import Counter
from collections.abc import Callable

import attrs

from mailserver.delivery.tls_policy.sts_policy import STSPolicy
from mailserver.dns.records import TLSA
from mailserver.mail.daily_report import DAY

# The policy of MTA-STS or the records of DANE that a session had to obey, None if there were none.
AppliedPolicy = STSPolicy | tuple[TLSA, ...] | None

MOST_DOMAINS = 10_000
MOST_KINDS = 100  # of policies of a domain, and of failures of a policy


@attrs.define
class PolicyResults:
    """The sessions under one policy. Failures by result type (section 4.3) and host."""

    successes: int = 0
    failures: Counter[tuple[str, str]] = attrs.field(factory=Counter)


DomainResults = dict[AppliedPolicy, PolicyResults]


class TLSResults:
    """Counts while it is ``enabled``. ``now`` is wall-clock time in seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.enabled = True
        self._days: dict[int, dict[str, DomainResults]] = {}

    def count(self, domain: str, policy: AppliedPolicy, host: str, problem: str) -> None:
        """Count a session. ``problem`` is a result type, "" for a success."""
        if not self.enabled:
            return
        domains = self._days.setdefault(int(self._now() // DAY), {})
        if domain not in domains and len(domains) >= MOST_DOMAINS:
            return
        policies = domains.setdefault(domain, {})
        if policy not in policies and len(policies) >= MOST_KINDS:
            return
        results = policies.setdefault(policy, PolicyResults())
        if not problem:
            results.successes += 1
        elif (problem, host) in results.failures or len(results.failures) < MOST_KINDS:
            results.failures[problem, host] += 1

    def take(self) -> dict[int, dict[str, DomainResults]]:
        """Remove and return the results of the days that are over, by day since the epoch and domain."""
        today = int(self._now() // DAY)
        return {day: self._days.pop(day) for day in sorted(self._days) if day < today}
