"""Mechanisms of one or two steps: PLAIN, LOGIN, EXTERNAL, ANONYMOUS, OAUTHBEARER, XOAUTH2."""

import base64

import pytest

from mailserver.sasl.exchange import Finished, Rejected, Send
from mailserver.sasl.mechanisms import Channel
from mailserver.sasl.steps import AdmitVouched, CheckPassword, CheckToken, Question, Reason
from tests.support.sasl.exchanges import CREDENTIALS, MALFORMED, Accounts, converse, settle, start

TIM = "tim@example.org"


@pytest.mark.parametrize(
    ("message", "question"),
    [
        # RFC 4616 section 4
        (b"\0tim\0tanstaaftanstaaf", CheckPassword("tim", "tanstaaftanstaaf")),
        (b"Ursel\0Kurt\0xipj3plmq", CheckPassword("Kurt", "xipj3plmq", "Ursel")),
        # names are prepared, passwords are not
        ("t\u00adim\0\u2168\0\u2168 \u00e9\t".encode(), CheckPassword("IX", "\u2168 \u00e9\t", "tim")),
        (b"\0tim@example.org\0 a b ", CheckPassword("tim@example.org", " a b ")),
        # SASLprep refuses these, and they work all the same
        ("\0t\ue000m\0p\x07w".encode(), CheckPassword("t\ue000m", "p\x07w")),
        ("\0tim\0\u0627\u0031".encode(), CheckPassword("tim", "\u0627\u0031")),
        # RFC 4616 section 2: 255 octets and more
        (b"\0" + b"n" * 255 + b"\0" + b"p" * 1024, CheckPassword("n" * 255, "p" * 1024)),
    ],
)
def test_plain_asks(message: bytes, question: CheckPassword) -> None:
    exchange = start("PLAIN")
    assert exchange.begin(base64.b64encode(message)) == question
    assert exchange.name == question.name
    assert question.password not in repr(question)


@pytest.mark.parametrize(
    ("message", "end"),
    [
        (b"", MALFORMED),
        (b"tim", MALFORMED),
        (b"tim\0pw", MALFORMED),
        (b"\0tim\0pw\0", MALFORMED),
        (b"\0tim\0pw\0more", MALFORMED),
        (b"\0t\xefm\0pw", MALFORMED),
        (b"\0tim\0\xff", MALFORMED),
        (b"\xc3\0tim\0pw", MALFORMED),
        (b"\0\0pw", CREDENTIALS),
        (b"\0tim\0", CREDENTIALS),
        ("\0tim\0\u00ad".encode(), CREDENTIALS),
        ("\0\u00ad\0pw".encode(), CREDENTIALS),
        ("\u00ad\0tim\0pw".encode(), CREDENTIALS),
    ],
)
def test_plain_does_not_ask(message: bytes, end: Rejected) -> None:
    assert start("PLAIN").begin(base64.b64encode(message) or b"=") == end


