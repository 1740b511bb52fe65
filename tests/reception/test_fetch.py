"""ATRN through a reception: which account may fetch the mail for which domains."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from mailserver.errors import StorageError
from mailserver.mail.address import Address
from mailserver.mail.verdict import Defer, MailWaits
from mailserver.policy.relay import RelayPermission
from mailserver.reception.reception import NOT_FETCHED, Reception
from mailserver.reception.transaction import Client
from mailserver.smtp.verdicts import fetch_reply
from tests.support.fakes import stand_in

ALICE, BOB = (Address(name, "example.org") for name in ("alice", "bob"))
CHECK = RelayPermission(
    [], ["a.example", "b.example", "c.example"], {"a.example": [ALICE], "b.example": [ALICE, BOB]}
)


class Fetcher:
    answer: Any = None

    def waiting(self, domains: Any) -> Any:
        return self.answer or succeed([one for one in domains if one != "b.example"])


def asked(account: Address | None, *domains: str, answer: Any = None) -> Any:
    fetcher = Fetcher()
    fetcher.answer = answer
    reception = Reception(
        stand_in(None), stand_in(None), [CHECK], hostname="mail.example.org", fetcher=stand_in(fetcher)
    )
    verdict = reception.find_waiting(Client("192.0.2.1", account=account), domains)
    return verdict.result if isinstance(verdict, Deferred) else verdict


@pytest.mark.parametrize(
    ("account", "domains", "verdict"),
    [
        (ALICE, ("a.example",), MailWaits(("a.example",))),
        (ALICE, (), MailWaits(("a.example",))),
        (ALICE, ("b.example",), MailWaits(())),
        (BOB, (), MailWaits(())),
        (BOB, ("a.example",), NOT_FETCHED),
        (BOB, ("b.example", "a.example"), NOT_FETCHED),
        (ALICE, ("c.example",), NOT_FETCHED),
        (Address("carol", "example.org"), (), NOT_FETCHED),
        (None, (), NOT_FETCHED),
    ],
)
def test_who_may_fetch_what(account: Address | None, domains: tuple[str, ...], verdict: object) -> None:
    assert asked(account, *domains) == verdict


def test_a_queue_that_cannot_be_read() -> None:
    verdict = asked(ALICE, answer=fail(StorageError("no")))
    assert isinstance(verdict, Defer)
    assert fetch_reply(verdict).octets.startswith(b"451 4.3.0 Unable to process ATRN request now: ")
