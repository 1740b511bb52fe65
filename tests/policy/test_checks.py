"""What the checks of senders and of rates ask, and that their verdicts name a key."""

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from mailserver.interfaces import ISendingLimits
from mailserver.mail.address import Address, ReversePath
from mailserver.mail.rate import Rate
from mailserver.mail.verdict import NOT_AUTHORIZED, Accept, Defer, Refuse
from mailserver.net.limits import Limits
from mailserver.policy.rates import SendingRates
from mailserver.policy.senders import SenderOwnership
from mailserver.reception.checks import ILookupCheck, IRecipientCheck, ISenderCheck
from mailserver.reception.transaction import Client, Transaction
from mailserver.routing.router import Router
from mailserver.routing.table import Names, RoutingTable
from tests.support.fakes import stand_in
from tests.support.net.limits import only_limits

ALICE, BOB = Address("alice", "example.org"), Address("bob", "example.org")
ROUTER = Router(RoutingTable(Names(domains=["example.org"], accounts=[ALICE, BOB])))


def transaction(account: Address | None, path: ReversePath, limit_key: str = "192.0.2.1") -> Transaction:
    return Transaction("id", "", Client(limit_key=limit_key, account=account), path, {})


@pytest.mark.parametrize(
    ("account", "path", "accepted"),
    [
        (ALICE, ALICE, True),
        (ALICE, None, True),
        (ALICE, BOB, False),
        (ALICE, Address("x", "elsewhere.example"), False),
        (None, BOB, True),
    ],
)
def test_an_account_sends_under_its_own_addresses(
    account: Address | None, path: ReversePath, accepted: bool
) -> None:
    check = SenderOwnership(ROUTER)
    assert verifyObject(ISenderCheck, check)
    verdict = check.check_sender(transaction(account, path))
    if accepted:
        assert verdict == Accept("Ok")
    else:
        assert isinstance(verdict, Refuse)
        assert (verdict.status, verdict.key) == (NOT_AUTHORIZED, "submission.senders")


class Counted:
    """Limits that remember how they are asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.message = self.recipient = self.probe = self.recipient_failed = self._count

    def _count(self, *names: str) -> Defer:
        self.asked.append(names)
        return Defer(NOT_AUTHORIZED, "too many", "limits.something")


@pytest.mark.parametrize(
    ("account", "path", "counted"),
    [
        (None, None, ("192.0.2.1", "", "")),
        (None, ALICE, ("192.0.2.1", "", "example.org")),
        (BOB, ALICE, ("192.0.2.1", "bob@example.org", "@example.org")),
        (BOB, None, ("192.0.2.1", "bob@example.org", "")),
    ],
)
def test_rates_are_those_of_client_account_and_domain(
    account: Address | None, path: ReversePath, counted: tuple[str, ...]
) -> None:
    """The domain of a stranger is never that of an account: whoever has no login may give any."""
    limits = Counted()
    check = SendingRates(stand_in(limits))
    subject = transaction(account, path)
    for verdict in (
        check.check_sender(subject),
        check.check_recipient(subject, BOB),
        check.check_lookup(subject.client),
    ):
        assert verdict == Defer(NOT_AUTHORIZED, "too many", "limits.something")
    check.unknown(subject.client)
    assert limits.asked == [counted, counted, ("192.0.2.1",), ("192.0.2.1",)]


def test_unknown_names_are_counted_wherever_they_are_asked() -> None:
    limits = Limits(only_limits(failed_recipients_per_address=Rate(2, 3600.0)), Clock().seconds)
    check = SendingRates(limits)
    for contract in (ISenderCheck, IRecipientCheck, ILookupCheck):
        assert verifyObject(contract, check)
    assert verifyObject(ISendingLimits, limits)
    subject = transaction(None, None)
    for _ in range(2):
        assert check.check_lookup(subject.client) == check.check_recipient(subject, BOB) == Accept("Ok")
        check.unknown(subject.client)
    for verdict in (check.check_lookup(subject.client), check.check_recipient(subject, BOB)):
        assert isinstance(verdict, Defer) and verdict.key == "limits.failed_recipients_per_address"
    other = transaction(None, None, "192.0.2.2")
    assert check.check_recipient(other, BOB) == Accept("Ok")
