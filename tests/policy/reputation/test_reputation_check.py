"""The reputation of a client, and the verdicts on its mail."""

from ipaddress import ip_network
from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from mailserver.errors import DNSFailure
from mailserver.mail.address import Address
from mailserver.mail.verdict import NOT_AUTHORIZED, Accept, Defer, Refuse
from mailserver.policy.reputation.check import ReputationCheck
from mailserver.policy.reputation.lookup import MAX_FAILURES, MAX_TIME, PAUSE, REPORTED_AGAIN, NameWeights
from mailserver.policy.sender_verdict import UNCHECKED
from mailserver.policy.strangers import inside
from mailserver.reception.checks import IClientCheck, IRecipientCheck
from mailserver.reception.transaction import Client, LocalUser, Transaction
from tests.support.reputation import CLIENT, REVERSED, Lookups, arrived, zone
from tests.support.resolvers import Question

ALICE = Address("alice", "example.org")
A: Question = (f"{REVERSED}.bl.example", "A")
TXT: Question = (f"{REVERSED}.bl.example", "TXT")
B, GOOD = (f"{REVERSED}.b.example", "A"), (f"{REVERSED}.good.example", "A")
LISTED: dict[Any, Any] = {A: ["127.0.0.2"], TXT: [b"see https://bl.example/"]}
PTR: Question = ("99.2.0.192.in-addr.arpa", "PTR")
HELO: Question = (CLIENT.helo, "A")
SLOW: Question = (f"{REVERSED}.slow.example", "A")
BOTH = NameWeights(reverse_dns=2, helo=3)


def verdicts(check: ReputationCheck, client: Client, recipient: Address = ALICE) -> tuple[Any, Any]:
    """The verdicts at MAIL and at RCPT."""
    transaction = Transaction("id", "listen[1]", client, None, {})
    return arrived(check.check_client(client)), arrived(check.check_recipient(transaction, recipient))


def check(lookups: Lookups, threshold: int = 0) -> ReputationCheck:
    return ReputationCheck(lookups.lookup, threshold, inside([ip_network("198.51.100.0/24")]))


SCORE_5 = "client host [192.0.2.99] has a bad reputation: score 5"


