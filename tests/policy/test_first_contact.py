"""Who has written to whom: the mark of a first contact, and what makes a sender known."""

from typing import Any

import attrs
import pytest
from zope.interface.verify import verifyObject

from mailserver.accounts.history import LIFETIMES
from mailserver.mail.address import Address
from mailserver.mail.verdict import Accept
from mailserver.policy.history import Correspondents, FirstContact
from mailserver.reception.checks import IMessageCheck
from mailserver.reception.transaction import Client, LocalUser
from tests.support.fakes import stand_in
from tests.support.history import ALICE, HistoryCase, message, recipient
from tests.support.reputation import CLIENT, arrived

SENDER = Address("Someone", "sender.example")
MARKED = Accept("Ok", b"X-First-Contact: yes\r\n")
ACCOUNT = attrs.evolve(CLIENT, account=ALICE)
LOCAL = Client(local=LocalUser(1000, "alice@example.org"))
EXEMPT = attrs.evolve(CLIENT, ip="198.51.100.1")


class Case(HistoryCase):
    def __init__(self) -> None:
        super().__init__()
        self.first = FirstContact(self.history, self.is_exempt, self.now)
        self.correspondents = Correspondents(self.history, self.is_exempt, self.now)
        assert verifyObject(IMessageCheck, self.first) and verifyObject(IMessageCheck, self.correspondents)

    def is_exempt(self, ip: str) -> bool:
        return ip == EXEMPT.ip

    def check(self, *arguments: Any) -> Any:
        """The verdict on a message, which both checks see."""
        subject = message(*arguments)
        assert arrived(self.correspondents.check_message(subject, stand_in(None))) == Accept("Ok")
        return arrived(self.first.check_message(subject, stand_in(None)))


@pytest.fixture
def case() -> Case:
    return Case()


def test_only_the_first_message_of_a_stranger_is_marked(case: Case) -> None:
    assert case.check(CLIENT, SENDER) == MARKED
    assert case.check(attrs.evolve(CLIENT, ip="203.0.113.1"), Address("someone", "sender.example")) == Accept(
        "Ok"
    )
    assert case.check(CLIENT, Address("other", "sender.example")) == MARKED
    case.clock.advance(LIFETIMES["heard"] - 1)
    assert case.check(CLIENT, SENDER) == Accept("Ok")
    case.clock.advance(LIFETIMES["heard"] - 1)
    assert case.check(CLIENT, SENDER) == Accept("Ok")
    case.clock.advance(LIFETIMES["heard"])
    assert case.check(CLIENT, SENDER) == MARKED


@pytest.mark.parametrize("client", [ACCOUNT, LOCAL, EXEMPT, attrs.evolve(CLIENT, protocol="LMTP")])
def test_others_and_bounces_are_not_marked(case: Case, client: Client) -> None:
    assert case.check(client, SENDER) == case.check(CLIENT, None) == Accept("Ok")
    assert case.check(CLIENT, SENDER) == MARKED


@pytest.mark.parametrize(
    ("client", "path", "relayed", "known"),
    [
        (ACCOUNT, ALICE, True, True),
        (LOCAL, ALICE, True, True),
        (EXEMPT, ALICE, True, True),
        (ACCOUNT, None, True, False),
        (ACCOUNT, ALICE, False, False),
        (CLIENT, ALICE, True, False),  # for a domain that is relayed for everybody
    ],
)
def test_an_answer_is_no_first_contact(
    case: Case, client: Client, path: Any, relayed: bool, known: bool
) -> None:
    case.check(client, path, recipient(SENDER, relayed=relayed), recipient())
    assert case.check(CLIENT, SENDER) == (Accept("Ok") if known else MARKED)


def test_no_mail_is_marked_or_stopped_if_the_database_fails(case: Case) -> None:
    case.is_broken = True
    assert case.check(CLIENT, SENDER) == Accept("Ok")
    assert case.check(ACCOUNT, ALICE, recipient(SENDER, relayed=True)) == Accept("Ok")
    case.is_broken = False
    assert case.check(CLIENT, SENDER) == MARKED