@pytest.mark.parametrize(
    ("message", "end"),
    [
        (b"\0tim\0secret", Finished(TIM)),
        (b"tim\0tim\0secret", Finished(TIM)),
        (b"kurt\0tim\0secret", CREDENTIALS),
        (b"\0tim\0Secret", CREDENTIALS),
        (b"\0nobody\0secret", CREDENTIALS),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_plain_ends(message: bytes, end: Finished | Rejected, at_once: bool) -> None:
    accounts = Accounts({"tim": "secret", "kurt": "secret"})
    if at_once:
        assert converse(start("PLAIN"), message, [], accounts) == ([], end)
    else:
        assert converse(start("PLAIN"), None, [message], accounts) == ([b""], end)


@pytest.mark.parametrize("name", ["tim", "josé", "t im"])
@pytest.mark.parametrize("password", ["secret", " pass word ", "pässwörd \u00a0", "=", "*"])
@pytest.mark.parametrize("at_once", [True, False])
def test_login(name: str, password: str, at_once: bool) -> None:
    accounts = Accounts({name: password})
    responses = [name.encode(), password.encode()]
    if at_once:
        said = converse(start("LOGIN"), responses[0], responses[1:], accounts)
        assert said == ([b"Password:"], Finished(f"{name}@example.org"))
    else:
        said = converse(start("LOGIN"), None, responses, accounts)
        assert said == ([b"Username:", b"Password:"], Finished(f"{name}@example.org"))
    assert accounts.asked == [CheckPassword(name, password)]


def test_login_prompts_as_everybody_does() -> None:
    exchange = start("LOGIN")
    assert exchange.begin(None) == Send(b"VXNlcm5hbWU6")
    assert exchange.line(b"dGlt") == Send(b"UGFzc3dvcmQ6")
    assert exchange.line(b"c2VjcmV0") == CheckPassword("tim", "secret")


@pytest.mark.parametrize(
    ("responses", "end"),
    [
        ([b"t\xefm", b"pw"], MALFORMED),
        ([b"tim", b"\xff"], MALFORMED),
        ([b"t\0im", b"pw"], MALFORMED),
        ([b"tim", b"p\0w"], MALFORMED),
        ([b"", b"pw"], CREDENTIALS),
        ([b"tim", b""], CREDENTIALS),
        ([b"tim", b"wrong"], CREDENTIALS),
    ],
)
def test_login_fails_after_both_prompts(responses: list[bytes], end: Rejected) -> None:
    accounts = Accounts({"tim": "secret"})
    assert converse(start("LOGIN"), None, responses, accounts) == ([b"Username:", b"Password:"], end)


NAMES = ("Tim@example.org", "tj@example.org")


@pytest.mark.parametrize(
    ("names", "response", "end"),
    [
        (NAMES, b"", AdmitVouched(NAMES)),
        (NAMES, b"tim@Example.org", AdmitVouched(NAMES, "tim@Example.org")),
        # it is the client's request, and as good as in PLAIN; whose it is the accounts know
        (NAMES, "t\u00adj@example.org".encode(), AdmitVouched(NAMES, "tj@example.org")),
        (NAMES, b"tim", AdmitVouched(NAMES, "tim")),
        (NAMES, b"kurt@example.org", AdmitVouched(NAMES, "kurt@example.org")),
        (NAMES, b"t\0j@example.org", MALFORMED),
        (NAMES, b"\xff", MALFORMED),
        ((), b"", CREDENTIALS),
        ((), b"tim@example.org", CREDENTIALS),
    ],
)
def test_external(names: tuple[str, ...], response: bytes, end: AdmitVouched | Rejected) -> None:
    channel = Channel("h", secure=True, certificate_names=lambda: names)
    exchange = start("EXTERNAL", channel)
    assert exchange.begin(base64.b64encode(response) or b"=") == end
    exchange = start("EXTERNAL", channel)
    assert exchange.begin(None) == Send(b"")
    assert exchange.line(base64.b64encode(response)) == end


def test_a_certificate_does_not_let_in_who_is_disabled() -> None:
    channel = Channel("h", secure=True, certificate_names=lambda: ("tim",))
    accounts = Accounts({"tim": ""})
    assert converse(start("EXTERNAL", channel), b"", [], accounts) == ([], Finished(TIM))
    accounts.disabled.add("tim")
    assert converse(start("EXTERNAL", channel), b"", [], accounts) == ([], CREDENTIALS)


@pytest.mark.parametrize(
    ("trace", "end"),
    [
        (b"sirhc", Finished("anonymous@example.org")),  # RFC 4505 section 4
        (b"", Finished("anonymous@example.org")),
        ("é".encode() * 255, Finished("anonymous@example.org")),
        (b"x" * 256, MALFORMED),
        (b"\xff", MALFORMED),
        (b"a\0b", MALFORMED),
    ],
)
def test_anonymous(trace: bytes, end: Finished | Rejected) -> None:
    assert converse(start("ANONYMOUS"), trace, [], Accounts({"anonymous": ""})) == ([], end)


# RFC 7628 sections 4.1 and 4.3
AT_587 = (
    b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZGOWRm"
    b"dDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
DISCOVERY = b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9AQE="
TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
# developers.google.com/gmail/imap/xoauth2-protocol
GOOGLES = (
    b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1s"
    b"emRHRXVZMjl0Q2cBAQ=="
)


@pytest.mark.parametrize(
    ("mechanism", "initial", "question"),
    [
        ("OAUTHBEARER", AT_587, CheckToken(TOKEN, "user@example.com")),
        (
            "XOAUTH2",
            GOOGLES,
            CheckToken("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", "someuser@example.com"),
        ),
    ],
)
def test_tokens_as_their_documents_show_them(mechanism: str, initial: bytes, question: CheckToken) -> None:
    assert start(mechanism).begin(initial) == question
    assert question.token not in repr(question)


@pytest.mark.parametrize(
    ("mechanism", "response", "question"),
    [
        ("OAUTHBEARER", b"n,,\1auth=Bearer t0k.e-n\1\1", CheckToken("t0k.e-n")),
        ("OAUTHBEARER", b"y,a=tim,\1auth=bearer  t0ken\1port=1\1\1", CheckToken("t0ken", "tim")),
        ("OAUTHBEARER", b"n,a=a=2Cb=3Dc,\1auth=Bearer t\1\1", CheckToken("t", "a,b=c")),
        ("XOAUTH2", "user=jos\u00e9\1auth=BEARER t0ken\1\1".encode(), CheckToken("t0ken", "josé")),
        ("XOAUTH2", b"user=\1auth=Bearer t0ken\1\1", CheckToken("t0ken")),
        *[
            ("OAUTHBEARER", response, MALFORMED)
            for response in [
                b"",
                b"\1",
                b"n,,",
                b"n,,\1\1",
                b"n,,\1host=h\1\1",
                b"n,,\1auth=Bearer t\1",
                b"n,,auth=Bearer t\1\1",
                b"n,\1auth=Bearer t\1\1",
                b"x,,\1auth=Bearer t\1\1",
                b"p=tls-unique,,\1auth=Bearer t\1\1",
                b"n,a=,\1auth=Bearer t\1\1",
                b"n,a=a=b,\1auth=Bearer t\1\1",
                b"n,a=\xff,\1auth=Bearer t\1\1",
                b"n,,\1auth=Bearer t\1auth=Bearer u\1\1",
                b"n,,\1auth=Bearer t\0\1\1",
                b"n,,\1auth=Bearer t\1\1\1",
            ]
        ],
        *[
            ("XOAUTH2", response, MALFORMED)
            for response in [
                b"",
                b"user=tim",
                b"user=tim\1\1",
                b"user=tim\1auth=Bearer t\1",
                b"auth=Bearer t\1user=tim\1\1",
                b"user=\xff\1auth=Bearer t\1\1",
                b"user=tim\1auth=Bearer t\1\1more",
            ]
        ],
    ],
)
def test_token_responses(mechanism: str, response: bytes, question: Question | Rejected) -> None:
    assert start(mechanism).begin(base64.b64encode(response) or b"=") == question


OAUTHBEARER_ERROR = b'{"status":"invalid_token","schemes":"bearer","scope":""}'
XOAUTH2_ERROR = b'{"status":"400","schemes":"bearer","scope":""}'


@pytest.mark.parametrize(
    ("mechanism", "initial", "error"),
    [
        ("OAUTHBEARER", b"n,,\1auth=Bearer wrong\1\1", OAUTHBEARER_ERROR),
        ("OAUTHBEARER", b"n,a=kurt,\1auth=Bearer right\1\1", OAUTHBEARER_ERROR),
        ("OAUTHBEARER", b"n,,\1auth=Basic dGltOnB3\1\1", OAUTHBEARER_ERROR),
        ("OAUTHBEARER", base64.b64decode(DISCOVERY), OAUTHBEARER_ERROR),
        ("XOAUTH2", b"user=tim\1auth=Bearer wrong\1\1", XOAUTH2_ERROR),
        ("XOAUTH2", b"user=kurt\1auth=Bearer right\1\1", XOAUTH2_ERROR),
    ],
)
@pytest.mark.parametrize("reply", [b"AQ==", b"", b"*", b"?", b"x" * 20_000])
def test_a_token_that_is_not_good(mechanism: str, initial: bytes, error: bytes, reply: bytes) -> None:
    accounts = Accounts({"tim": "", "kurt": ""}, {"right": "tim"})
    exchange = start(mechanism)
    assert converse(exchange, initial, [], accounts) == ([error], None)
    assert exchange.line(reply) == CREDENTIALS


@pytest.mark.parametrize(
    ("mechanism", "response"),
    [
        ("OAUTHBEARER", b"n,a=tim,\1host=h\1auth=Bearer right\1\1"),
        ("XOAUTH2", b"user=tim\1auth=Bearer right\1\1"),
    ],
)
def test_a_token_that_is_good(mechanism: str, response: bytes) -> None:
    accounts = Accounts({"tim": ""}, {"right": "tim"})
    assert converse(start(mechanism), None, [response], accounts) == ([b""], Finished(TIM))


def test_no_error_is_shown_where_tokens_cannot_be_checked() -> None:
    exchange, accounts = start("XOAUTH2"), Accounts(down=True)
    outcome = exchange.begin(base64.b64encode(b"user=tim\1auth=Bearer right\1\1"))
    assert settle(exchange, outcome, accounts) == Rejected(Reason.TEMPORARY)
