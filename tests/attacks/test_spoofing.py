"""People who have logged in and send under the names of others (RFC 6409 section 6.1)."""

import base64

import attrs
import pytest

from mailserver.mail.address import Address, ReversePath
from mailserver.mail.verdict import Verdict
from mailserver.routing.router import Router
from mailserver.routing.table import MailingList, Names, RoutingTable
from tests.support.attacks.ways import HELLO, RCPT, smtp
from tests.support.smtp import SETTINGS, FakeServer

ALICE, BOB, CAROL = (Address(name, "example.org") for name in ("alice", "bob", "carol"))
SALES, TEAM, CLUB = (Address(name, "example.org") for name in ("sales", "team", "club"))
ROUTER = Router(
    RoutingTable(
        Names(
            domains=["example.org", "other.example"],
            accounts=[ALICE, BOB, CAROL],
            aliases={SALES: [ALICE], TEAM: [BOB, CAROL]},
            lists={CLUB: MailingList((ALICE, BOB), None)},
        )
    )
)
SUBMISSION = attrs.evolve(SETTINGS, mechanisms=("PLAIN",), plaintext_auth=True, submission=True)
LOGIN = b"AUTH PLAIN " + base64.b64encode(b"\0alice\0secret") + b"\r\n"


class OwningServer(FakeServer):
    """Judges senders as a real server does."""

    def judge_sender(self, path: ReversePath) -> Verdict:
        assert self.session.user == "alice@example.org"
        return ROUTER.sender(ALICE, path)


OWN = [
    b"<alice@example.org>",
    b"<ALICE@EXAMPLE.ORG>",
    b'<"alice"@example.org>',
    b"<alice+news@example.org>",
    b"<sales@example.org>",
    b"<@relay.example:alice@example.org>",
]
NOT_OWN = [
    b"<bob@example.org>",
    b"<BOB@example.org>",
    b'<"bob"@example.org>',
    b"<bob+alice@example.org>",
    b"<team@example.org>",
    b"<nobody@example.org>",
    b"<alice@other.example>",
    b"<alice@elsewhere.example>",
    b"<alice@sub.example.org>",
    b"<alice%elsewhere.example@example.org>",
    b"<elsewhere.example!alice@example.org>",
    b'<"alice@example.org"@elsewhere.example>',
    b'<"alice@example.org bob"@example.org>',
    b"<@example.org:bob@example.org>",
    b"<alice@[127.0.0.1]>",
    b"<postmaster@elsewhere.example>",
]
BROKEN = [
    b"<alice@example.org,bob@example.org>",
    b"<alice@example.org>,<bob@example.org>",
    b"<bob@example.org@example.org>",
]


@pytest.mark.parametrize("path", OWN)
def test_own_addresses(path: bytes) -> None:
    attack = b"MAIL FROM:" + path + b"\r\n" + RCPT
    outcome = smtp(attack, begin=HELLO + LOGIN, settings=SUBMISSION, make=OwningServer)
    assert outcome.codes == ["250 2.1.0", "250 2.1.5"]


@pytest.mark.parametrize("path", NOT_OWN)
def test_those_of_others(path: bytes) -> None:
    attack = b"MAIL FROM:" + path + b"\r\n" + RCPT
    outcome = smtp(attack, begin=HELLO + LOGIN, settings=SUBMISSION, make=OwningServer)
    assert outcome.codes == ["553 5.7.1", "503 5.5.1"]


@pytest.mark.parametrize("path", BROKEN)
def test_several_at_once(path: bytes) -> None:
    attack = b"MAIL FROM:" + path + b"\r\n" + RCPT
    outcome = smtp(attack, begin=HELLO + LOGIN, settings=SUBMISSION, make=OwningServer)
    assert [code[:3] for code in outcome.codes] in (["501", "503"], ["553", "503"])


def test_auth_and_by_parameters_prove_nothing() -> None:
    attack = b"MAIL FROM:<bob@example.org> AUTH=bob@example.org\r\n"
    outcome = smtp(attack, begin=HELLO + LOGIN, settings=SUBMISSION, make=OwningServer)
    assert outcome.codes[0][:3] in ("553", "555")
