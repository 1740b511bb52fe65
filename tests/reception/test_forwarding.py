"""The reverse-path of mail that is forwarded to another server, and the way back of its bounces."""

import pytest

from mailserver.mail.address import Address
from mailserver.mail.srs import DAYS, SRS
from mailserver.mail.verdict import BAD_MAILBOX, Destination, Moved, Refuse, Routed
from mailserver.queue.incoming import deliveries, remote_recipients
from mailserver.reception.receiver import MailReceiver
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Client
from mailserver.routing.router import Router
from mailserver.routing.table import MailingList, Names, RoutingTable
from tests.support.fakes import stand_in
from tests.support.net.fakes import FakeSpool

NOW = 1_700_000_000.0
KEY, DOMAINS = b"a key", frozenset({"example.org", "other.example", "third.example"})
US = SRS("example.org", (KEY,), DOMAINS)


def at(text: str) -> Address:
    return Address.parse(text)


ERIN, ALICE, FAR = at("Erin@elsewhere.example"), at("alice@example.org"), at("bob@far.example")
BACK = US.rewritten(ERIN, NOW)
NAMES = Names(
    domains=["example.org", "other.example", "third.example"],
    accounts=[ALICE, at("SRS0=real@example.org"), at("dora@other.example")],
    aliases={at("away@example.org"): [FAR], at("both@example.org"): [ALICE, FAR]},
    lists={
        at("Club@example.org"): MailingList((ALICE, FAR, at("both@example.org")), ALICE),
        at("verp@example.org"): MailingList((ALICE, FAR, at("away@example.org")), ALICE, verp=True),
        at("outer@example.org"): MailingList((at("verp@example.org"), at("carol@far.example")), ALICE),
    },
    moved={at("gone@third.example"): FAR},
    catch_all={"other.example": FAR},
)
TABLE = RoutingTable(NAMES)


def router(srs: SRS | None = US, now: float = NOW) -> Router:
    return Router(TABLE, lambda: srs, lambda: now)


OFF = SRS("example.org", (KEY,), DOMAINS, rewrites=False)
THEIRS = SRS("them.example", (b"other",)).rewritten(ERIN, NOW)


@pytest.mark.parametrize(
    ("sender", "to", "srs", "expected"),
    [
        (ERIN, "away@example.org", US, [BACK]),
        (ERIN, "AWAY+x@example.org", US, [BACK]),
        (ERIN, "both@example.org", US, [BACK]),
        (ERIN, "anything@other.example", US, [BACK]),  # a catch-all
        (THEIRS, "away@example.org", US, [US.rewritten(THEIRS, NOW)]),
        # senders here
        (ALICE, "away@example.org", US, [ALICE]),
        (at("a@other.example"), "away@example.org", US, [at("a@other.example")]),
        # not forwarded, but relayed
        (ERIN, "bob@far.example", US, [ERIN]),
        # lists have their bounce addresses
        (ERIN, "club@example.org", US, [at("Club-bounces@example.org")]),
        (ERIN, "verp@example.org", US, [at("verp-bounces+bob=far.example@example.org")]),
        (ALICE, "verp@example.org", None, [at("verp-bounces+bob=far.example@example.org")]),
        (
            ERIN,
            "outer@example.org",
            US,
            [at("verp-bounces+bob=far.example@example.org"), at("outer-bounces@example.org")],
        ),
        # bounces of the list go to its owner, who is here
        (ERIN, "verp-bounces+bob=far.example@example.org", US, []),
        # reports
        (None, "away@example.org", US, [None]),
        (None, "club@example.org", US, [None]),
        (None, "verp@example.org", US, [None]),
        (None, str(BACK), US, [None]),
        # off
        (ERIN, "away@example.org", None, [ERIN]),
        (ERIN, "away@example.org", OFF, [ERIN]),
    ],
)
def test_reverse_paths(sender, to, srs, expected):
    """Of the copies for other servers. The copies here keep theirs, or have that of the list."""
    spool = FakeSpool()
    reception = Reception(router(srs), stand_in(spool), hostname="mail.example.org", now=lambda: NOW)
    receiver = MailReceiver(reception)
    receiver.sender(Client("192.0.2.1"), sender, {})
    assert isinstance(receiver.recipient(at(to), {}), Routed)
    receiver.start()
    (message,) = spool.messages
    paths = [one.reverse_path for one in remote_recipients(message.envelope, message.trace)]
    assert paths == ["" if path is None else str(path) for path in expected]
    for copy in deliveries(message.envelope, message.trace, 100):
        return_path = copy.head.partition(b"\r\n")[0]
        assert b"SRS" not in return_path and b"=" not in return_path


def lower(path: Address) -> Address:
    return Address(path.local.lower(), path.domain)


SECOND = US.rewritten(THEIRS, NOW)


@pytest.mark.parametrize(
    ("path", "srs", "back"),
    [
        (BACK, US, ERIN),
        (lower(BACK), US, at("erin@elsewhere.example")),
        (Address(BACK.local, "other.example"), US, ERIN),  # for all that a catch-all is there
        (BACK, SRS("other.example", (b"new", KEY), DOMAINS), ERIN),
        (BACK, OFF, ERIN),
        (SECOND, US, THEIRS),
    ],
)
def test_the_way_back(path, srs, back):
    routed = router(srs).route(path)
    assert routed == Routed((Destination(back, path, remote=True),), bounces_only=True)


@pytest.mark.parametrize(
    ("path", "srs", "now", "problem"),
    [
        (Address(BACK.local.replace("=Erin", "=Eric"), "example.org"), US, NOW, "did not make"),
        (BACK, SRS("example.org", (b"lost",), DOMAINS), NOW, "did not make"),
        (Address(SECOND.local.replace("them", "evil"), "example.org"), US, NOW, "did not make"),
        (BACK, US, NOW + (DAYS + 1) * 86400, "expired; it was valid for 21 days"),
        (at("SRS0=x=y@example.org"), US, NOW, "malformed"),
        (Address("SRS0=x=y", "other.example"), US, NOW, "malformed"),  # not for the catch-all
        (BACK, None, NOW, "no such user"),
    ],
)
def test_no_way_back(path, srs, now, problem):
    refused = router(srs, now).route(path)
    assert isinstance(refused, Refuse)
    assert refused.status == BAD_MAILBOX and problem in refused.text


def test_names_come_first():
    routed = router().route(at("srs0=REAL@example.org"))
    assert isinstance(routed, Routed)
    assert routed.destinations[0].mailbox.key == at("srs0=real@example.org")
    assert not routed.bounces_only and not routed.destinations[0].remote


@pytest.mark.parametrize(
    ("sender", "found"),
    [("dora@other.example", Routed), ("gone@third.example", Moved), ("nobody@third.example", Refuse)],
)
def test_a_sender_whose_domain_is_here_by_now(sender, found):
    path = SRS("example.org", (KEY,)).rewritten(at(sender), NOW)  # made when it was not
    routed = router().route(path)
    assert isinstance(routed, found)
    if isinstance(routed, Routed):
        assert routed.destinations == (Destination(at(sender), at(sender)),)
