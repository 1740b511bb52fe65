"""AUTH and STARTTLS, as far as dialogues cannot show them: events, offers, proofs, failures outside."""

import base64
import re

import attrs
import pytest

from mailserver.sasl.mechanisms import MECHANISMS
from mailserver.sasl.steps import CheckPassword, Granted, Reason
from mailserver.session.events import CommandRefused, LoginAsked, LoginRefused, TLSWanted
from mailserver.smtp.events import LoggedIn
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.replies import reply
from mailserver.smtp.session import SMTPSession
from mailserver.smtp.states import SMTPState
from tests.support.session_server import HANDSHAKE
from tests.support.smtp import ACCOUNTS, SETTINGS, TLS, FakeServer

OFFERED = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "EXTERNAL", "XOAUTH2")
OPEN = attrs.evolve(SETTINGS, starttls=True, mechanisms=OFFERED, plaintext_auth=True, max_login_failures=0)
CLOSED = attrs.evolve(OPEN, plaintext_auth=False)
ALICE = b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"
EHLO = b"EHLO client.example\r\n"


def encoded(octets: bytes) -> bytes:
    return base64.b64encode(octets) + b"\r\n"


def challenge(said: bytes) -> bytes:
    """What the server says in a challenge."""
    match = re.fullmatch(rb"334 ([A-Za-z0-9+/=]*)\r\n", said)
    assert match is not None, said
    return base64.b64decode(match[1], validate=True)


def keywords(server: FakeServer) -> dict[str, str]:
    """What EHLO lists."""
    lines = [line[4:].partition(" ") for line in server.feed(EHLO).decode().splitlines()[1:]]
    return {keyword: value for keyword, _, value in lines}


# ---------------------------------------------------------------- what is offered

BOUND = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 EXTERNAL XOAUTH2 CRAM-MD5 PLAIN LOGIN"
UNBOUND = "SCRAM-SHA-256 XOAUTH2 CRAM-MD5 PLAIN LOGIN"


@pytest.mark.parametrize("submission", [False, True])
@pytest.mark.parametrize(
    ("settings", "secure", "offered"),
    [
        (OPEN, False, UNBOUND),
        (OPEN, True, BOUND),
        (CLOSED, False, None),
        (CLOSED, True, BOUND),
        (attrs.evolve(OPEN, mechanisms=()), False, None),
        (attrs.evolve(OPEN, mechanisms=("EXTERNAL",)), False, None),
        (attrs.evolve(OPEN, starttls=False), False, UNBOUND),
    ],
)
def test_ehlo_lists_what_can_be_used(
    settings: SMTPOptions, secure: bool, offered: str | None, submission: bool
) -> None:
    server = FakeServer(attrs.evolve(settings, submission=submission), secure=secure)
    listed = keywords(server)
    assert listed.get("AUTH") == offered
    assert ("STARTTLS" in listed) == (settings.starttls and not secure)
    assert "EXPN" not in listed
    if offered is not None and "PLAIN" in offered:
        assert server.feed(ALICE) == b"235 2.7.0 authentication successful\r\n"
        listed = keywords(server)
        assert "AUTH" not in listed and "EXPN" in listed
    else:
        assert server.feed(ALICE)[:3] in (b"502", b"504", b"538")
        assert server.session.user == ""


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("initial", [b"", b" =", b" AGFsaWNlAHNlY3JldA=="])
def test_without_tls_no_mechanism_begins(name: str, initial: bytes) -> None:
    session = SMTPSession(attrs.evolve(CLOSED, mechanisms=tuple(MECHANISMS)))
    session.receive(EHLO + b"AUTH " + name.encode() + initial + b"\r\nNOOP\r\n")
    # Nothing is asked for, and no response is waited for.
    while (event := session.next_event()) is not None:
        assert not isinstance(event, LoginAsked | LoginRefused)
    *_, refused, noop = session.take_output().splitlines()
    assert refused.startswith(b"538 5.7.11 ") and noop == b"250 2.0.0 Ok"


# ---------------------------------------------------------------- proofs


