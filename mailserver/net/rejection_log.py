"""What a session was refused, in the log: the first refusal by each rule at once, the others counted.

A client that is refused a thousand times a second must not write a thousand lines of the log a second.
The count is logged when the session ends, and at most once in :data:`LOG_INTERVAL` seconds before that.
"""

from collections.abc import Callable

import attrs

from mailserver.events.base import report
from mailserver.events.connections import ClientRejected, CommandRejected, RejectionsRepeated

LOG_INTERVAL = 60.0  # seconds between two lines about one rule
# Different refusals that a line with a count names.
MAX_NAMED = 10


@attrs.define
class _Repetition:
    """Refusals by one rule that the log does not have yet; ``told`` is the time of the last line."""

    told: float
    account: str
    count: int = 0
    named: dict[str, None] = attrs.field(factory=dict)


class RejectionLog:
    """Those of one session."""

    __slots__ = ("_client_ip", "_repeated", "_seconds", "_session")

    def __init__(self, session: str, client_ip: str, seconds: Callable[[], float]) -> None:
        """``session`` is the id of the connection, ``seconds`` a clock that does not go backwards."""
        self._session = session
        self._client_ip = client_ip
        self._seconds = seconds
        self._repeated: dict[str, _Repetition] = {}

    def add(self, reason: str, rule: str, what: str = "", account: str = "") -> None:
        """The client was refused ``what`` (a recipient, for example; "" for the client itself)."""
        now, repeated = self._seconds(), self._repeated.get(rule)
        if repeated is not None and now - repeated.told < LOG_INTERVAL:
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
        """The session is over: log what was counted."""
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
