"""Any bytes in any pieces: no exception, one reply for each command, in order, always the same."""

import re
from itertools import pairwise

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.pop3.events import POP3Event, ReadFailure
from mailserver.pop3.options import POP3Options
from mailserver.pop3.verbs import VERBS
from mailserver.sasl.mechanisms import MECHANISMS
from mailserver.session.events import TLSWanted
from tests.support.pop3 import SETTINGS, FakeServer, maildrop_of, message_of
from tests.support.runs import examples
from tests.support.session_server import HANDSHAKE

CONTENTS = [message_of(120), b"A: 1\r\n\r\n.\r\n..\r\n.x", b"", b"\r\n.\r\n"]

SERVERS = [
    SETTINGS,
    attrs.evolve(
        SETTINGS, starttls=True, mechanisms=(*MECHANISMS, "APOP"), max_login_failures=0, max_errors=0
    ),
    attrs.evolve(SETTINGS, starttls=True, mechanisms=tuple(MECHANISMS), plaintext_auth=False, login_delay=60),
]
servers = st.sampled_from(SERVERS)

names = st.sampled_from([*(name.decode() for name in VERBS), "quit", "List", "APOP", "", "\0"])
arguments = st.sampled_from(
    [
        *("", " ", " 0", " 1", " 2", " 3", " 4", " 5", " -1", " 1 2", " 3 0", " 18446744073709551616"),
        *(" mrose", " secret", " \xff", " \0", " " + "1" * 250, " " + "x" * 400),
        *(f" {name}" for name in MECHANISMS),
        " PLAIN AG1yb3NlAHNlY3JldA==",
        " PLAIN =",
        " LOGIN bXJvc2U=",
        " SCRAM-SHA-1 biwsbj1tcm9zZSxyPXg=",
        " XOAUTH2 dXNlcj0BYXV0aD1CZWFyZXIgeAEB",
        " mrose c2VjcmV0",
    ]
)
endings = st.sampled_from(["\r\n", "\r\n", "\n", "\r", ""])
commands = st.builds(lambda *parts: "".join(parts).encode("latin-1"), names, arguments, endings)
LOGIN = b"USER mrose\r\nPASS secret\r\n"
responses = st.sampled_from(
    [
        b"*\r\n",
        b"=\r\n",
        b"bXJvc2U=\r\n",
        b"c2VjcmV0\r\n",
        b"AG1yb3NlAHNlY3JldA==\r\n",
        b"====\r\n",
        HANDSHAKE,
    ]
)
streams = st.lists(commands | responses | st.just(LOGIN) | st.binary(max_size=8), max_size=30).map(b"".join)
# Into every state, and into the middle of every exchange.
INTO = [
    b"",
    b"USER mrose\r\n",
    LOGIN,
    LOGIN + b"DELE 1\r\n",
    b"USER mrose\r\nSTLS\r\n",
    b"STLS\r\n" + HANDSHAKE,
    b"STLS\r\n" + HANDSHAKE + LOGIN,
    *(b"AUTH " + name.encode() + b"\r\n" for name in MECHANISMS),
    b"AUTH LOGIN bXJvc2U=\r\n",
    b"AUTH SCRAM-SHA-1 biwsbj1tcm9zZSxyPXg=\r\n",
    b"AUTH XOAUTH2 dXNlcj0BYXV0aD1CZWFyZXIgeAEB\r\n",
    b"STLS\r\n" + HANDSHAKE + b"AUTH EXTERNAL\r\n",
]
states = st.sampled_from(INTO)

thorough = settings(max_examples=examples(4))