@pytest.mark.parametrize(
    ("zones", "records", "names", "threshold", "marks", "verdict"),
    [
        ([zone()], {}, NameWeights(), 0, [], None),
        (
            [zone()],
            LISTED,
            NameWeights(),
            0,
            ["bl.example 127.0.0.2"],
            ("550", "client host [192.0.2.99] is listed in bl.example; see https://bl.example/", "dnsbl[1]"),
        ),
        (
            [zone(action="defer")],
            {A: ["127.0.0.2", "127.0.0.4"]},
            NameWeights(),
            0,
            ["bl.example 127.0.0.2,127.0.0.4"],
            ("451", "client host [192.0.2.99] is listed in bl.example", "dnsbl[1]"),
        ),
        ([zone(action="mark")], LISTED, NameWeights(), 0, ["bl.example 127.0.0.2"], None),
        ([zone(action="mark", weight=9)], LISTED, NameWeights(), 0, ["bl.example 127.0.0.2"], None),
        # refused and undocumented answers
        ([zone()], {A: ["127.255.255.254"]}, NameWeights(), 0, [], None),
        ([zone()], {A: ["198.51.100.7"]}, NameWeights(), 0, [], None),
        ([zone()], {A: ["127.0.0.1"]}, NameWeights(), 0, [], None),
        ([zone()], {A: DNSFailure("SERVFAIL")}, NameWeights(), 0, [], None),
        # without its explanation
        (
            [zone()],
            {A: ["127.0.0.3"], TXT: DNSFailure("SERVFAIL")},
            NameWeights(),
            0,
            ["bl.example 127.0.0.3"],
            ("550", "client host [192.0.2.99] is listed in bl.example", "dnsbl[1]"),
        ),
        # a rejection counts more than a deferral before it
        (
            [zone(action="defer"), zone("b.example", number=2)],
            {A: ["127.0.0.2"], B: ["127.0.0.2"]},
            NameWeights(),
            0,
            ["bl.example 127.0.0.2", "b.example 127.0.0.2"],
            ("550", "client host [192.0.2.99] is listed in b.example", "dnsbl[2]"),
        ),
        # a list of good clients
        (
            [zone(), zone("good.example", "accept", number=2)],
            {**LISTED, GOOD: ["127.0.0.2"]},
            BOTH,
            1,
            ["bl.example 127.0.0.2"],
            None,
        ),
        # the score
        (
            [zone(action="mark", weight=3), zone("b.example", "mark", 2, number=2)],
            {A: ["127.0.0.2"], B: ["127.0.0.2"]},
            NameWeights(),
            5,
            ["bl.example 127.0.0.2", "b.example 127.0.0.2"],
            ("550", f"{SCORE_5} (bl.example, b.example)", "policy.score_threshold"),
        ),
        (
            [zone(action="mark", weight=3), zone(action="mark", weight=2, number=2)],
            {A: ["127.0.0.2"]},
            NameWeights(),
            5,
            ["bl.example 127.0.0.2"],
            ("550", f"{SCORE_5} (bl.example)", "policy.score_threshold"),
        ),
        (
            [zone(action="mark", weight=3), zone("b.example", "mark", 2, number=2)],
            {A: ["127.0.0.2"]},
            NameWeights(),
            5,
            ["bl.example 127.0.0.2"],
            None,
        ),
        (
            [zone(action="mark", weight=5), zone("good.example", "mark", -1, number=2)],
            {A: ["127.0.0.2"], GOOD: ["127.0.0.2"]},
            NameWeights(),
            5,
            ["bl.example 127.0.0.2"],
            None,
        ),
        (
            [],
            {},
            BOTH,
            5,
            [],
            ("550", f"{SCORE_5} (no valid reverse DNS, wrong name in HELO)", "policy.score_threshold"),
        ),
        ([], {PTR: [CLIENT.helo], HELO: ["192.0.2.99"]}, BOTH, 1, [], None),
        ([], {PTR: DNSFailure("SERVFAIL"), HELO: DNSFailure("SERVFAIL")}, BOTH, 1, [], None),
        ([], {}, BOTH, 0, [], None),
    ],
)
def test_verdicts(
    zones: Any, records: Any, names: NameWeights, threshold: int, marks: list[str], verdict: Any
) -> None:
    one = check(Lookups(records, *zones, names=names), threshold)
    fields = "".join(f"X-DNSBL: {mark}\r\n" for mark in marks).encode()
    code, text, key = verdict or ("", "", "")
    kind: Any = {"550": Refuse, "451": Defer}.get(code)
    expected = kind(NOT_AUTHORIZED, text, key) if verdict else Accept("Ok")
    assert verdicts(one, CLIENT) == (Accept("Ok", fields), expected)
    for open_to_all in ("postmaster", "PostMaster", "abuse"):
        assert verdicts(one, CLIENT, Address(open_to_all, "example.org"))[1] == Accept("Ok")


@pytest.mark.parametrize(
    "changes",
    [
        {"account": ALICE},
        {"local": LocalUser(1000, "alice@example.org")},
        {"ip": ""},
        {"ip": "198.51.100.7"},
        {"ip": "::ffff:198.51.100.7"},
        {"protocol": "LMTP"},
        {"protocol": "UTF8LMTPS"},
    ],
)
def test_no_question_is_asked_about_who_is_no_stranger(changes: dict[str, Any]) -> None:
    lookups = Lookups(LISTED, zone())
    one = check(lookups)
    assert verifyObject(IClientCheck, one) and verifyObject(IRecipientCheck, one)
    assert verdicts(one, attrs.evolve(CLIENT, **changes)) == (Accept("Ok"), Accept("Ok"))
    assert lookups.resolver.asked == []


@pytest.mark.parametrize(("mode", "verdict"), [("accept", Accept("Ok")), ("defer", UNCHECKED)])
@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_a_mistake_in_the_server(mode: Any, verdict: Any, delay: float) -> None:
    lookups = Lookups({A: ["no address"]}, zone())
    lookups.resolver.delays[A] = delay
    one = ReputationCheck(lookups.lookup, 0, lambda ip: False, mode)
    with capturedLogs() as events:
        found = one.check_client(CLIENT)
        lookups.clock.advance(1)
        assert arrived(found) == verdict
    assert [formatEvent(event) for event in events] == [
        "the check reputation of client 192.0.2.99 failed (policy.on_error)"
    ]
    assert events[0]["log_failure"].check(ValueError)


