"""The log of the rejections in a session: the first one by each rule is logged, the others are counted.

A client with a thousand rejections a second must not write a thousand log lines a second. The count is
logged at the end of the session, and before that at most once in :data:`LOG_INTERVAL` seconds.
"""

from collections.abc import Callable

import attrs

from mailserver.events.base import report
from mailserver.events.connections import ClientRejected, CommandRejected, RejectionsRepeated

LOG_INTERVAL = 60.0  # seconds between two log lines about one rule
# Maximum number of different rejections in a line with a count.
MAX_NAMED = 10


@attrs.define
class _Repetition:
    """Rejections by one rule that are not logged yet. ``logged`` is the time of the last line."""

    logged: float
    account: str
    count: int = 0
    named: dict[str, None] = attrs.field(factory=dict)


class RejectionLog:
    """The rejections of one session."""

    __slots__ = ("_client_ip", "_repeated", "_seconds", "_session")

    def __init__(self, session: str, client_ip: str, seconds: Callable[[], float]) -> None:
        """``session`` is the id of the connection, ``seconds`` a clock that does not go backwards."""
        self._session = session
        self._client_ip = client_ip
        self._seconds = seconds
        self._repeated: dict[str, _Repetition] = {}

    def add(self, reason: str, rule: str, what: str = "", account: str = "") -> None:
        """Log or count the rejection of ``what``, such as a recipient; "" for the client itself."""
        now, repeated = self._seconds(), self._repeated.get(rule)
        if repeated is not None and now - repeated.logged < LOG_INTERVAL:
            repeated.count += 1
            if len(repeated.named) <= MAX_NAMED:
                repeated.named[f"{what}: {reason}" if what else reason] = None
            return
        if repeated is not None:
            self._log(rule, repeated)
        self._repeated[rule] = _Repetition(now, account)
        who = {"client": self._client_ip, "session": self._session, "account": account}
        if what:
            report(CommandRejected(what=what, reason=reason, rule=rule, **who))
        else:
            report(ClientRejected(reason=reason, rule=rule, **who))

    def end(self) -> None:
        """The session is over: log the counts."""
        for rule, repeated in self._repeated.items():
            self._log(rule, repeated)
        self._repeated.clear()

    def _log(self, rule: str, repeated: _Repetition) -> None:
        if not repeated.count:
            return
        named = list(repeated.named)
        report(
            RejectionsRepeated(
                client=self._client_ip,
                session=self._session,
                account=repeated.account,
                count=repeated.count,
                reason="; ".join(named[:MAX_NAMED]) + ("; …" if len(named) > MAX_NAMED else ""),
                rule=rule,
            )
        )
