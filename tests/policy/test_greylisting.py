"""Greylisting: who waits, for how long, and who is known."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs
import pytest
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from mailserver.accounts.history import LIFETIMES
from mailserver.errors import DNSFailure
from mailserver.mail.address import Address
from mailserver.mail.seen import Seen
from mailserver.mail.verdict import NOT_AUTHORIZED, Accept, Defer
from mailserver.net.expiring_table import ExpiringTable
from mailserver.policy.greylisting import Greylisting, GreylistRules
from mailserver.policy.history import written_key
from mailserver.policy.known_senders import GOOD_NETWORK, network_of
from mailserver.policy.reputation.lookup import NameWeights
from mailserver.reception.checks import IRoutedCheck
from mailserver.reception.transaction import Client, LocalUser
from tests.support.history import ALICE, HistoryCase, message, recipient
from tests.support.reputation import CLIENT, REVERSED, Lookups, arrived, zone

DELAY = 300.0
SENDER = Address("someone", "sender.example")
BOB = Address("bob", "example.org")
OK = Accept("Ok")
GOOD_NAMES = {("99.2.0.192.in-addr.arpa", "PTR"): [CLIENT.helo], (CLIENT.helo, "A"): ["192.0.2.99"]}
LISTED: dict[Any, Any] = {(f"{REVERSED}.bl.example", "A"): ["127.0.0.2"]}
NEAR, FAR = attrs.evolve(CLIENT, ip="192.0.2.1"), attrs.evolve(CLIENT, ip="203.0.113.1")


def spf(record: bytes) -> Mapping[Any, Any]:
    return {("sender.example", "TXT"): [b"v=spf1 " + record]}


class Case(HistoryCase):
    def __init__(
        self,
        mode: Literal["suspicious", "all"] = "all",
        records: Mapping[Any, Any] = {},
        action: Any = "mark",
    ) -> None:
        super().__init__()
        self.lookups = Lookups(records, zone(action=action), names=NameWeights(are_checked=True))
        self.greylisting = Greylisting(
            GreylistRules(mode=mode, delay=DELAY),
            self.history,
            self.lookups.lookup.find,
            lambda ip: ip == "198.51.100.1",
            ExpiringTable(10, 60.0, self.clock.seconds),
            ExpiringTable(10, 60.0, self.clock.seconds),
            self.lookups.resolver,
            self.lookups.clock,
            self.now,
        )

    def attempt(self, client: Client = CLIENT, sender: Any = SENDER, to: Address = ALICE) -> Any:
        """The seconds that the client must wait, or "accepted"."""
        verdict = arrived(self.greylisting.check_routed(message(client, sender), recipient(to)))
        if verdict == OK:
            return "accepted"
        assert isinstance(verdict, Defer)
        assert (verdict.status, verdict.key) == (NOT_AUTHORIZED, "policy.greylist")
        start, seconds, unit = verdict.text.rsplit(" ", 2)
        assert start == "greylisted: please try again in"
        assert unit == ("second" if seconds == "1" else "seconds")
        return int(seconds)


def test_a_sender_passes_with_an_attempt_that_comes_late_enough() -> None:
    case = Case()
    assert verifyObject(IRoutedCheck, case.greylisting)
    assert case.attempt() == 300
    case.clock.advance(DELAY - 0.5)
    assert case.attempt() == 1
    with capturedLogs() as events:
        case.clock.advance(0.5)
        assert case.attempt() == "accepted"
    assert [formatEvent(event) for event in events] == [
        "<someone@sender.example> from 192.0.2.99 has passed greylisting after 300 s"
    ]
    # for all recipients, from its network, and as long as it goes on to send
    assert case.attempt(NEAR, to=BOB) == "accepted"
    case.clock.advance(LIFETIMES["passed"] - 1)
    assert case.attempt() == "accepted"
    case.clock.advance(LIFETIMES["passed"] - 1)
    assert case.attempt() == "accepted"
    # other senders and networks wait
    assert case.attempt(sender=Address("other", "sender.example")) == 300
    assert case.attempt(FAR) == 300
    case.clock.advance(LIFETIMES["passed"])
    assert case.attempt() == 300


def test_each_recipient_of_an_unknown_sender_waits() -> None:
    case = Case()
    assert (case.attempt(), case.attempt(to=BOB)) == (300, 300)
    case.clock.advance(DELAY)
    assert (case.attempt(to=BOB), case.attempt()) == ("accepted", "accepted")


def test_an_attempt_that_comes_days_later_is_the_first_one() -> None:
    case = Case()
    case.attempt()
    case.clock.advance(LIFETIMES["waiting"])
    assert case.attempt() == 300


def test_the_clock_is_set_back() -> None:
    case = Case()
    case.clock.advance(1e6)
    case.attempt()
    case.clock.rightNow = 0.0
    assert case.attempt() == 300
    case.clock.advance(DELAY)
    assert case.attempt() == "accepted"


@pytest.mark.parametrize(
    ("client", "sender", "to"),
    [
        (CLIENT, None, ALICE),
        (CLIENT, SENDER, Address("Postmaster", "example.org")),
        (CLIENT, SENDER, Address("abuse", "example.org")),
        (attrs.evolve(CLIENT, account=ALICE), SENDER, BOB),
        (attrs.evolve(CLIENT, ip="198.51.100.1"), SENDER, ALICE),
        (attrs.evolve(CLIENT, protocol="LMTP"), SENDER, ALICE),
        (attrs.evolve(CLIENT, ip=""), SENDER, ALICE),
        (attrs.evolve(CLIENT, local=LocalUser(1000, "")), SENDER, ALICE),
    ],
)
def test_who_never_waits(client: Client, sender: Any, to: Address) -> None:
    case = Case(records=LISTED)
    assert case.attempt(client, sender, to) == "accepted"
    assert case.lookups.resolver.asked == [] and case.engine.find([("waiting", "")]) == {}


def test_correspondents_never_wait() -> None:
    case = Case()
    case.history.record(written_key(SENDER), Seen(case.now(), case.now()))
    assert case.attempt(sender=Address("SomeOne", "sender.example")) == "accepted"


def test_a_network_of_several_good_senders_is_good() -> None:
    case = Case()
    senders = [Address(name, f"{name}.example") for name in "abcdefg"]
    for sender in senders[:GOOD_NETWORK]:
        assert case.attempt(sender=sender) == 300
    case.clock.advance(DELAY)
    for sender in senders[: GOOD_NETWORK - 1]:
        for _ in range(3):
            assert case.attempt(sender=sender) == "accepted"
    assert case.attempt(sender=senders[-1]) == 300
    assert case.attempt(sender=senders[GOOD_NETWORK - 1]) == "accepted"
    assert case.attempt(NEAR, senders[-2]) == "accepted"
    assert case.attempt(FAR, senders[-2]) == 300


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("bounce-123-alice=example.org", "bounce-124-alice=example.org", True),
        ("list+alice=example.org", "list+bob=example.org", True),
        ("prvs=0123456789=someone", "prvs=9876543210=someone", True),
        ("SRS0=aBcD=XY=a.example=someone", "SRS0=eFgH=ZZ=a.example=someone", True),
        ("news-0a1b2c3d", "news-ffee0011", True),
        ("someone", "Someone", True),
        ("someone", "someone.else", False),
        ("prvs=0123456789=someone", "prvs=0123456789=other", False),
    ],
)
def test_senders_that_change_with_each_message(first: str, second: str, same: bool) -> None:
    case = Case()
    assert case.attempt(sender=Address(first, "sender.example")) == 300
    case.clock.advance(DELAY)
    expected = "accepted" if same else 300
    assert case.attempt(sender=Address(second, "sender.example")) == expected


def test_a_sender_that_passes_spf_counts_by_its_domain() -> None:
    case = Case(records=spf(b"ip4:192.0.2.0/24 ip4:203.0.113.1 -all"))
    assert case.attempt() == 300
    case.clock.advance(DELAY)
    assert case.attempt(FAR) == "accepted"
    assert case.attempt() == "accepted"
    assert case.attempt(attrs.evolve(CLIENT, ip="198.51.100.9")) == 300
    # Its networks are known now, without another question.
    case.lookups.resolver.asked.clear()
    assert (case.attempt(), case.attempt(NEAR), case.attempt(FAR)) == ("accepted",) * 3
    assert case.lookups.resolver.asked == []


def test_who_need_not_wait_is_remembered_for_a_minute() -> None:
    case = Case("suspicious", {**GOOD_NAMES, **spf(b"?all")})
    assert case.attempt() == "accepted"
    case.lookups.resolver.records = LISTED
    case.lookups.clock.advance(61)
    assert case.attempt() == case.attempt(to=BOB) == "accepted"
    case.clock.advance(61)
    assert case.attempt() == 300


@pytest.mark.parametrize(
    ("records", "waits"),
    [
        (GOOD_NAMES, False),
        ({**GOOD_NAMES, **spf(b"+all")}, False),
        ({**GOOD_NAMES, **spf(b"?all")}, False),
        ({**GOOD_NAMES, **spf(b"~all")}, True),
        ({**GOOD_NAMES, **spf(b"-all")}, True),
        ({**GOOD_NAMES, ("sender.example", "TXT"): DNSFailure("SERVFAIL")}, False),
        ({**GOOD_NAMES, **LISTED}, True),
        ({(CLIENT.helo, "A"): ["192.0.2.99"]}, True),
        ({("99.2.0.192.in-addr.arpa", "PTR"): ["x.example"], **spf(b"+all")}, True),
        ({key: DNSFailure("SERVFAIL") for key in GOOD_NAMES}, False),
    ],
)
def test_suspicious_senders_alone_wait(records: Any, waits: bool) -> None:
    assert Case("suspicious", records).attempt() == (300 if waits else "accepted")


def test_a_list_of_good_clients_spares() -> None:
    assert Case("all", LISTED, "accept").attempt() == "accepted"


def test_a_mistake_in_the_server() -> None:
    case = Case(records={**LISTED, ("sender.example", "TXT"): ["no octets"]})
    with capturedLogs() as events:
        assert case.attempt() == "accepted"
    assert "the check greylist of client 192.0.2.99 failed (policy.on_error)" in map(formatEvent, events)


def test_without_a_database_nobody_waits() -> None:
    case = Case()
    case.is_broken = True
    assert case.attempt() == "accepted"
    case.is_broken = False
    assert case.attempt() == 300


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.99", "192.0.2.0/24"),
        ("::ffff:192.0.2.99", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_networks(ip: str, network: str) -> None:
    assert network_of(ip) == network
