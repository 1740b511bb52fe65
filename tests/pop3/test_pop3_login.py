"""AUTH, APOP and STLS, as far as dialogues cannot show them: events, offers, proofs, endings."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator

import attrs
import pytest

from mailserver.mail.snapshot import Snapshot
from mailserver.pop3.events import MaildropWanted, OpenFailure, POP3Event
from mailserver.pop3.options import POP3Options
from mailserver.pop3.session import POP3Session
from mailserver.pop3.states import POP3State
from mailserver.sasl.mechanisms import MECHANISMS
from mailserver.sasl.steps import CheckPassword, Denied, Granted, Reason
from mailserver.session.events import LoginAsked, LoginRefused, TLSWanted
from tests.support.pop3 import SETTINGS, TLS, FakeServer, maildrop_of, message_of
from tests.support.sasl import fake_accounts
from tests.support.session_server import HANDSHAKE

ALL = (*MECHANISMS, "APOP")
OPEN = attrs.evolve(SETTINGS, starttls=True, mechanisms=ALL, max_login_failures=0)
CLOSED = attrs.evolve(OPEN, plaintext_auth=False)
MROSE = b"AUTH PLAIN AG1yb3NlAHNlY3JldA==\r\n"
LOGIN = b"USER mrose\r\nPASS secret\r\n"
TWO = maildrop_of([message_of(120), message_of(200)])
WELCOME = b"+OK mrose's maildrop has 0 messages (0 octets)\r\n"
WRONG = b"-ERR [AUTH] wrong user name or password\r\n"


def encoded(octets: bytes) -> bytes:
    return base64.b64encode(octets) + b"\r\n"


def challenge(said: bytes) -> bytes:
    """What the server says in a challenge."""
    match = re.fullmatch(rb"\+ ([A-Za-z0-9+/=]*)\r\n", said)
    assert match is not None, said
    return base64.b64decode(match[1], validate=True)


def digest(timestamp: bytes, secret: bytes) -> bytes:
    """RFC 1939 section 7."""
    return hashlib.md5(timestamp + secret).hexdigest().encode()


def lines_of(said: bytes) -> list[str]:
    """The lines of a reply, without the first and the dot."""
    first, *lines, dot, rest = said.decode().split("\r\n")
    assert first.startswith("+OK") and (dot, rest) == (".", "")
    return lines


def events_of(session: POP3Session) -> Iterator[POP3Event]:
    while (event := session.next_event()) is not None:
        yield event


def asks(event: POP3Event) -> bool:
    """Whether somebody may be logging in."""
    return isinstance(event, LoginAsked | LoginRefused | MaildropWanted)


def greeted(settings: POP3Options = OPEN) -> FakeServer:
    server = FakeServer(settings=settings)
    server.greeting()
    return server


# ---------------------------------------------------------------- what is offered

UNBOUND = tuple(name for name in MECHANISMS if name != "EXTERNAL" and not name.endswith("-PLUS"))


@pytest.mark.parametrize(
    ("settings", "secure", "offered", "password"),
    [
        (OPEN, False, UNBOUND, True),
        (OPEN, True, tuple(MECHANISMS), True),
        (CLOSED, False, (), False),
        (CLOSED, True, tuple(MECHANISMS), True),
        (attrs.evolve(CLOSED, mechanisms=()), True, (), True),
        (attrs.evolve(OPEN, mechanisms=("APOP",)), False, (), True),
        (attrs.evolve(OPEN, mechanisms=("EXTERNAL",)), False, (), True),
    ],
)
def test_capa_and_auth_list_what_can_be_used(
    settings: POP3Options, secure: bool, offered: tuple[str, ...], password: bool
) -> None:
    server = FakeServer(settings=settings, secure=secure)
    assert (b"<" in server.greeting()) == ("APOP" in settings.mechanisms)
    capabilities = dict(line.partition(" ")[::2] for line in lines_of(server.feed(b"CAPA\r\n")))
    assert tuple(capabilities.get("SASL", "").split()) == offered
    assert ("SASL" in capabilities) == bool(offered)
    assert ("USER" in capabilities, "STLS" in capabilities) == (password, not secure)
    assert "APOP" not in capabilities
    assert tuple(lines_of(server.feed(b"AUTH\r\n"))) == offered
    assert server.feed(b"USER mrose\r\n").startswith(b"+OK" if password else b"-ERR ")
    for name in MECHANISMS:
        said = server.feed(f"AUTH {name}\r\n".encode())
        assert said.startswith(b"+ " if name in offered else b"-ERR ")
        if name in offered:
            assert server.feed(b"*\r\n").startswith(b"-ERR ")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("initial", [b"", b" =", b" AG1yb3NlAHNlY3JldA=="])
def test_without_tls_no_mechanism_begins(name: str, initial: bytes) -> None:
    session = POP3Session(CLOSED)
    session.receive(b"AUTH " + name.encode() + initial + b"\r\n")
    # Nothing is asked for, and a password is thrown away without a look.
    assert not any(asks(event) for event in events_of(session))
    assert session.take_output().startswith(b"-ERR ")
    session.receive(b"USER mrose\r\nPASS secret\r\n")
    assert not any(asks(event) for event in events_of(session))
    assert session.take_output().count(b"-ERR ") == 2


def test_login_delay_is_told_as_long_as_it_is() -> None:
    for delay, lines in ((0, []), (1, ["LOGIN-DELAY 1"]), (600, ["LOGIN-DELAY 600"])):
        server = FakeServer(settings=attrs.evolve(OPEN, login_delay=delay)).logged_in()
        told = [line for line in lines_of(server.feed(b"CAPA\r\n")) if "DELAY" in line]
        assert told == lines


# ---------------------------------------------------------------- proofs


@pytest.mark.parametrize(
    ("name", "secret", "said"),
    [
        (b"mrose", b"secret", WELCOME),
        (b"mrose", b"Secret", WRONG),
        (b"mrose", b"", WRONG),
        (b"nobody", b"nobody's", WRONG),
        (b"nobody", b"secret", WRONG),
    ],
)
def test_digests(name: bytes, secret: bytes, said: bytes) -> None:
    server = FakeServer(settings=OPEN)
    timestamp = server.greeting().split()[-1]
    assert server.feed(b"APOP " + name + b" " + digest(timestamp, secret) + b"\r\n") == said
    server = greeted()
    asked = challenge(server.feed(b"AUTH CRAM-MD5\r\n"))
    proof = hmac.digest(secret, asked, "md5").hex().encode()
    assert server.feed(encoded(name + b" " + proof)) == said


def test_every_greeting_has_another_timestamp() -> None:
    timestamps = set()
    for _ in range(3):
        session = POP3Session(OPEN)
        session.greet()
        said = session.take_output()
        match = re.fullmatch(rb"\+OK dewey POP3 server ready (<[!-;=?-~]+@dewey>)\r\n", said)
        assert match is not None
        timestamps.add(match[1])
    assert len(timestamps) == 3


def test_a_digest_is_good_for_one_greeting() -> None:
    first, second = POP3Session(OPEN), POP3Session(OPEN)
    for session in (first, second):
        session.greet()
    stamp = first.take_output().split()[-1]
    second.receive(b"APOP mrose " + digest(stamp, b"secret") + b"\r\n")
    assert isinstance(second.next_event(), LoginAsked)
    second.answer("secret")
    assert second.next_event() == LoginRefused("APOP", "mrose", Reason.CREDENTIALS)


# ---------------------------------------------------------------- what is told, and what is waited for

REFUSALS: list[tuple[bytes, LoginRefused, bytes]] = [
    (LOGIN[:-3] + b"\r\n", LoginRefused("USER", "mrose", Reason.CREDENTIALS), b"-ERR [AUTH] "),
    (b"USER no\r\nPASS x\r\n", LoginRefused("USER", "no", Reason.CREDENTIALS), b"-ERR [AUTH] "),
    (b"APOP mrose x\r\n", LoginRefused("APOP", "mrose", Reason.CREDENTIALS), b"-ERR [AUTH] "),
    (b"AUTH PLAIN AG5vYm9keQB4\r\n", LoginRefused("PLAIN", "nobody", Reason.CREDENTIALS), b"-ERR [AUTH] "),
    (b"AUTH PLAIN\r\n*\r\n", LoginRefused("PLAIN", "", Reason.CANCELLED), b"-ERR authentication c"),
    (b"AUTH PLAIN ====\r\n", LoginRefused("PLAIN", "", Reason.MALFORMED), b"-ERR invalid"),
    (
        b"AUTH LOGIN\r\n" + b"A" * 12288 + b"\r\n",
        LoginRefused("LOGIN", "", Reason.TOO_LONG),
        b"-ERR response",
    ),
    (
        b"AUTH LOGIN\r\n" + b"A" * 102400 + b"\r\n",
        LoginRefused("LOGIN", "", Reason.TOO_LONG),
        b"-ERR response",
    ),
]


@pytest.mark.parametrize(("lines", "event", "said"), REFUSALS)
def test_a_refusal_waits_until_it_may_be_told(lines: bytes, event: LoginRefused, said: bytes) -> None:
    session = POP3Session(OPEN)
    session.receive(lines + b"CAPA now\r\n")
    told = session.next_event()
    if isinstance(told, LoginAsked):
        session.answer(fake_accounts.FakeAccounts({"mrose": "secret"}).answer(told.question))
        told = session.next_event()
    assert told == event
    session.take_output()
    assert (session.paused, session.next_event(), session.take_output()) == (True, None, b"")
    session.answer(None)
    assert not any(asks(event) for event in events_of(session))
    first, second = session.take_output().splitlines()
    assert first.startswith(said) and second == b"-ERR syntax: CAPA"


def test_the_question_the_maildrop_and_then_the_reply() -> None:
    session = POP3Session(OPEN)
    session.receive(MROSE + b"STAT\r\n")
    event = session.next_event()
    assert event == LoginAsked("PLAIN", CheckPassword("mrose", "secret"))
    assert "secret" not in repr(event)
    session.answer(Granted("mrose@example.org"))
    assert session.next_event() == MaildropWanted("mrose@example.org")
    assert (session.state, session.take_output()) == (POP3State.AUTHORIZATION, b"")
    session.answer(Snapshot.of(TWO))
    assert list(events_of(session)) == []
    assert session.take_output() == b"+OK mrose's maildrop has 2 messages (320 octets)\r\n+OK 2 320\r\n"


@pytest.mark.parametrize("reason", OpenFailure)
def test_a_maildrop_that_cannot_be_opened_is_told_to_its_owner_alone(reason: OpenFailure) -> None:
    codes = {
        OpenFailure.IN_USE: b"-ERR [IN-USE] ",
        OpenFailure.TOO_SOON: b"-ERR [LOGIN-DELAY] ",
        OpenFailure.TEMPORARY: b"-ERR [SYS/TEMP] ",
        OpenFailure.PERMANENT: b"-ERR [SYS/PERM] ",
    }
    server = FakeServer(settings=attrs.evolve(OPEN, max_login_failures=1), trouble=reason)
    timestamp = server.greeting().split()[-1]
    apop = b"APOP mrose " + digest(timestamp, b"secret") + b"\r\n"
    for login in (MROSE, apop, LOGIN, MROSE):
        *_, last = server.feed(login).splitlines()
        assert last.startswith(codes[reason])
        assert server.session.state is POP3State.AUTHORIZATION
    assert server.feed(b"APOP mrose x\r\n") == WRONG
    assert server.session.closed


def test_accounts_that_cannot_be_asked_are_no_failure_of_the_client() -> None:
    server = greeted(attrs.evolve(OPEN, max_login_failures=1))
    server.trouble = Reason.TEMPORARY
    said = server.feed(MROSE + LOGIN + b"APOP mrose x\r\n").splitlines()
    assert [line[:15] for line in said if line.startswith(b"-")] == [b"-ERR [SYS/TEMP]"] * 3
    server.trouble = None
    assert server.feed(MROSE) == WELCOME


@pytest.mark.parametrize("lines", [b"AUTH LOGIN\r\n", MROSE, LOGIN, b"AUTH PLAIN ====\r\n", b"APOP a b\r\n"])
def test_the_end_may_come_in_the_middle(lines: bytes) -> None:
    session = POP3Session(OPEN)
    session.receive(lines + b"Y")
    session.next_event()
    session.take_output()
    session.disconnect()
    # Answers may come late.
    session.answer(Denied())
    session.answer(None)
    session.answer(Snapshot.of(TWO))
    session.receive(b"2VjcmV0\r\nCAPA\r\n")
    assert (session.next_event(), session.take_output(), session.closed) == (None, b"", True)


@pytest.mark.parametrize(
    "line", [b"QUIT", b"STLS", b"USER mrose", b"CAPA", b"AUTH PLAIN", b"POST / HTTP/1.1"]
)
def test_in_an_exchange_nothing_is_a_command(line: bytes) -> None:
    server = greeted()
    assert challenge(server.feed(b"AUTH PLAIN\r\n")) == b""
    assert server.feed(line + b"\r\n") == b"-ERR invalid response; authentication failed\r\n"
    assert not server.session.closed and not server.waits_for_tls
    assert server.feed(MROSE) == WELCOME


# ---------------------------------------------------------------- TLS


def test_tls_begins_after_its_reply() -> None:
    session = POP3Session(OPEN)
    session.receive(b"USER mrose\r\nSTLS\r\nPASS secret\r\nCA")
    assert session.next_event() == TLSWanted(len(b"PASS secret\r\nCA"))
    assert session.take_output() == b"+OK send the password\r\n+OK begin TLS\r\n"
    assert (session.paused, session.pending, session.next_event()) == (True, False, None)
    session.secured(TLS)
    assert (session.paused, session.state) == (False, POP3State.AUTHORIZATION)
    session.receive(b"PA\r\nPASS secret\r\n")
    assert not any(asks(event) for event in events_of(session))
    assert session.take_output() == b"-ERR unknown command\r\n-ERR send USER first\r\n"


@pytest.mark.parametrize("before", [b"", b"USER mrose\r\n", b"AUTH LOGIN\r\n*\r\n", b"USER x\r\nPASS y\r\n"])
def test_everything_is_forgotten(before: bytes) -> None:
    server = greeted(CLOSED) if b"USER" not in before else greeted(OPEN)
    server.feed(before + b"STLS\r\n" + HANDSHAKE)
    assert server.feed(b"PASS secret\r\n") == b"-ERR send USER first\r\n"
    assert b"STLS" not in server.feed(b"CAPA\r\n")
    assert server.feed(b"STLS\r\n").startswith(b"-ERR ")
    assert server.feed(MROSE) == WELCOME