def test_no_challenge_comes_again() -> None:
    asked = set()
    for _ in range(3):
        session = SMTPSession(OPEN)
        session.receive(EHLO + b"AUTH CRAM-MD5\r\n*\r\nAUTH CRAM-MD5\r\n")
        assert isinstance(session.next_event(), LoginRefused)
        session.answer(None)
        assert isinstance(session.next_event(), CommandRefused)
        assert session.next_event() is None
        found = re.findall(rb"(?m)^334 (.*)\r$", session.take_output())
        assert len(found) == 2
        asked |= {base64.b64decode(octets) for octets in found}
    assert len(asked) == 6
    for octets in asked:
        assert re.fullmatch(rb"<[!-;=?-~]+@mail\.example\.org>", octets)


# ---------------------------------------------------------------- what is told, and what is waited for


def test_the_question_is_answered_outside() -> None:
    session = SMTPSession(OPEN)
    session.receive(EHLO + ALICE + b"NOOP\r\n")
    event = session.next_event()
    assert event == LoginAsked("PLAIN", CheckPassword("alice", "secret"))
    assert "secret" not in repr(event)
    session.take_output()
    assert (session.paused, session.user, session.next_event()) == (True, "", None)
    session.answer(Granted("alice@example.org"))
    assert session.next_event() == LoggedIn("alice@example.org")
    assert (session.next_event(), session.user) == (None, "alice@example.org")
    assert session.take_output() == b"235 2.7.0 authentication successful\r\n250 2.0.0 Ok\r\n"


@pytest.mark.parametrize(
    ("lines", "event"),
    [
        (b"AUTH PLAIN AGFsaWNlAHdyb25n\r\n", LoginRefused("PLAIN", "alice", Reason.CREDENTIALS)),
        (b"AUTH PLAIN AG5vYm9keQB4\r\n", LoginRefused("PLAIN", "nobody", Reason.CREDENTIALS)),
        (b"AUTH PLAIN\r\n*\r\n", LoginRefused("PLAIN", "", Reason.CANCELLED)),
        (b"AUTH PLAIN ====\r\n", LoginRefused("PLAIN", "", Reason.MALFORMED)),
        (b"AUTH LOGIN\r\n" + b"A" * 12288 + b"\r\n", LoginRefused("LOGIN", "", Reason.TOO_LONG)),
        (b"AUTH LOGIN\r\n" + b"A" * 102400 + b"\r\n", LoginRefused("LOGIN", "", Reason.TOO_LONG)),
    ],
)
def test_a_refusal_waits_until_it_may_be_told(lines: bytes, event: LoginRefused) -> None:
    codes = {
        Reason.CREDENTIALS: b"535 5.7.8 ",
        Reason.CANCELLED: b"501 5.7.0 ",
        Reason.MALFORMED: b"501 5.5.2 ",
        Reason.TOO_LONG: b"500 5.5.6 ",
    }
    session = SMTPSession(OPEN)
    session.receive(EHLO + lines + b"NOOP\r\n")
    told = session.next_event()
    if isinstance(told, LoginAsked):
        session.answer(ACCOUNTS.answer(told.question))
        told = session.next_event()
    assert told == event
    session.take_output()
    assert (session.paused, session.next_event(), session.take_output()) == (True, None, b"")
    session.answer(None)
    while session.next_event() is not None:
        pass
    refused, noop = session.take_output().splitlines()
    assert refused.startswith(codes[event.reason])
    assert noop == b"250 2.0.0 Ok"


def test_a_failure_outside_is_454_and_the_session_lives() -> None:
    session = SMTPSession(OPEN)
    session.receive(EHLO + ALICE)
    session.next_event()
    session.take_output()
    session.fail()
    assert session.next_event() == LoginRefused("PLAIN", "alice", Reason.TEMPORARY)
    # Not even the waiting need work.
    session.fail()
    assert session.take_output().startswith(b"454 4.7.0 ")
    session.receive(b"NOOP\r\n")
    assert session.next_event() is None
    assert session.take_output() == b"250 2.0.0 Ok\r\n"
    assert session.user == ""


