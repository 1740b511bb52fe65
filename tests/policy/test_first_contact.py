"""Who has written to whom: the mark of a first contact, and what makes a sender known."""

from typing import Any

import attrs
import pytest
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from mailserver.accounts.history import LIFETIMES
from mailserver.mail.address import Address
from mailserver.mail.verdict import NOT_AUTHORIZED, Accept
from mailserver.policy.first_contact import FirstContact, FirstContactDelay
from mailserver.policy.history import Correspondents
from mailserver.reception.checks import IFinalCheck, IRoutedCheck
from mailserver.reception.transaction import Client, LocalUser
from tests.support.fakes import stand_in
from tests.support.history import ALICE, HistoryCase, message, recipient
from tests.support.reputation import CLIENT, arrived

SENDER = Address("Someone", "sender.example")
MARKED = Accept("Ok", b"X-First-Contact: yes\r\n")
DELAY = 900.0
WAIT = "first contact: please try again in 900 seconds"
ACCOUNT = attrs.evolve(CLIENT, account=ALICE)
LOCAL = Client(local=LocalUser(1000, "alice@example.org"))
EXEMPT = attrs.evolve(CLIENT, ip="198.51.100.1")


class Case(HistoryCase):
    def __init__(self) -> None:
        super().__init__()
        self.first = FirstContact(self.history, self.is_exempt, self.now)
        self.correspondents = Correspondents(self.history, self.is_exempt, self.now)
        assert verifyObject(IFinalCheck, self.first) and verifyObject(IFinalCheck, self.correspondents)
        self.delay = FirstContactDelay(DELAY, self.history, self.is_exempt, self.now)
        assert verifyObject(IRoutedCheck, self.delay)

    def is_exempt(self, ip: str) -> bool:
        return ip == EXEMPT.ip

    def check(self, *arguments: Any) -> Any:
        """The verdict on a message, which both checks see."""
        subject = message(*arguments)
        assert arrived(self.correspondents.check_final(subject, stand_in(None))) == Accept("Ok")
        return arrived(self.first.check_final(subject, stand_in(None)))

    def wait(self, client: Client = CLIENT, sender: Any = SENDER, to: Address = ALICE) -> str:
        """What the client is told at RCPT: "" if it need not wait."""
        verdict = arrived(self.delay.check_routed(message(client, sender), recipient(to)))
        if verdict == Accept("Ok"):
            return ""
        assert (verdict.status, verdict.key) == (NOT_AUTHORIZED, "policy.first_contact")
        return str(verdict.text)


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


def test_a_first_contact_is_delayed_once(case: Case) -> None:
    assert case.wait() == WAIT
    case.clock.advance(DELAY - 0.5)
    assert case.wait(attrs.evolve(CLIENT, ip="203.0.113.1")) == "first contact: please try again in 1 second"
    case.clock.advance(0.5)
    assert case.wait() == case.wait(to=Address("bob", "example.org")) == ""
    with capturedLogs() as events:
        assert case.check(CLIENT, SENDER) == MARKED
        assert case.check(CLIENT, SENDER) == Accept("Ok")
    assert [formatEvent(event) for event in events] == [
        "id: first contact: <Someone@sender.example> from 192.0.2.99 has passed after 900 s"
    ]
    case.clock.advance(LIFETIMES["heard"] - 1)
    assert case.wait() == ""
    assert case.wait(sender=Address("other", "sender.example")) == WAIT
    case.clock.advance(1)
    assert case.wait() == WAIT


def test_addresses_that_change_with_each_message_are_one_sender(case: Case) -> None:
    first, second = (Address(f"bounce-{number}+alice", "sender.example") for number in (1234, 1235))
    assert case.wait(sender=first) == WAIT
    case.clock.advance(DELAY)
    assert case.wait(sender=second) == ""
    assert case.check(CLIENT, second) == MARKED
    case.clock.advance(LIFETIMES["new"])
    assert case.wait(sender=first) == "" and case.check(CLIENT, first) == MARKED


@pytest.mark.parametrize("client", [ACCOUNT, LOCAL, EXEMPT, attrs.evolve(CLIENT, protocol="LMTP")])
def test_others_are_not_delayed(case: Case, client: Client) -> None:
    assert case.wait(client) == case.wait(sender=None) == case.wait(to=Address("Abuse", "example.org")) == ""
    case.check(ACCOUNT, ALICE, recipient(SENDER, relayed=True))
    assert case.wait() == ""


def test_an_attempt_days_later_or_before_a_clock_was_set_back_is_the_first_one(case: Case) -> None:
    case.wait()
    case.clock.advance(LIFETIMES["new"])
    assert case.wait() == WAIT
    case.clock.rightNow = 0.0
    assert case.wait() == WAIT


def test_no_mail_is_marked_or_stopped_if_the_database_fails(case: Case) -> None:
    case.is_broken = True
    assert case.check(CLIENT, SENDER) == Accept("Ok") and case.wait() == ""
    assert case.check(ACCOUNT, ALICE, recipient(SENDER, relayed=True)) == Accept("Ok")
    case.is_broken = False
    assert case.check(CLIENT, SENDER) == MARKED
