"""How long names, passwords and the rest may be, and that nothing longer is prepared (RFC 4013)."""

import base64
from collections.abc import Iterator

import pytest

from mailserver.sasl import coding, plain, prep, scram
from mailserver.sasl.apop import apop, password
from mailserver.sasl.exchange import Exchange, Rejected, Send
from mailserver.sasl.mechanisms import MECHANISMS, Channel, Mechanism
from mailserver.sasl.steps import Reason
from tests.support.sasl.exchanges import Accounts, settle, start

TOO_LONG = Rejected(Reason.TOO_LONG)
NAME, SECRET, TOKEN = b"n" * 255, b"p" * 1024, b"t" * 8192
ARABIC = "\ufdfa".encode()  # three octets, which SASLprep makes eighteen characters
PROOF = b"0" * 32


@pytest.fixture
def longest() -> Iterator[list[int]]:
    """How many characters have been prepared at a time, at most."""
    seen = [0]
    patched = pytest.MonkeyPatch()

    def counted(text: str) -> str:
        seen[0] = max(seen[0], len(text.encode(errors="surrogatepass")))
        return prep.prepared(text)

    for module in (coding, plain, scram):
        patched.setattr(module, "prepared", counted)
    yield seen
    patched.undo()


def end(mechanism: str, responses: list[bytes]) -> object:
    """How an exchange ends with these responses, for accounts that know nobody."""
    channel = Channel("h", True, certificate_names=lambda: ("tim@example.org",))
    exchange = start(mechanism, channel)
    outcome = settle(exchange, exchange.begin(None), Accounts())
    for response in responses:
        assert isinstance(outcome, Send)
        outcome = settle(exchange, exchange.line(base64.b64encode(response)), Accounts())
    return outcome


# What is as long as may be, and what is longer; "*" stands for the octets that make the difference.
LENGTHS: list[tuple[str, list[bytes], bytes, int]] = [
    ("PLAIN", [b"\0*\0pw"], b"n", 255),
    ("PLAIN", [b"*\0tim\0pw"], b"n", 255),
    ("PLAIN", [b"\0tim\0*"], b"p", 1024),
    ("LOGIN", [b"*", b"pw"], b"n", 255),
    ("LOGIN", [b"tim", b"*"], b"p", 1024),
    ("CRAM-MD5", [b"* " + PROOF], b"n", 255),
    ("EXTERNAL", [b"*"], b"n", 255),
    ("SCRAM-SHA-256", [b"n,,n=*,r=abc"], b"n", 255),
    ("SCRAM-SHA-256", [b"n,a=*,n=tim,r=abc"], b"n", 255),
    ("SCRAM-SHA-256", [b"n,,n=tim,r=*"], b"r", 1022),
    ("SCRAM-SHA-256", [b"n,,n=tim,r=abc,x=*"], b"x", 1022),
    ("SCRAM-SHA-1", [b"n,,n=tim,r=abc", b"c=biws,r=*,p=YQ=="], b"r", 1022),
    ("SCRAM-SHA-1", [b"n,,n=tim,r=abc", b"c=biws,r=abc,p=*"], b"p", 1022),
    ("XOAUTH2", [b"user=*\1auth=Bearer x\1\1"], b"n", 255),
    ("XOAUTH2", [b"user=tim\1auth=Bearer *\1\1", b""], b"t", 8192),
    ("OAUTHBEARER", [b"n,a=*,\1auth=Bearer x\1\1"], b"n", 255),
    ("OAUTHBEARER", [b"n,,\1auth=Bearer *\1\1", b""], b"t", 8192),
    ("ANONYMOUS", [b"*"], b"t", 1024),
]


@pytest.mark.parametrize(("mechanism", "responses", "octet", "most"), LENGTHS)
def test_what_is_longer_is_refused_as_such(
    mechanism: str, responses: list[bytes], octet: bytes, most: int, longest: list[int]
) -> None:
    def filled(octets: bytes) -> list[bytes]:
        return [response.replace(b"*", octets) for response in responses]

    assert end(mechanism, filled(octet * most)) != TOO_LONG
    # The last response of a token is the answer to its refusal, which a long one never gets to.
    short = 1 if most == len(TOKEN) else len(responses)
    assert end(mechanism, filled(octet * (most + 1))[:short]) == TOO_LONG
    longest[0] = 0
    end(mechanism, filled(ARABIC * 2900)[:short])
    assert longest[0] <= 1024


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("tim", "p" * 1024, Reason.CREDENTIALS),
        ("tim", "p" * 1025, Reason.TOO_LONG),
        ("tim", "\ufdfa" * 4000, Reason.TOO_LONG),
        ("tim", "p\0", Reason.MALFORMED),
        ("n" * 256, "pw", Reason.TOO_LONG),
        ("\ufdfa" * 86, "pw", Reason.TOO_LONG),
    ],
)
def test_user_and_pass(name: str, text: str, reason: Reason, longest: list[int]) -> None:
    exchange = Exchange(Mechanism("USER", lambda channel: password(name, text)), Channel("h"))
    assert settle(exchange, exchange.begin(None), Accounts()) == Rejected(reason)
    assert longest[0] <= 1024


@pytest.mark.parametrize(("name", "reason"), [("n" * 255, Reason.CREDENTIALS), ("n" * 256, Reason.TOO_LONG)])
def test_apop(name: str, reason: Reason) -> None:
    exchange = Exchange(Mechanism("APOP", lambda channel: apop("<1@h>", name, "0" * 32)), Channel("h"))
    assert settle(exchange, exchange.begin(None), Accounts()) == Rejected(reason)


@pytest.mark.parametrize("passwd", [b"\xff", b"p" * 1025, b"", "\u00ad".encode()])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_the_name_of_a_password_that_is_none_is_known(mechanism: str, passwd: bytes) -> None:
    """So that it counts as a failure under that name."""
    exchange = Exchange(MECHANISMS[mechanism], Channel("h"))
    exchange.begin(None)
    if mechanism == "LOGIN":
        exchange.line(base64.b64encode(b"tim"))
    outcome = exchange.line(base64.b64encode(b"\0tim\0" + passwd if mechanism == "PLAIN" else passwd))
    assert isinstance(outcome, Rejected) and exchange.name == "tim"


def test_preparation_looks_at_each_character_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cost is that of the different characters, not of all: look-ups are what takes time."""
    looked_up = []

    def in_table_b1(char: str) -> bool:
        looked_up.append(char)
        return False

    monkeypatch.setattr("stringprep.in_table_b1", in_table_b1)
    prohibited = ((lambda char: bool(looked_up.append(char)), "anything"),)
    monkeypatch.setattr(prep, "_PROHIBITED", prohibited)
    assert prep.saslprep("\ufdfa" * 341) == prep.saslprep("\ufdfa") * 341
    assert len(looked_up) <= 2 * 20