WELCOME = rb"\+OK mrose's maildrop has \d+ messages \(\d+ octets\)"
# What the first line of a reply looks like if the command is granted.
GRANTED = {
    b"STLS": rb"\+OK begin TLS",
    b"USER": rb"\+OK send the password",
    b"PASS": WELCOME,
    b"APOP": WELCOME,
    b"STAT": rb"\+OK \d+ \d+",
    b"LIST": rb"\+OK (\d+ \d+|\d+ messages? \(\d+ octets\))",
    b"UIDL": rb"\+OK (\d+ uid-\d+|unique-id listing follows)",
    b"RETR": rb"\+OK \d+ octets",
    b"TOP": rb"\+OK top of message follows",
    b"DELE": rb"\+OK message \d+ deleted",
    b"AUTH": rb"\+OK mechanism list follows",  # without an argument
    b"NOOP": rb"\+OK",
    b"LAST": rb"\+OK \d",
    b"RSET": rb"\+OK maildrop has 4 messages \(\d+ octets\)",
    b"UTF8": rb"\+OK UTF-8 mode",
    b"LANG": rb"\+OK (en language changed|language list follows)",
    b"CAPA": rb"\+OK capability list follows",
    b"QUIT": rb"\+OK dewey POP3 server signing off( \(.*\))?",
}
REFUSED = rb"-ERR (\[(AUTH|IN-USE|SYS/TEMP)\] )?[^\[\x00-\x1f\x7f-\xff][ -~]*"


CHALLENGE = rb"\+ ([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?"


def converse(pieces: list[bytes], given: POP3Options = SETTINGS) -> tuple[bytes, FakeServer]:
    server = FakeServer(messages=maildrop_of(CONTENTS), settings=given, failures={3: ReadFailure.TEMPORARY})
    server.greeting()
    return b"".join([server.feed(piece) for piece in pieces]), server


def is_multi_line(name: bytes, argument: bytes) -> bool:
    return name in (b"RETR", b"TOP", b"CAPA", b"AUTH") or (
        name in (b"LIST", b"UIDL", b"LANG") and not argument
    )


def check_replies(sent: bytes, said: bytes, server: FakeServer) -> None:
    """Read ``said`` as a client would, command by command and response by response."""
    exchange = False
    while b"\n" in sent:
        line, _, sent = sent.partition(b"\n")
        if not said:
            assert server.session.closed
            return
        name, _, argument = line.removesuffix(b"\r").partition(b" ")
        name, argument = name.upper(), argument.strip(b" ")
        first, _, said = said.partition(b"\r\n")
        assert len(first) <= 510
        if first.startswith(b"+ "):
            assert exchange or (name == b"AUTH" and argument)
            assert re.fullmatch(CHALLENGE, first)
            exchange = True
            continue
        within, exchange = exchange, False
        if not first.startswith(b"+OK"):
            assert re.fullmatch(REFUSED, first)
        elif within or (name == b"AUTH" and argument):
            assert re.fullmatch(WELCOME, first)
        else:
            assert re.fullmatch(GRANTED[name], first)
            if is_multi_line(name, argument):
                _, dot, said = (b"\r\n" + said).partition(b"\r\n.\r\n")
                assert dot
            elif name == b"STLS":
                # What comes before the handshake is no TLS.
                _, _, sent = sent.partition(HANDSHAKE)
    assert said == b""


@thorough
@given(states, streams, servers)
def test_one_reply_for_each_command_in_order(state: bytes, stream: bytes, given: POP3Options) -> None:
    said, server = converse([state + stream], given)
    check_replies(state + stream, said, server)
    assert (server.removed is not None) == any(
        first.startswith(b"+OK dewey") and b"(" in first for first in said.split(b"\r\n")
    )


@thorough
@given(states, streams, servers, st.lists(st.integers(0, 600), max_size=12))
def test_pieces_make_no_difference(state: bytes, stream: bytes, given: POP3Options, cuts: list[int]) -> None:
    sent = state + stream
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    whole, at_once = converse([sent], given)
    for pieces in (
        [sent[a:b] for a, b in pairwise(edges)],
        [sent[i : i + 1] for i in range(len(sent))],
    ):
        said, server = converse(pieces, given)
        assert said == whole
        assert told(server) == told(at_once)
        assert (server.removed, server.session.closed) == (at_once.removed, at_once.session.closed)


def told(server: FakeServer) -> list[POP3Event]:
    """The events, but how much came behind STLS before it was read: that is a matter of pieces."""
    return [TLSWanted(0) if isinstance(event, TLSWanted) else event for event in server.events]


@thorough
@given(st.binary(max_size=600))
def test_plain_noise(sent: bytes) -> None:
    said, server = converse([sent])
    check_replies(sent, said, server)
