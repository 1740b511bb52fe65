"""SCRAM: the examples of RFC 5802 and RFC 7677, what is refused, and scramp as an independent client."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

import attrs
import pytest
import scramp

from mailserver.sasl.exchange import Finished, Rejected, Send
from mailserver.sasl.mechanisms import Channel
from mailserver.sasl.scram import derive_keys
from mailserver.sasl.steps import Admit, FetchKeys
from tests.support.sasl.exchanges import CREDENTIALS, ITERATIONS, MALFORMED, Accounts, converse, settle, start
from tests.support.sasl.scram_examples import EXAMPLES, Example

USER = "user@example.org"
PLUS = frozenset({"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"})
DATA = {"tls-exporter": b"E" * 32, "tls-unique": b"U" * 12, "tls-server-end-point": b"P" * 32}
BOUND = Channel("h", secure=True, binding=DATA.get, offered=PLUS)


examples = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.mechanism)


def of_example(example: Example) -> tuple[Channel, Accounts]:
    return (
        Channel("h", nonce=lambda: example.nonce),
        Accounts({"user": "pencil"}, salt=base64.b64decode(example.salt)),
    )


@examples
@pytest.mark.parametrize("at_once", [True, False])
def test_examples(example: Example, at_once: bool) -> None:
    channel, accounts = of_example(example)
    said = [example.client_first, example.client_final, b""]
    challenges = [b"", example.server_first, example.server_final]
    exchange = start(example.mechanism, channel)
    if at_once:
        assert converse(exchange, said[0], said[1:], accounts) == (challenges[1:], Finished(USER))
    else:
        assert converse(exchange, None, said, accounts) == (challenges, Finished(USER))
    hash_name = example.mechanism.removeprefix("SCRAM-").replace("-", "").lower()
    assert accounts.asked == [FetchKeys("user", hash_name), Admit("user")]


@examples
def test_who_may_not_log_in_sees_no_signature(example: Example) -> None:
    channel, accounts = of_example(example)
    accounts.disabled.add("user")
    said = converse(start(example.mechanism, channel), example.client_first, [example.client_final], accounts)
    assert said == ([example.server_first], CREDENTIALS)


@examples
def test_nobody_goes_the_same_way_and_fails_at_the_proof(example: Example) -> None:
    channel, accounts = of_example(example)
    accounts.passwords = {"somebody": "pencil"}
    said = converse(start(example.mechanism, channel), example.client_first, [example.client_final], accounts)
    assert said == ([example.server_first], CREDENTIALS)
    assert len(accounts.asked) == 1


@examples
@pytest.mark.parametrize("last", [b"x", b"\0"])
def test_the_signature_is_answered_by_nothing(example: Example, last: bytes) -> None:
    channel, accounts = of_example(example)
    _, end = converse(
        start(example.mechanism, channel), example.client_first, [example.client_final, last], accounts
    )
    assert end == MALFORMED


@pytest.mark.parametrize(
    ("change", "end"),
    [
        (lambda final: final, None),
        (lambda final: final.replace(b"p=v", b"p=w"), CREDENTIALS),
        (lambda final: final.replace(b"j,p=", b"k,p="), CREDENTIALS),
        (lambda final: final.replace(b"3rfc", b""), CREDENTIALS),
        (lambda final: final.replace(b"biws", b"eSws"), CREDENTIALS),  # y,,
        (lambda final: final.replace(b"biws", b"biwsAA=="), CREDENTIALS),
        (lambda final: final.replace(b"j,p=", b"j,x=1,p="), CREDENTIALS),  # it was not signed so
        (lambda final: final.replace(b"j,p=", b"j,m=1,p="), MALFORMED),
        (lambda final: final.replace(b"biws", b"biw"), MALFORMED),
        (lambda final: final.replace(b"Ts=", b"Q=="), MALFORMED),
        (lambda final: final.replace(b"Ts=", b"TsAAAAA"), MALFORMED),
        (lambda final: final.replace(b"Ts=", b"Ts"), MALFORMED),
        (lambda final: final.partition(b",p=")[0], MALFORMED),
        (lambda final: final.partition(b",")[2], MALFORMED),
        (lambda final: final + b",x=1", MALFORMED),
        (lambda final: b"", MALFORMED),
    ],
)
def test_the_final_message(change: Callable[[bytes], bytes], end: Rejected | None) -> None:
    example = EXAMPLES[0]
    channel, accounts = of_example(example)
    final = change(example.client_final)
    assert converse(start("SCRAM-SHA-1", channel), example.client_first, [final], accounts)[1] == end


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (b"n,,n=user,r=abc", FetchKeys("user", "sha256")),
        (b"n,,n=user,r=abc,x=more,y=still", FetchKeys("user", "sha256")),
        (b"n,a=user,n=user,r=abc", FetchKeys("user", "sha256")),
        (b"n,,n=a=2Cb=3Dc=3D2C,r=abc", FetchKeys("a,b=c=2C", "sha256")),
        ("n,,n=I\u00adX,r=abc".encode(), FetchKeys("IX", "sha256")),
        *[
            (message, MALFORMED)
            for message in [
                b"",
                b"n,,",
                b"n=user,r=abc",
                b"n,n=user,r=abc",
                b"x,,n=user,r=abc",
                b"n,,m=ext,n=user,r=abc",
                b"n,,n=user,r=abc,m=ext",
                b"n,,n=user",
                b"n,,r=abc,n=user",
                b"n,,n=,r=abc",
                b"n,,n=user,r=",
                b"n,,n=user,r=a c",
                b"n,,n=user,r=a\x7f",
                b"n,,n=us=er,r=abc",
                b"n,,n=us=2cer,r=abc",
                b"n,,n=us\0er,r=abc",
                b"n,,n=us\xffer,r=abc",
                b"n,,n=user,r=abc,x",
                b"n,,n=user,r=abc,x=",
                b"n,,n=user,r=abc\n",
                b"n,a=,n=user,r=abc",
                b"n,user,n=user,r=abc",
            ]
        ],
        ("n,,n=\u00ad,r=abc".encode(), CREDENTIALS),
    ],
)
def test_the_first_message(message: bytes, outcome: FetchKeys | Rejected) -> None:
    assert start("SCRAM-SHA-256").begin(base64.b64encode(message) or b"=") == outcome


@pytest.mark.parametrize(
    ("mechanism", "flag", "offered", "end"),
    [
        ("SCRAM-SHA-256", b"n", PLUS, None),
        ("SCRAM-SHA-256", b"n", frozenset(), None),
        ("SCRAM-SHA-256", b"y", frozenset(), None),
        ("SCRAM-SHA-256", b"y", frozenset({"SCRAM-SHA-1-PLUS"}), None),
        ("SCRAM-SHA-256", b"y", PLUS, CREDENTIALS),
        ("SCRAM-SHA-1", b"y", PLUS, CREDENTIALS),
        ("SCRAM-SHA-256", b"p=tls-exporter", PLUS, MALFORMED),
        ("SCRAM-SHA-256-PLUS", b"n", PLUS, MALFORMED),
        ("SCRAM-SHA-256-PLUS", b"y", PLUS, MALFORMED),
        ("SCRAM-SHA-256-PLUS", b"p=", PLUS, MALFORMED),
        ("SCRAM-SHA-256-PLUS", b"p=tls_unique", PLUS, MALFORMED),
        ("SCRAM-SHA-256-PLUS", b"p=tls-of-tomorrow", PLUS, CREDENTIALS),
        ("SCRAM-SHA-256-PLUS", b"p=tls-exporter", PLUS, None),
        ("SCRAM-SHA-256-PLUS", b"p=tls-unique", PLUS, None),
        ("SCRAM-SHA-1-PLUS", b"p=tls-server-end-point", PLUS, None),
    ],
)
def test_flags(mechanism: str, flag: bytes, offered: frozenset[str], end: Rejected | None) -> None:
    channel = attrs.evolve(BOUND, offered=offered)
    accounts = Accounts({"user": "pencil"})
    assert converse(start(mechanism, channel), flag + b",,n=user,r=abc", [], accounts)[1] == end


def client_final(
    server_first: bytes, first_bare: bytes, bound: bytes, hash_name: str, nonce: bytes = b""
) -> bytes:
    """RFC 5802 section 3 once more, for what scramp does not do; ``nonce`` in the place of the right one."""
    match = re.fullmatch(rb"r=(.*),s=(.*),i=(\d+)", server_first)
    assert match is not None
    salted = hashlib.pbkdf2_hmac(hash_name, b"pencil", base64.b64decode(match[2]), int(match[3]))
    key = hmac.digest(salted, b"Client Key", hash_name)
    bare = b"c=" + base64.b64encode(bound) + b",r=" + (nonce or match[1])
    signature = hmac.digest(
        hashlib.new(hash_name, key).digest(), b",".join((first_bare, server_first, bare)), hash_name
    )
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))
    return bare + b",p=" + proof


@pytest.mark.parametrize("used", DATA)
@pytest.mark.parametrize("named", DATA)
@pytest.mark.parametrize(("name", "hash_name"), [("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256")])
def test_the_binding_must_be_that_of_the_connection(used: str, named: str, name: str, hash_name: str) -> None:
    exchange, accounts = start(f"{name}-PLUS", BOUND), Accounts({"user": "pencil"})
    header = f"p={named},,".encode()
    [server_first], _ = converse(exchange, header + b"n=user,r=abc", [], accounts)
    final = client_final(server_first, b"n=user,r=abc", header + DATA[used], hash_name)
    outcome = settle(exchange, exchange.line(base64.b64encode(final)), accounts)
    assert isinstance(outcome, Send) if used == named else outcome == CREDENTIALS


@pytest.mark.parametrize(("acting_as", "end"), [("user", Finished(USER)), ("root", CREDENTIALS)])
def test_acting_as(acting_as: str, end: Finished | Rejected) -> None:
    exchange, accounts = start("SCRAM-SHA-256"), Accounts({"user": "pencil"})
    header = f"n,a={acting_as},".encode()
    [server_first], _ = converse(exchange, header + b"n=user,r=abc,x=1", [], accounts)
    final = client_final(server_first, b"n=user,r=abc,x=1", header, "sha256")
    outcome = settle(exchange, exchange.line(base64.b64encode(final)), accounts)
    assert accounts.asked[-1] == Admit("user", acting_as)
    assert (exchange.line(b"") if isinstance(outcome, Send) else outcome) == end


@pytest.mark.parametrize(("nonce", "end"), [(b"", None), (b"abc", CREDENTIALS), (b"abcabc", CREDENTIALS)])
def test_the_nonce_must_come_back_even_if_another_is_signed(nonce: bytes, end: Rejected | None) -> None:
    exchange, accounts = start("SCRAM-SHA-256"), Accounts({"user": "pencil"})
    [server_first], _ = converse(exchange, b"n,,n=user,r=abc", [], accounts)
    final = client_final(server_first, b"n=user,r=abc", b"n,,", "sha256", nonce)
    outcome = settle(exchange, exchange.line(base64.b64encode(final)), accounts)
    assert isinstance(outcome, Send) if end is None else outcome == end


PASSWORDS = ["pencil", " p w, =2C ", "p\u00e4ss\u00adw\u00f6rd \u2168", "\u0627\u0628"]


def by_scramp(mechanism: str, name: str, password: str, channel: Channel, accounts: Accounts) -> bool:
    """Log in as scramp does. It raises if the server's signature is wrong."""
    binding = ("tls-unique", DATA["tls-unique"]) if mechanism.endswith("-PLUS") else None
    client = scramp.ScramClient([mechanism], name, password, channel_binding=binding)
    exchange = start(mechanism, channel)
    challenges, end = converse(exchange, client.get_client_first().encode(), [], accounts)
    assert end is None
    client.set_server_first(challenges[0].decode())
    final = base64.b64encode(client.get_client_final().encode())
    outcome = settle(exchange, exchange.line(final), accounts)
    if not isinstance(outcome, Send):
        assert outcome == CREDENTIALS
        return False
    client.set_server_final(base64.b64decode(outcome.line).decode())
    assert exchange.line(b"") == Finished(f"{name}@example.org")
    return True


