"""Which mail is signed, by whose keys."""

from collections.abc import Sequence

import attrs
import pytest
from twisted.internet.defer import succeed

from mailserver.mail.address import Address
from mailserver.mail.verdict import Accept, Refuse
from mailserver.policy.dkim.signer import Signer
from mailserver.policy.senders import SEVERAL_AUTHORS, SenderOwnership
from mailserver.policy.signing import INLINE, DKIMSigning, SigningKeys
from mailserver.queue.entries import InMemoryContent
from mailserver.reception.checks import ACCEPTED
from mailserver.reception.transaction import Client, LocalUser, Transaction
from tests.support.dkim import key
from tests.support.fakes import stand_in

ALICE = Address.parse("alice@example.org")
ACCOUNT, STRANGER, LOCAL = Client(account=ALICE), Client(ip="192.0.2.1"), Client(local=LocalUser(1, "alice"))
KEYS = SigningKeys(
    {
        "example.org": [
            Signer("example.org", "s1", key("rsa")),
            Signer("example.org", "s2", key("ed25519")),
        ],
        "news.example.org": [Signer("news.example.org", "n1", key("ed25519"))],
    }
)
BODY = b"\r\nHello\r\n"


def judged(client: Client, message: bytes, keys: SigningKeys = KEYS) -> tuple[Accept, list[str]]:
    """The verdict, and what ran in a thread."""
    threads: list[str] = []

    def in_thread(function):
        threads.append("thread")
        return succeed(function())

    check = DKIMSigning(lambda: keys, in_thread, lambda: 1.8e9)
    transaction = Transaction("1", "smtp", client, ALICE, {})
    result = check.check_message(transaction, InMemoryContent(message))
    return (result if isinstance(result, Accept) else stand_in(result).result), threads


def domains(fields: bytes) -> list[str]:
    text = fields.decode().replace("\r\n", "")
    return [part.split(";")[0].strip() for part in text.split(" d=")[1:]]


@pytest.mark.parametrize(
    ("client", "message", "expected"),
    [
        (ACCOUNT, b"From: alice@example.org\r\n" + BODY, ["example.org", "example.org"]),
        (LOCAL, b"From: alice@example.org\r\n" + BODY, ["example.org", "example.org"]),
        (ACCOUNT, b"From: A <a@sub.Example.ORG>\r\n" + BODY, ["example.org", "example.org"]),
        (ACCOUNT, b"From: a@news.example.org\r\n" + BODY, ["news.example.org"]),
        (ACCOUNT, b"From: a@deep.news.example.org\r\n" + BODY, ["news.example.org"]),
        (ACCOUNT, b"From: a@example.org\r\n\r\n" + b"x" * INLINE, ["example.org", "example.org"]),
        (STRANGER, b"From: alice@example.org\r\n" + BODY, []),
        (ACCOUNT, b"From: alice@elsewhere.example\r\n" + BODY, []),
        (ACCOUNT, b"From: alice@badexample.org\r\n" + BODY, []),
        (ACCOUNT, b"From: alice@org\r\n" + BODY, []),
        (ACCOUNT, b"From: a@example.org\r\nFrom: b@example.org\r\n" + BODY, []),
        (ACCOUNT, b"From: a@example.org, b@elsewhere.example\r\n" + BODY, []),
        (ACCOUNT, b"Subject: nobody\r\n" + BODY, []),
        (ACCOUNT, BODY, []),
        (ACCOUNT, b"", []),
        (ACCOUNT, b"From: a@example.org\r\nX: " + b"x" * 300_000 + b"\r\n" + BODY, []),
    ],
)
def test_who_is_signed(client: Client, message: bytes, expected: Sequence[str]) -> None:
    verdict, threads = judged(client, message)
    assert domains(verdict.fields) == expected
    assert verdict.fields.endswith(b"\r\n") or not verdict.fields
    assert bool(threads) == (len(message) > INLINE)


def test_without_keys_nothing_is_read() -> None:
    assert judged(ACCOUNT, b"From: alice@example.org\r\n" + BODY, SigningKeys())[0] is ACCEPTED


@pytest.mark.parametrize(
    ("head", "is_accepted"),
    [
        (b"From: alice@example.org\r\n", True),
        (b"Subject: x\r\n", True),
        (b"From: a@example.org\r\nFrom: b@example.org\r\n", False),
        (b"From: a@example.org\r\nX: y\r\nfrom : b@example.org\r\n", False),
        (b"From: a@example.org\r\nX: y\nFrom: b@example.org\r\n", False),
        (b"From: a@example.org\r\nX: y\r\n From: b@example.org\r\n", True),
    ],
)
def test_an_account_has_one_author(head: bytes, is_accepted: bool) -> None:
    check = SenderOwnership(stand_in(None))
    content = InMemoryContent(head + BODY)
    transaction = Transaction("1", "smtp", ACCOUNT, ALICE, {})
    verdict = check.check_message(transaction, content)
    assert verdict is (ACCEPTED if is_accepted else SEVERAL_AUTHORS)
    assert isinstance(SEVERAL_AUTHORS, Refuse)
    stranger = attrs.evolve(transaction, client=STRANGER)
    assert check.check_message(stranger, content) is ACCEPTED
