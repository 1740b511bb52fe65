"""Greylisting and DKIM: a signature of a known domain spares mail. Other senders wait before the data."""

from types import MappingProxyType
from typing import Any

import attrs
import pytest
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from mailserver.mail.address import Address
from mailserver.mail.verdict import Accept, Defer
from mailserver.net.expiring_table import ExpiringTable
from mailserver.policy.greylisting import Greylisting, GreylistRules, signers
from mailserver.policy.known_senders import GOOD_NETWORK
from mailserver.policy.signed_senders import MOST_DOMAINS, SignedSenders
from mailserver.reception.checks import IFinalCheck
from tests.support.fakes import stand_in
from tests.support.history import ALICE, HistoryCase, message, recipient
from tests.support.reputation import CLIENT, Lookups, arrived

DELAY = 300.0
SENDER = Address("someone", "news.sender.example")
FAR = attrs.evolve(CLIENT, ip="203.0.113.1")
PASSES = {("news.sender.example", "TXT"): [b"v=spf1 ip4:203.0.113.0/24 -all"]}


class Case(HistoryCase):
    """``attempt`` tells what happens to a message: "accepted", or when it is deferred."""

    def __init__(self, *, dkim: bool = True, records: Any = MappingProxyType({})) -> None:
        super().__init__()
        lookups = Lookups(records)
        tables: list[ExpiringTable[Any, Any]] = [
            ExpiringTable(10, 60.0, self.clock.seconds) for _ in range(3)
        ]
        spared, undecided, self.domains = tables
        self.greylisting = Greylisting(
            GreylistRules(mode="all", delay=DELAY, dkim=dkim),
            self.history,
            lookups.lookup.find,
            lambda ip: False,
            spared,
            undecided,
            lookups.resolver,
            lookups.clock,
            self.now,
        )
        self.signed = SignedSenders(
            "accept", self.history, lambda ip: False, undecided, self.domains, self.now
        )
        assert verifyObject(IFinalCheck, self.signed)
        self.number = 0

    def attempt(self, *domains: str, sender: Any = SENDER, client: Any = FAR, to: Address = ALICE) -> str:
        """``domains`` are those of valid signatures."""
        self.number += 1
        transaction = attrs.evolve(message(client, sender, recipient(to)), id=f"id{self.number}")
        verdict = arrived(self.greylisting.check_routed(transaction, recipient(to)))
        when = "at RCPT"
        if isinstance(verdict, Accept):
            self.domains.put(transaction.id, domains)
            verdict = arrived(self.signed.check_final(transaction, stand_in(None)))
            when = "at its end"
        if isinstance(verdict, Accept):
            return "accepted"
        assert isinstance(verdict, Defer) and verdict.key == "policy.greylist"
        assert verdict.text.startswith("greylisted: please try again in ")
        return when

    def learn(self, *domains: str, sender: Address = SENDER) -> None:
        """A message comes that has waited."""
        assert self.attempt(*domains, sender=sender, client=CLIENT) == "at RCPT"
        self.clock.advance(DELAY)
        assert self.attempt(*domains, sender=sender, client=CLIENT) == "accepted"


@pytest.mark.parametrize("domain", ["news.sender.example", "sender.example"])
def test_a_signature_of_a_domain_that_has_signed_good_mail_spares(domain: str) -> None:
    case = Case()
    case.learn(domain)
    assert case.attempt() == case.attempt("evil.example") == "at its end"
    with capturedLogs() as events:
        assert case.attempt("evil.example", domain) == "accepted"
    assert [formatEvent(event) for event in events] == [
        f"id5: <someone@news.sender.example> from 203.0.113.1 is spared greylisting: signed by {domain}, "
        "which is known"
    ]
    # The network of the client is no better known than before, and an attempt that waits passes, too.
    assert case.attempt() == "at its end"
    case.clock.advance(DELAY)
    assert case.attempt() == "accepted"


def test_other_senders_of_the_domain_wait_before_the_data_until_several_have_passed() -> None:
    case = Case()
    for number in range(GOOD_NETWORK):
        assert case.attempt("sender.example", sender=Address("new", "sender.example")) == "at RCPT"
        case.learn("sender.example", sender=Address("abcdefgh"[number], "sender.example"))
        case.clock.advance(DELAY * 2000)  # the attempts before are forgotten
    assert case.attempt("sender.example", sender=Address("new", "sender.example")) == "accepted"
    assert case.attempt(sender=Address("newer", "sender.example")) == "at its end"


@pytest.mark.parametrize(
    "domains",
    [
        (),
        ("other.example",),  # a sending service: its name cannot be seen in the envelope
        ("example",),
        ("more.news.sender.example",),
        (*(f"{at}.example" for at in range(MOST_DOMAINS)), "sender.example"),
    ],
)
def test_what_no_signature_could_spare_is_deferred_before_the_data(domains: tuple[str, ...]) -> None:
    case = Case()
    case.learn(*domains)
    assert case.attempt(*domains) == "at RCPT"


def test_without_dkim_nobody_waits_until_the_end() -> None:
    case = Case(dkim=False)
    case.learn("sender.example")
    assert case.attempt("sender.example") == "at RCPT"


def test_a_sender_that_passes_spf_can_be_spared_by_a_domain_above() -> None:
    case = Case(records=PASSES)
    case.learn("sender.example")
    assert case.attempt("sender.example") == "accepted"


def test_bounces_and_the_postmaster() -> None:
    case = Case()
    case.learn("sender.example")
    assert case.attempt(sender=None) == case.attempt(to=Address("postmaster", "example.org")) == "accepted"


def test_without_a_database_nobody_waits() -> None:
    case = Case()
    case.learn("sender.example")
    case.is_broken = True
    assert case.attempt("unseen.example") == "accepted"


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("example", ("example",)),
        ("a.example", ("a.example",)),
        ("b.a.example", ("b.a.example", "a.example")),
        (
            "g.f.e.d.c.b.a.example",
            ("g.f.e.d.c.b.a.example", "d.c.b.a.example", "c.b.a.example", "b.a.example", "a.example"),
        ),
    ],
)
def test_signers(domain: str, expected: tuple[str, ...]) -> None:
    assert signers(domain) == expected