@pytest.mark.parametrize(
    "lines", [b"AUTH LOGIN\r\n", ALICE, b"AUTH PLAIN ====\r\n", b"AUTH LOGIN\r\nYWxpY2U=\r\n"]
)
def test_the_end_may_come_in_the_middle(lines: bytes) -> None:
    session = SMTPSession(OPEN)
    session.receive(EHLO + lines + b"Y")
    session.next_event()
    session.take_output()
    session.disconnect(reply(421, "4.4.2", "waited too long"))
    session.receive(b"2VjcmV0\r\nNOOP\r\n")
    assert (session.next_event(), session.closed, session.paused) == (None, True, False)
    assert session.take_output() == b"421 4.4.2 waited too long\r\n"


@pytest.mark.parametrize(
    "line", [b"QUIT", b"RSET", b"STARTTLS", EHLO.strip(), b"AUTH PLAIN", b"POST / HTTP/1.1"]
)
def test_in_an_exchange_nothing_is_a_command(line: bytes) -> None:
    server = FakeServer(OPEN)
    server.feed(EHLO)
    assert challenge(server.feed(b"AUTH PLAIN\r\n")) == b""
    assert server.feed(line + b"\r\n").startswith(b"501 5.5.2 ")
    assert not server.session.closed and not server.waits_for_tls
    assert server.feed(ALICE) == b"235 2.7.0 authentication successful\r\n"


def test_a_login_that_never_works_counts_among_the_errors() -> None:
    server = FakeServer(attrs.evolve(OPEN, max_errors=4))
    server.feed(EHLO)
    said = server.feed(b"AUTH PLAIN\r\n*\r\n" * 2 + b"AUTH PLAIN ====\r\n" * 2 + b"NOOP\r\n")
    codes = [line[:3] for line in said.splitlines()]
    assert codes == [b"334", b"501", b"334", b"501", b"501", b"421"]
    assert server.session.closed


# ---------------------------------------------------------------- TLS


def test_tls_begins_after_its_reply() -> None:
    session = SMTPSession(OPEN)
    session.receive(b"STARTTLS\r\nEHLO evil\r\nNO")
    assert session.next_event() == TLSWanted(len(b"EHLO evil\r\nNO"))
    assert session.take_output() == b"220 2.0.0 begin TLS\r\n"
    assert (session.paused, session.next_event()) == (True, None)
    session.secured(TLS)
    assert (session.paused, session.state) == (False, SMTPState.CONNECTED)
    session.receive(b"OP\r\nNOOP\r\n")
    assert isinstance(session.next_event(), CommandRefused)
    assert session.next_event() is None
    assert session.take_output().splitlines()[1] == b"250 2.0.0 Ok"


@pytest.mark.parametrize(
    "before",
    [b"", b"HELO old.example\r\n", EHLO, EHLO + ALICE, EHLO + b"AUTH LOGIN\r\n*\r\n"],
)
def test_everything_is_forgotten(before: bytes) -> None:
    server = FakeServer(OPEN)
    server.feed(before + b"STARTTLS\r\n" + HANDSHAKE)
    assert (server.session.state, server.session.user) == (SMTPState.CONNECTED, "")
    assert server.feed(b"MAIL FROM:<a@b.example>\r\n").startswith(b"503 ")
    assert keywords(server)["AUTH"] == BOUND
    assert server.feed(ALICE).startswith(b"235 ")


# ---------------------------------------------------------------- what the trace field will say


@pytest.mark.parametrize(
    ("hello", "secure", "login", "keyword"),
    [
        (b"EHLO c\r\n", False, b"", "ESMTP"),
        (b"EHLO c\r\n", True, b"", "ESMTPS"),
        (b"EHLO c\r\n", False, ALICE, "ESMTPA"),
        (b"EHLO c\r\n", True, ALICE, "ESMTPSA"),
        (b"HELO c\r\n", False, b"", "SMTP"),
        (b"HELO c\r\n", True, b"", "SMTP"),
        (b"HELO c\r\n", False, ALICE, "SMTP"),
    ],
)
def test_the_keyword_of_rfc_3848(hello: bytes, secure: bool, login: bytes, keyword: str) -> None:
    server = FakeServer(attrs.evolve(OPEN, verify="always"))
    if secure:
        server.feed(b"EHLO forgotten\r\n" + ALICE + b"STARTTLS\r\n" + HANDSHAKE)
    message = b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\ntext\r\n.\r\n"
    server.feed(hello + login + message)
    (kept,) = server.kept
    assert (kept.started.protocol, kept.started.helo) == (keyword, "c")
