"""What happens to mail if a check fails because of a mistake in this server: see ``policy.on_error``."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mailserver.events.base import report
from mailserver.events.reputation import ClientCheckFailed
from mailserver.policy.sender_verdict import UNCHECKED, ErrorMode
from mailserver.reception.checks import ACCEPTED, CheckFunction, CheckResult, CheckVerdict
from mailserver.reception.transaction import Client


class CheckGuard:
    """Runs a check of a client, and reports what it raises. ``name`` is that of the check in the log."""

    def __init__(self, name: str, on_error: ErrorMode) -> None:
        self._name = name
        self._verdict: CheckVerdict = UNCHECKED if on_error == "defer" else ACCEPTED

    def run(self, client: Client, check: CheckFunction, *subject: object) -> CheckResult:
        """The verdict of ``check(*subject)``, or the one for a failed check."""
        try:
            result = check(*subject)
        except Exception:  # noqa: BLE001 - a mistake in one check must not stop the mail
            return self._failed(Failure(), client)
        return result.addErrback(self._failed, client) if isinstance(result, Deferred) else result

    def _failed(self, failure: Failure, client: Client) -> CheckVerdict:
        if failure.check(CancelledError):  # the client has gone
            failure.raiseException()
        event = ClientCheckFailed(
            client=client.ip, session=client.session, check=self._name, rule="policy.on_error"
        )
        report(event, failure)
        return self._verdict
