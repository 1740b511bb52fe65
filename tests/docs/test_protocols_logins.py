"""docs/protocols.md says what the code does: TLS, mechanisms, submission."""

import re
from collections.abc import Sequence
from typing import get_args

import attrs
import pytest

from mailserver.config.keys.auth import AuthSection, MechanismName
from mailserver.config.keys.listen import TlsMode
from mailserver.config.schema.tables import leaves_of
from mailserver.pop3 import replies as pop3_replies
from mailserver.sasl.exchange import MAX_LINE, Exchange, Rejected, Send
from mailserver.sasl.mechanisms import MECHANISMS, Channel
from mailserver.sasl.steps import Reason
from mailserver.smtp.login import NEVER, REFUSED
from mailserver.smtp.verbs import VERBS
from tests.support.docs.observed import code
from tests.support.docs.page import Row, span, spans
from tests.support.docs.protocols import PAGE, pattern
from tests.support.smtp import SETTINGS, FakeServer

TABLE = {span(row["Mechanism"]): row for row in PAGE.table("Authentication", "Usable")}
REFUSED_ON_PURPOSE = {span(row["Mechanism"]): row for row in PAGE.table("Authentication", "Why")}
OUTCOMES = PAGE.table("Authentication", "Result")
REASONS = {
    Reason.CANCELLED: "the response is `*`",
    Reason.MALFORMED: "it is not base64, or not valid for the mechanism",
    Reason.TOO_LONG: f"it has more than {MAX_LINE} octets, including the CRLF",
    Reason.CREDENTIALS: "unknown name or wrong credentials",
    Reason.TEMPORARY: "the accounts are not available now",
}
CLEAR = Channel("x")
TLS = Channel("x", secure=True)
CERTIFIED = Channel("x", secure=True, certificate_names=lambda: ("alice@example.org",))
USABLE = {
    "always": (True, True, True),
    "with TLS": (False, True, True),
    "with a certificate of the client": (False, False, True),
}


def test_mechanisms_and_their_order() -> None:
    assert list(TABLE) == list(MECHANISMS)
    assert {*TABLE, "APOP"} == set(get_args(MechanismName))


@pytest.mark.parametrize("name", TABLE)
def test_a_mechanism(name: str) -> None:
    row, mechanism = TABLE[name], MECHANISMS[name]
    assert row["Initial response"] == ("yes" if mechanism.client_first else "no")
    usable = tuple(mechanism.usable(channel) for channel in (CLEAR, TLS, CERTIFIED))
    assert usable == USABLE[row["Usable"]]
    defaults: Sequence[str] = dict(leaves_of(AuthSection))["mechanisms"].default  # type: ignore[assignment]
    assert row["By default"] == ("yes" if name in defaults else "no")


ASKED_FOR = {
    "CheckPassword": "any hash",
    "FetchKeys": "keys made of it, or the password itself",
    "FetchSecret": "the password itself",
    "CheckToken": "nothing: a token is checked by `[token]`, or by a checker of `--auth`",
    "Admit": "nothing",
    "AdmitVouched": "nothing: an address in the certificate is the account's, exactly",
}
SAID = {
    "PLAIN": [b"AGEAYg=="],
    "LOGIN": [b"YQ==", b"YQ=="],
    "CRAM-MD5": [b"YSA3ODc4Nzg3ODc4Nzg3ODc4Nzg3ODc4Nzg3ODc4Nzg3OA=="],
    "EXTERNAL": [b""],
    "ANONYMOUS": [b""],
    "XOAUTH2": [b"dXNlcj1hAWF1dGg9QmVhcmVyIHQBAQ=="],
    "OAUTHBEARER": [b"biwsAWF1dGg9QmVhcmVyIHQBAQ=="],
}
FIRST = {False: b"biwsbj1hLHI9Yg==", True: b"cD10bHMtZXhwb3J0ZXIsLG49YSxyPWI="}


@pytest.mark.parametrize("name", TABLE)
def test_what_a_mechanism_asks_of_the_accounts(name: str) -> None:
    bound = attrs.evolve(CERTIFIED, binding=lambda kind: b"binding")
    exchange = Exchange(MECHANISMS[name], bound)
    outcome = exchange.begin(None)
    for line in SAID.get(name, [FIRST[name.endswith("-PLUS")]]):
        assert isinstance(outcome, Send)
        outcome = exchange.line(line)
    assert not isinstance(outcome, Send | Rejected)
    told = TABLE[name]["Stored form of the password"]
    wanted = ASKED_FOR[type(outcome).__name__]
    assert told.startswith(wanted) or (told, wanted) == ("the same", ASKED_FOR["CheckToken"])


def test_mechanisms_that_are_refused_on_purpose() -> None:
    assert list(REFUSED_ON_PURPOSE) == list(NEVER)
    server = FakeServer(attrs.evolve(SETTINGS, mechanisms=tuple(MECHANISMS), plaintext_auth=True))
    server.greeting()
    server.feed(b"EHLO c.example\r\n")
    for name, row in REFUSED_ON_PURPOSE.items():
        assert code(server.feed(f"AUTH {name}\r\n".encode())) == span(row["Reply"])
        assert len(row["Why"]) > 20


@pytest.mark.parametrize("reason", Reason)
def test_what_a_login_that_fails_is_told(reason: Reason) -> None:
    [row] = [row for row in OUTCOMES if row["Result"] == REASONS[reason]]
    smtp, pop3 = REFUSED[reason], pop3_replies.LOGIN_FAILED[reason].octets
    assert span(row["SMTP"]) == f"{smtp.code} {smtp.enhanced}"
    assert span(row["POP3"]) == pop3.decode().removesuffix("\r\n")


def test_what_a_login_is_told() -> None:
    [challenge, *others] = OUTCOMES
    assert len(others) == len(Reason)
    for by in ("SMTP", "POP3"):
        sent = {"SMTP": "334 VXNlcm5hbWU6", "POP3": "+ VXNlcm5hbWU6"}[by]
        assert pattern(span(challenge[by])).fullmatch(sent)


def test_modes_of_tls() -> None:
    text = PAGE.text.replace("\n", " ")
    [sentence] = re.findall(r"`listen.tls` of a listener is (.*?\.)", text)
    assert set(re.findall(r'`"(\w+)"`', sentence)) == set(get_args(TlsMode))


def test_what_needs_a_login_on_submission() -> None:
    row: Row = PAGE.table("Submission", "Subject")[0]
    assert set(re.findall(r"\b[A-Z]{4}\b", row["Behaviour"])) == {
        verb.name for verb in VERBS.values() if verb.needs_login
    }
    assert spans(row["Behaviour"]) == ["530 5.7.0"]
