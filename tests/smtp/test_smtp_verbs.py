"""Every state times every verb: the table alone says what is legal."""

import attrs
import pytest

from mailserver.smtp.extensions import EXTENSIONS, Extension
from mailserver.smtp.states import SMTPState
from mailserver.smtp.tables import help_lines
from mailserver.smtp.verbs import VERBS
from tests.support.smtp import SETTINGS, FakeServer

# What makes every verb possible somewhere.
OPEN = attrs.evolve(
    SETTINGS,
    starttls=True,
    mechanisms=("PLAIN",),
    plaintext_auth=True,
    queue_starts=True,
    fetches=True,
    xclient=True,
    xforward=True,
)

INTO = {
    SMTPState.CONNECTED: b"",
    SMTPState.IDLE: b"EHLO client.example\r\n",
    SMTPState.SENDER: b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n",
    SMTPState.RECIPIENTS: b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\n",
    SMTPState.CHUNKS: b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nBDAT 0\r\n",
}

GOOD = {
    "HELO": b"HELO client.example",
    "EHLO": b"EHLO client.example",
    "STARTTLS": b"STARTTLS",
    "AUTH": b"AUTH PLAIN AGFsaWNlAHNlY3JldA==",
    "MAIL": b"MAIL FROM:<a@b.example>",
    "RCPT": b"RCPT TO:<alice@example.org>",
    "DATA": b"DATA",
    "BDAT": b"BDAT 0",
    "RSET": b"RSET",
    "VRFY": b"VRFY alice",
    "EXPN": b"EXPN club",
    "ETRN": b"ETRN example.net",
    "ATRN": b"ATRN example.net",
    "XCLIENT": b"XCLIENT ADDR=192.0.2.7",
    "XFORWARD": b"XFORWARD ADDR=192.0.2.7",
    "HELP": b"HELP",
    "NOOP": b"NOOP",
    "QUIT": b"QUIT",
}
OBSOLETE = {"TURN": b"TURN", "SEND": b"SEND FROM:<a@b.example>", "SOML": b"soml", "SAML": b"SAML x"}

# RFC 5321 section 4.1.4, RFC 3030 section 2, RFC 1985, RFC 3207, RFC 4954 section 4: written down once more.
LEGAL = {
    SMTPState.CONNECTED: {
        "HELO",
        "EHLO",
        "STARTTLS",
        "RSET",
        "VRFY",
        "EXPN",
        "XCLIENT",
        "XFORWARD",
        "HELP",
        "NOOP",
        "QUIT",
    },
    SMTPState.IDLE: {
        "HELO",
        "EHLO",
        "STARTTLS",
        "AUTH",
        "MAIL",
        "RSET",
        "VRFY",
        "EXPN",
        "ETRN",
        "ATRN",
        "XCLIENT",
        "XFORWARD",
        "HELP",
        "NOOP",
        "QUIT",
    },
    SMTPState.SENDER: {"HELO", "EHLO", "RCPT", "RSET", "VRFY", "EXPN", "HELP", "NOOP", "QUIT"},
    SMTPState.RECIPIENTS: {
        "HELO",
        "EHLO",
        "RCPT",
        "DATA",
        "BDAT",
        "RSET",
        "VRFY",
        "EXPN",
        "HELP",
        "NOOP",
        "QUIT",
    },
    SMTPState.CHUNKS: {"HELO", "EHLO", "BDAT", "RSET", "VRFY", "EXPN", "HELP", "NOOP", "QUIT"},
}


def server_in(phase: SMTPState) -> FakeServer:
    server = FakeServer(OPEN)
    server.greeting()
    server.feed(INTO[phase])
    assert server.session.state is phase
    return server


def test_the_table_is_complete() -> None:
    assert set(VERBS) == set(GOOD) | set(OBSOLETE)
    for verb in VERBS.values():
        assert verb.barred or {*verb.then, *verb.reasons} == set(LEGAL)


@pytest.mark.parametrize("phase", INTO)
@pytest.mark.parametrize("verb", GOOD)
def test_state_and_verb(phase: SMTPState, verb: str) -> None:
    server = server_in(phase)
    said = server.feed(GOOD[verb] + b"\r\n")
    if verb in LEGAL[phase]:
        assert said[:1] in (b"2", b"3") or (verb, said[:3]) == ("ATRN", b"530")  # it needs a login
    else:
        assert said.startswith(b"503 5.5.1 ")
        assert server.session.state is phase
    assert said.endswith(b"\r\n")


@pytest.mark.parametrize("phase", INTO)
@pytest.mark.parametrize(
    "line", [b"XYZZY", b"", b"MAIL FROM:<", b"RCPT TO:<>", b"EHLO", b"DATA x", b"RSET x"]
)
def test_what_is_refused_changes_nothing(phase: SMTPState, line: bytes) -> None:
    server = server_in(phase)
    said = server.feed(line + b"\r\n")
    assert said[:3] in (b"500", b"501", b"503")
    assert said.count(b"\r\n") == 1
    assert server.session.state is phase


@pytest.mark.parametrize("verb", VERBS)
def test_help_knows_every_verb(verb: str) -> None:
    lines = help_lines(verb.lower())
    assert lines is not None
    assert lines[0] == VERBS[verb].syntax
    assert all(lines)


@pytest.mark.parametrize("extension", EXTENSIONS, ids=lambda extension: extension.keyword)
def test_help_knows_every_extension(extension: Extension) -> None:
    lines = help_lines(extension.keyword.lower())
    assert (lines is not None and extension.keyword in VERBS) or lines == (extension.about,)


@pytest.mark.parametrize("phase", INTO)
@pytest.mark.parametrize("verb", OBSOLETE)
def test_obsolete_verbs_are_known_and_refused_with_the_reason(phase: SMTPState, verb: str) -> None:
    server = server_in(phase)
    said = server.feed(OBSOLETE[verb] + b"\r\n")
    assert said.startswith(b"502 5.5.1 ")
    assert b"RFC 5321 appendix F" in said
    assert server.session.state is phase