def test_a_client_that_goes_away() -> None:
    lookups = Lookups(LISTED, zone(), zone("b.example", number=2), names=BOTH)
    lookups.resolver.delays = dict.fromkeys((A, B, PTR, HELO), 1.0)  # type: ignore[arg-type]
    asked = check(lookups).check_client(CLIENT)
    assert isinstance(asked, Deferred)
    with capturedLogs() as events:
        asked.cancel()
        assert arrived(asked).check(CancelledError)
        lookups.clock.advance(1)
    assert events == []


def test_all_is_asked_at_once_and_what_is_late_does_not_count() -> None:
    records = {**LISTED, SLOW: ["127.0.0.2"]}
    lookups = Lookups(records, zone("slow.example"), zone(number=2), names=BOTH)
    lookups.resolver.delays = {SLOW: 60.0, TXT: 60.0, PTR: 60.0, HELO: 60.0}
    found = lookups.lookup.find(CLIENT)
    assert {SLOW, A, TXT, PTR, HELO} <= set(lookups.resolver.asked)
    lookups.clock.advance(MAX_TIME - 0.01)
    results: list[Any] = []
    found.addCallback(results.append)  # type: ignore[union-attr]
    assert not results
    lookups.clock.advance(0.01)
    [reputation] = results
    assert [(one.zone.key, one.codes, one.text) for one in reputation.listings] == [
        ("dnsbl[2]", ("127.0.0.2",), "")
    ]
    assert (reputation.reverse_dns.result, reputation.helo, reputation.score) == ("temperror", "temperror", 0)
    assert not lookups.clock.getDelayedCalls()


def test_a_list_that_is_dead_is_not_asked_for_each_client() -> None:
    """It is asked again after a minute, once, and as before when it has answered."""
    lookups = Lookups({}, zone(), remember=0.1)
    lookups.resolver.records[A] = DNSFailure("SERVFAIL")

    def asked(times: int) -> int:
        lookups.resolver.asked.clear()
        for _ in range(times):
            lookups.clock.advance(0.2)
            lookups.find()
        return len(lookups.resolver.asked)

    assert asked(10) == MAX_FAILURES
    lookups.clock.advance(PAUSE)
    assert asked(10) == 1
    lookups.clock.advance(PAUSE)
    lookups.resolver.records[A] = []
    assert asked(10) == 10
    lookups.resolver.records[A] = DNSFailure("SERVFAIL")
    assert asked(2) == 2
    lookups.resolver.records[A] = []
    assert asked(2) == 2
    lookups.resolver.records[A] = DNSFailure("SERVFAIL")
    assert asked(10) == MAX_FAILURES


def test_a_result_is_remembered_for_a_client_and_its_name() -> None:
    lookups = Lookups(LISTED, zone())
    verdicts(check(lookups), CLIENT)
    assert lookups.resolver.asked == [A, TXT]
    lookups.find(attrs.evolve(CLIENT, helo="other"))
    assert lookups.resolver.asked == [A, TXT] * 2
    lookups.clock.advance(61)
    lookups.find()
    assert lookups.resolver.asked == [A, TXT] * 3


def test_what_the_log_says() -> None:
    records: dict[Any, Any] = {A: ["127.255.255.254"], B: DNSFailure("SERVFAIL")}
    lookups = Lookups(records, zone(), zone("b.example", number=2))
    with capturedLogs() as events:
        for seconds in (0, 61, REPORTED_AGAIN):
            lookups.clock.advance(seconds)
            lookups.find()
    trouble = [
        "DNSBL bl.example refused the query or is dead: it answered 127.255.255.254 (dnsbl[1]); "
        "accepting the mail",
        "no answer from DNSBL b.example: SERVFAIL (dnsbl[2]); accepting the mail",
    ]
    assert [formatEvent(event) for event in events] == trouble * 2
    with capturedLogs() as events:
        Lookups(LISTED, zone(weight=7), zone("good.example", "accept"), remember=1).find()
    assert [formatEvent(event) for event in events] == ["client 192.0.2.99 is listed in bl.example (score 7)"]
