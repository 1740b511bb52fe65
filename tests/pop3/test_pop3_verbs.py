"""The verb table: every state against every verb, and every argument parser."""

import attrs
import pytest

from mailserver.pop3.events import UpdateWanted
from mailserver.pop3.states import POP3State
from mailserver.pop3.verbs import VERBS, ArgumentError, POP3Verb
from mailserver.sasl.apop import apop_digest
from tests.support.pop3 import SETTINGS, FakeServer, maildrop_of, message_of

# What makes every verb possible somewhere.
OPEN = attrs.evolve(SETTINGS, starttls=True, mechanisms=("PLAIN", "APOP"))

# RFC 1939 section 9, with LAST of RFC 1460, CAPA of RFC 2449, STLS of RFC 2595 and AUTH of RFC 5034: a
# command, and where it is legal.
LEGAL = {
    b"STLS": {"AUTHORIZATION"},
    b"AUTH": {"AUTHORIZATION"},
    b"APOP mrose digest": {"AUTHORIZATION"},
    b"USER mrose": {"AUTHORIZATION"},
    b"PASS secret": {"AUTHORIZATION"},
    b"STAT": {"TRANSACTION"},
    b"LIST": {"TRANSACTION"},
    b"RETR 1": {"TRANSACTION"},
    b"DELE 1": {"TRANSACTION"},
    b"NOOP": {"TRANSACTION"},
    b"RSET": {"TRANSACTION"},
    b"LAST": {"TRANSACTION"},
    b"TOP 1 0": {"TRANSACTION"},
    b"UIDL": {"TRANSACTION"},
    b"UTF8": {"AUTHORIZATION", "TRANSACTION"},
    b"LANG": {"AUTHORIZATION", "TRANSACTION"},
    b"LANG en": {"AUTHORIZATION", "TRANSACTION"},
    b"CAPA": {"AUTHORIZATION", "TRANSACTION"},
    b"QUIT": {"AUTHORIZATION", "TRANSACTION"},
}


def test_the_table_has_every_verb() -> None:
    assert {command.split()[0] for command in LEGAL} == set(VERBS)


def server_in(state: POP3State) -> FakeServer:
    server = FakeServer(messages=maildrop_of([message_of(120), message_of(200)]), settings=OPEN)
    if state is POP3State.AUTHORIZATION:
        server.greeting()
        server.feed(b"USER mrose\r\n")
        return server
    server.logged_in()
    if state is POP3State.UPDATE:
        server.session.receive(b"QUIT\r\n")
        assert server.session.next_event() == UpdateWanted(())
    assert server.session.state is state
    return server


def digest(server: FakeServer, secret: str = "secret") -> bytes:
    """What APOP sends with the timestamp of the greeting."""
    timestamp = server.greeted.split()[-1].decode()
    return apop_digest(timestamp, secret).encode()


@pytest.mark.parametrize("command", LEGAL)
@pytest.mark.parametrize("state", [POP3State.AUTHORIZATION, POP3State.TRANSACTION])
def test_every_verb_in_every_state_that_reads_commands(state: POP3State, command: bytes) -> None:
    server = server_in(state)
    reply = server.feed(command.replace(b"digest", digest(server)) + b"\r\n")
    if state.name in LEGAL[command]:
        assert reply.startswith(b"+OK")
    else:
        verb = VERBS[command.split()[0]]
        assert reply == verb.wrong_state(state).octets
        assert reply.startswith(b"-ERR " + verb.name.encode() + b" is only allowed in the ")
        assert (server.session.state, server.session.closed) == (state, False)
        # Nothing has changed: the session goes on where it was.
        if state is POP3State.AUTHORIZATION:
            assert server.feed(b"PASS secret\r\n") == b"+OK mrose's maildrop has 2 messages (320 octets)\r\n"
        else:
            assert server.feed(b"STAT\r\nLAST\r\n") == b"+OK 2 320\r\n+OK 0\r\n"


@pytest.mark.parametrize("command", LEGAL)
def test_nothing_is_read_in_the_update_state(command: bytes) -> None:
    server = server_in(POP3State.UPDATE)
    assert server.feed(command + b"\r\n") == b""
    assert server.session.paused and server.session.pending
    server.session.answer(frozenset())
    assert server.session.closed and not server.session.pending
    assert server.session.take_output() == b"+OK dewey POP3 server signing off (2 messages left)\r\n"
    assert server.feed(command + b"\r\n") == b""


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_no_verb_is_legal_in_the_update_state(verb: POP3Verb) -> None:
    assert POP3State.UPDATE not in verb.then and verb.then


@pytest.mark.parametrize(
    "name",
    [b"__INIT__", b"CLOSE", b"_CLOSE", b"STAT_GIVEN", b"STATE", b"STA", b"STATS", b"", b"\xc5TAT", b"XTND"],
)
def test_other_names_reach_nothing(name: bytes) -> None:
    server = server_in(POP3State.TRANSACTION)
    assert server.feed(name + b" 1\r\nSTAT\r\n") == b"-ERR unknown command\r\n+OK 2 320\r\n"


BAD = object()

ARGUMENTS = [
    (b"STAT", {b"": None, b" ": None, b"  ": None, b"1": BAD, b" x": BAD, b"\t": BAD, b"\0": BAD}),
    (
        b"RETR",
        {
            b"1": 1, b"01": 1, b" 1 ": 1, b"0": 0, b"2147483648": 2**31, b"18446744073709551616": 2**64,
            b"9" * 248: int("9" * 248), b"": BAD, b" ": BAD, b"-1": BAD, b"+1": BAD, b"1 2": BAD, b"1.0": BAD,
            b"1_0": BAD, b"0x1": BAD, b"1\t": BAD, b"1\0": BAD, b"\xb2": BAD, b"\xd9\xa1": BAD, b"one": BAD,
        },
    ),
    (b"LIST", {b"": None, b" ": None, b"1": 1, b" 2": 2, b"-1": BAD, b"1 2": BAD, b"*": BAD}),
    (
        b"TOP",
        {
            b"1 0": (1, 0), b" 1  10 ": (1, 10), b"0 1": (0, 1), b"1 18446744073709551616": (1, 2**64),
            b"": BAD, b"1": BAD, b"1 ": BAD, b"1 -1": BAD, b"-1 1": BAD, b"1 2 3": BAD, b"1\t2": BAD,
        },
    ),
    (
        b"USER",
        {
            b"rich": "rich", b" rich@localhost ": "rich@localhost", "zo\u00eb".encode(): "zo\u00eb",
            b"[x]": "[x]",
            b"../../etc": "../../etc", b"": BAD, b" ": BAD, b"a b": BAD, b"a\0": BAD, b"a\x1b": BAD,
            b"a\tb": BAD, b"a\r": BAD, b"\xff": BAD, "a\u00a0b".encode(): BAD, "a\u2028b".encode(): BAD,
        },
    ),
    (
        b"PASS",
        {
            b"x": "x", b" ": " ", b" two  words ": " two  words ", "\u00e4".encode(): "\u00e4",
            b"\xe4": "\ufffd",
            b"a\tb": "a\tb", b"": BAD, b"\0": "\0", b"secret\0": "secret\0",
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [(name, raw, value) for name, cases in ARGUMENTS for raw, value in cases.items()],
)
def test_arguments(name: bytes, raw: bytes, value: object) -> None:
    parse = VERBS[name].parse
    if value is BAD:
        with pytest.raises(ArgumentError):
            parse(raw)
    else:
        assert parse(raw) == value
