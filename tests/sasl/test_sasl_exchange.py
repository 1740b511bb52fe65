"""The frame around all mechanisms: base64, initial responses, "*", limits, turns, what is offered."""

import base64

import pytest

from mailserver.sasl.exchange import MAX_LINE, Rejected, Send
from mailserver.sasl.mechanisms import MECHANISMS, Channel, available
from mailserver.sasl.steps import Denied, FetchKeys, Granted, Reason
from tests.support.sasl.exchanges import CREDENTIALS, MALFORMED, Accounts, converse, start

CANCELLED = Rejected(Reason.CANCELLED)
TOO_LONG = Rejected(Reason.TOO_LONG)
LONGEST = MAX_LINE - 2  # without CRLF; base64 of it has whole groups of four

NOT_BASE64 = [
    b"=", b"A", b"AA", b"AAA", b"A===", b"====", b"AA==AA==", b"AAAA=", b"AAAA====", b"AB==", b"AA=A",
    b"=AAA", b" AAAA", b"AAAA ",
    b"AA AA", b"AAAA\t", b"AAA\0", b"AA-_", b"AAAA\r", b"AA\r\nAA", b"\xff\xfe", b"**", b"AAAA*",
]  # fmt: skip


@pytest.mark.parametrize("line", NOT_BASE64)
def test_what_is_not_base64_ends_it(line: bytes) -> None:
    exchange = start("LOGIN")
    exchange.begin(None)
    assert exchange.line(line) == MALFORMED
    if line != b"=":
        assert start("LOGIN").begin(line) == MALFORMED


def test_an_empty_initial_response_is_an_equals_sign() -> None:
    assert start("LOGIN").begin(b"=") == start("LOGIN").begin(b"") == Send(b"UGFzc3dvcmQ6")


def test_a_star_is_no_initial_response() -> None:
    assert start("PLAIN").begin(b"*") == MALFORMED


@pytest.mark.parametrize("initial", [b"", b"=", b"AAAA", base64.b64encode(b"tim " + b"0" * 32)])
def test_no_initial_response_where_the_server_begins(initial: bytes) -> None:
    assert start("CRAM-MD5").begin(initial) == MALFORMED


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_star_cancels(name: str) -> None:
    exchange = start(name, Channel("h", True, certificate_names=lambda: ("tim",)))
    assert isinstance(exchange.begin(None), Send)
    assert exchange.line(b"*") == CANCELLED
    assert exchange.line(b"") == MALFORMED


def test_a_star_cancels_at_the_second_step() -> None:
    exchange = start("LOGIN")
    exchange.begin(b"dGlt")
    assert exchange.line(b"*") == CANCELLED


def test_the_longest_line() -> None:
    longest = b"eHh4" * (LONGEST // 4)
    for line, end in ((longest, MALFORMED), (longest + b"eHh4", TOO_LONG)):
        exchange = start("PLAIN")
        exchange.begin(None)
        assert exchange.line(line) == end
        assert start("PLAIN").begin(line) == end


@pytest.mark.parametrize("reason", Reason)
def test_a_denial_is_the_end(reason: Reason) -> None:
    exchange = start("PLAIN")
    exchange.begin(b"AHRpbQBwdw==")
    assert exchange.answer(Denied(reason)) == Rejected(reason)


@pytest.mark.parametrize(
    ("name", "initial", "responses"),
    [
        ("SCRAM-SHA-256", b"n,,n=tim,r=abc", []),
        ("CRAM-MD5", None, [b"tim " + b"0" * 32]),
        ("PLAIN", b"\0tim\0pw", []),
        ("LOGIN", b"tim", [b"pw"]),
        ("XOAUTH2", b"user=tim\1auth=Bearer t\1\1", []),
        ("OAUTHBEARER", b"n,,\1auth=Bearer t\1\1", []),
        ("EXTERNAL", b"", []),
        ("ANONYMOUS", b"", []),
    ],
)
def test_accounts_that_cannot_be_asked(name: str, initial: bytes | None, responses: list[bytes]) -> None:
    accounts = Accounts(down=True)
    exchange = start(name, Channel("h", True, certificate_names=lambda: ("tim",)))
    assert converse(exchange, initial, responses, accounts)[1] == Rejected(Reason.TEMPORARY)
    assert len(accounts.asked) == 1


def test_nothing_is_taken_after_the_end() -> None:
    exchange = start("PLAIN")
    exchange.begin(b"AHRpbQBwdw==")
    exchange.answer(Granted("tim@example.org"))
    assert exchange.line(b"AHRpbQBwdw==") == MALFORMED
    assert exchange.line(b"*") == CANCELLED
    with pytest.raises(RuntimeError, match="no answer is awaited"):
        exchange.answer(Granted("tim@example.org"))


def test_a_line_in_the_place_of_an_answer_ends_it() -> None:
    exchange = start("PLAIN")
    exchange.begin(b"AHRpbQBwdw==")
    assert exchange.line(b"AHRpbQBwdw==") == MALFORMED
    with pytest.raises(RuntimeError, match="no answer is awaited"):
        exchange.answer(Granted("tim@example.org"))


def test_the_name_is_known_once_it_was_said() -> None:
    exchange = start("SCRAM-SHA-256")
    assert exchange.name == ""
    exchange.begin(None)
    assert exchange.name == ""
    assert exchange.line(b"biwsbj10aW0scj1hYmM=") == FetchKeys("tim", "sha256")
    assert exchange.name == "tim"
    assert exchange.answer(Denied()) == CREDENTIALS
    assert exchange.name == "tim"


ALL = (
    *("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "EXTERNAL"),
    *("OAUTHBEARER", "XOAUTH2", "CRAM-MD5", "PLAIN", "LOGIN", "ANONYMOUS"),
)


@pytest.mark.parametrize(
    ("names", "channel", "offered"),
    [
        ([*sorted(ALL), "APOP"], Channel("h", True, certificate_names=lambda: ("tim",)), ALL),
        (ALL, Channel("h", True), tuple(name for name in ALL if name != "EXTERNAL")),
        (
            ALL,
            Channel("h"),
            tuple(name for name in ALL if name != "EXTERNAL" and not name.endswith("-PLUS")),
        ),
        (["LOGIN", "PLAIN"], Channel("h"), ("PLAIN", "LOGIN")),
        (["APOP", "EXTERNAL", "NTLM"], Channel("h"), ()),
    ],
)
def test_what_can_be_used(names: list[str], channel: Channel, offered: tuple[str, ...]) -> None:
    assert available(names, channel) == offered