@pytest.mark.parametrize(
    "mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"]
)
@pytest.mark.parametrize("password", PASSWORDS)
def test_scramp_logs_in(mechanism: str, password: str) -> None:
    accounts = Accounts({"tim": password, "a,b=c": password})
    assert by_scramp(mechanism, "tim", password, BOUND, accounts)
    assert by_scramp(mechanism, "a,b=c", password, BOUND, accounts)
    assert not by_scramp(mechanism, "tim", "wrong", BOUND, accounts)
    assert not by_scramp(mechanism, "nobody", password, BOUND, accounts)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
def test_somebody_in_the_middle_of_scramp(mechanism: str) -> None:
    other = attrs.evolve(BOUND, binding=lambda kind: b"another one's")
    assert not by_scramp(mechanism, "tim", "pencil", other, Accounts({"tim": "pencil"}))


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(("name", "hash_name"), [("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256")])
def test_keys_are_those_of_scramp(password: str, name: str, hash_name: str) -> None:
    salt = b"sixteen octets, "
    keys = derive_keys(password, hash_name, salt, ITERATIONS)
    _, stored_key, server_key, _ = scramp.ScramMechanism(name).make_auth_info(password, ITERATIONS, salt)
    assert (keys.stored_key, keys.server_key) == (stored_key, server_key)
    assert "stored_key" not in repr(keys)


def test_what_saslprep_refuses_is_taken_as_it_is() -> None:
    keys = derive_keys("a\tb", "sha256", b"salt", 1)
    assert keys.stored_key != derive_keys("ab", "sha256", b"salt", 1).stored_key
