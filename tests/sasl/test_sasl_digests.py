"""CRAM-MD5 (RFC 2195) and APOP (RFC 1939): digests of a challenge with a secret."""

import hashlib
import hmac

import pytest

from mailserver.sasl.apop import apop, apop_digest, password
from mailserver.sasl.exchange import Exchange, Finished, Rejected
from mailserver.sasl.mechanisms import Channel, Mechanism
from mailserver.sasl.steps import CheckPassword, FetchSecret
from tests.support.sasl.exchanges import CREDENTIALS, MALFORMED, Accounts, converse, settle, start

# RFC 2195 section 2
CRAM = Channel("postoffice.reston.mci.net", nonce=lambda: "1896.697170952")
CRAM_DIGEST = b"b913a602c7eda7a495b4e6e7334d3890"
# RFC 1939 section 7
TIMESTAMP = "<1896.697170952@dbc.mtview.ca.us>"
APOP_DIGEST = "c4c9334bac560ecc979e58001b3e22fb"

# What would fit if the secret that stands in for a missing one were taken for real.
OF_NOBODY = hmac.digest(b"nobody's", b"<1896.697170952@postoffice.reston.mci.net>", "md5").hex().encode()
OF_NOTHING = hmac.digest(b"", b"<1896.697170952@postoffice.reston.mci.net>", "md5").hex().encode()


def accounts() -> Accounts:
    return Accounts({"tim": "tanstaaftanstaaf", "mrose": "tanstaaf", "t i m": "tanstaaftanstaaf", "void": ""})


@pytest.mark.parametrize(
    ("response", "end"),
    [
        (b"tim " + CRAM_DIGEST, Finished("tim@example.org")),
        (b"t i m " + CRAM_DIGEST, Finished("t i m@example.org")),
        ("t\u00adim ".encode() + CRAM_DIGEST, Finished("tim@example.org")),
        (b"kurt " + CRAM_DIGEST, CREDENTIALS),
        (b"mrose " + CRAM_DIGEST, CREDENTIALS),
        (b"tim b913a602c7eda7a495b4e6e7334d3891", CREDENTIALS),
        (b"void " + OF_NOTHING, CREDENTIALS),
        (b"kurt " + OF_NOTHING, CREDENTIALS),
        (b"kurt " + OF_NOBODY, CREDENTIALS),
        (b"void " + OF_NOBODY, CREDENTIALS),
        ("\u00ad ".encode() + CRAM_DIGEST, CREDENTIALS),
        (b"", MALFORMED),
        (CRAM_DIGEST, MALFORMED),
        (b" " + CRAM_DIGEST, MALFORMED),
        (b"tim " + CRAM_DIGEST.upper(), MALFORMED),
        (b"tim " + CRAM_DIGEST + b" ", MALFORMED),
        (b"tim " + CRAM_DIGEST[1:], MALFORMED),
        (b"t\0m " + CRAM_DIGEST, MALFORMED),
        (b"t\xffm " + CRAM_DIGEST, MALFORMED),
    ],
)
def test_cram_md5(response: bytes, end: Finished | Rejected) -> None:
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert converse(start("CRAM-MD5", CRAM), None, [response], accounts()) == ([challenge], end)


def test_challenges_do_not_come_again() -> None:
    channel = Channel("mail.example.org")
    assert len({channel.unique() for _ in range(100)}) == 100
    assert channel.unique().endswith("@mail.example.org>")


@pytest.mark.parametrize(
    ("name", "digest", "end"),
    [
        ("mrose", APOP_DIGEST, Finished("mrose@example.org")),
        ("tim", APOP_DIGEST, CREDENTIALS),
        ("kurt", APOP_DIGEST, CREDENTIALS),
        ("mrose", APOP_DIGEST.upper(), CREDENTIALS),
        ("mrose", "", CREDENTIALS),
        ("mrose", "é" * 16, CREDENTIALS),
        ("void", hashlib.md5(TIMESTAMP.encode()).hexdigest(), CREDENTIALS),
        ("kurt", hashlib.md5(TIMESTAMP.encode()).hexdigest(), CREDENTIALS),
        ("", APOP_DIGEST, CREDENTIALS),
        ("m\0rose", APOP_DIGEST, MALFORMED),
    ],
)
def test_apop(name: str, digest: str, end: Finished | Rejected) -> None:
    mechanism = Mechanism("APOP", lambda channel: apop(TIMESTAMP, name, digest))
    assert converse(Exchange(mechanism, CRAM), None, [], accounts()) == ([], end)


def test_a_digest_does_not_let_in_who_is_disabled() -> None:
    closed = accounts()
    closed.disabled |= {"tim", "mrose"}
    _, end = converse(start("CRAM-MD5", CRAM), None, [b"tim " + CRAM_DIGEST], closed)
    assert end == CREDENTIALS
    exchange = Exchange(Mechanism("APOP", lambda channel: apop(TIMESTAMP, "mrose", APOP_DIGEST)), CRAM)
    assert settle(exchange, exchange.begin(None), closed) == CREDENTIALS


def test_the_digest_is_that_of_the_rfc() -> None:
    assert apop_digest(TIMESTAMP, "tanstaaf") == APOP_DIGEST


def test_a_secret_that_is_asked_for_is_not_shown() -> None:
    exchange = Exchange(Mechanism("APOP", lambda channel: apop(TIMESTAMP, "mrose", APOP_DIGEST)), CRAM)
    assert exchange.begin(None) == FetchSecret("mrose")
    assert exchange.name == "mrose"


@pytest.mark.parametrize(
    ("name", "text", "outcome"),
    [
        ("tim", " se cret ", CheckPassword("tim", " se cret ")),
        ("I\u00adX", "p\u00e4ss", CheckPassword("IX", "p\u00e4ss")),
        ("tim", "", CREDENTIALS),
        ("", "secret", CREDENTIALS),
    ],
)
def test_user_and_pass(name: str, text: str, outcome: CheckPassword | Rejected) -> None:
    exchange = Exchange(Mechanism("USER", lambda channel: password(name, text)), CRAM)
    assert exchange.begin(None) == outcome
