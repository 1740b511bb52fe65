"""Checks that delay a recipient, side by side."""

from typing import Any

import pytest
from twisted.internet.defer import succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailserver.mail.verdict import MAIL_SYSTEM, NOT_AUTHORIZED, Defer
from mailserver.policy.delays import Delays
from mailserver.reception.checks import ACCEPTED, IRoutedCheck
from mailserver.reception.transaction import Recipient, Transaction
from tests.support.history import message, recipient
from tests.support.reputation import CLIENT, arrived

FIRST, SECOND = Defer(NOT_AUTHORIZED, "first", "a"), Defer(MAIL_SYSTEM, "second", "b")


@implementer(IRoutedCheck)
class Counted:
    def __init__(self, verdict: Any) -> None:
        self.calls = 0
        self._verdict = verdict

    def check_routed(self, transaction: Transaction, recipient: Recipient) -> Any:
        self.calls += 1
        return self._verdict


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([ACCEPTED, ACCEPTED], ACCEPTED),
        ([FIRST, SECOND], FIRST),
        ([FIRST, ACCEPTED], FIRST),
        ([ACCEPTED, SECOND], SECOND),
        ([succeed(FIRST), succeed(SECOND)], FIRST),
        ([succeed(ACCEPTED), succeed(SECOND)], SECOND),
    ],
)
def test_all_are_asked_and_the_first_deferral_counts(verdicts: list[Any], expected: Any) -> None:
    checks = [Counted(verdict) for verdict in verdicts]
    delays = Delays(checks)
    assert verifyObject(IRoutedCheck, delays)
    assert arrived(delays.check_routed(message(CLIENT, None), recipient())) == expected
    assert [check.calls for check in checks] == [1, 1]
