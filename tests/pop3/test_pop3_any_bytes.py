"""Any bytes in any pieces: no exception, one reply for each command, in order, always the same."""

import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.pop3.verbs import VERBS
from tests.pop3.pop3_fakes import FakeServer, maildrop_of, message_of

CONTENTS = [message_of(120), b"A: 1\r\n\r\n.\r\n..\r\n.x", b"", b"\r\n.\r\n"]

names = st.sampled_from([*(name.decode() for name in VERBS), "quit", "List", "APOP", "", "\0"])
arguments = st.sampled_from(
    [
        *("", " ", " 0", " 1", " 2", " 3", " 4", " 5", " -1", " 1 2", " 3 0", " 18446744073709551616"),
        *(" mrose", " secret", " \xff", " \0", " " + "1" * 250, " " + "x" * 400),
    ]
)
endings = st.sampled_from(["\r\n", "\r\n", "\n", "\r", ""])
commands = st.builds(lambda *parts: "".join(parts).encode("latin-1"), names, arguments, endings)
LOGIN = b"USER mrose\r\nPASS secret\r\n"
streams = st.lists(commands | st.just(LOGIN) | st.binary(max_size=8), max_size=30).map(b"".join)

thorough = settings(max_examples=300, deadline=None)

# What the first line of a reply looks like if the command is granted.
GRANTED = {
    b"USER": rb"\+OK send the password",
    b"PASS": rb"\+OK mrose's maildrop has \d+ messages \(\d+ octets\)",
    b"STAT": rb"\+OK \d+ \d+",
    b"LIST": rb"\+OK (\d+ \d+|\d+ messages? \(\d+ octets\))",
    b"UIDL": rb"\+OK (\d+ uid-\d+|unique-id listing follows)",
    b"RETR": rb"\+OK \d+ octets",
    b"TOP": rb"\+OK top of message follows",
    b"DELE": rb"\+OK message \d+ deleted",
    b"AUTH": rb"\+OK mechanism list follows",
    b"NOOP": rb"\+OK",
    b"LAST": rb"\+OK \d",
    b"RSET": rb"\+OK maildrop has 4 messages \(\d+ octets\)",
    b"CAPA": rb"\+OK capability list follows",
    b"QUIT": rb"\+OK dewey POP3 server signing off( \(.*\))?",
}
REFUSED = rb"-ERR (\[(AUTH|IN-USE|SYS/TEMP)\] )?[^\[\x00-\x1f\x7f-\xff][ -~]*"


def converse(pieces: list[bytes]) -> tuple[bytes, FakeServer]:
    server = FakeServer(messages=maildrop_of(CONTENTS), unreadable=frozenset({3}))
    server.greeting()
    return b"".join([server.feed(piece) for piece in pieces]), server


def check_replies(sent: bytes, said: bytes, server: FakeServer) -> None:
    """Read ``said`` as a client would, command by command."""
    for line in sent.split(b"\n")[:-1]:
        if not said:
            assert server.session.closed
            return
        name, _, argument = line.removesuffix(b"\r").partition(b" ")
        name = name.upper()
        first, _, said = said.partition(b"\r\n")
        assert len(first) <= 510
        if not first.startswith(b"+OK"):
            assert re.fullmatch(REFUSED, first)
            continue
        assert re.fullmatch(GRANTED[name], first)
        if name in (b"RETR", b"TOP", b"CAPA", b"AUTH") or (
            name in (b"LIST", b"UIDL") and not argument.strip(b" ")
        ):
            _, dot, said = (b"\r\n" + said).partition(b"\r\n.\r\n")
            assert dot
    assert said == b""


@thorough
@given(streams)
def test_one_reply_for_each_command_in_order(sent: bytes) -> None:
    said, server = converse([sent])
    check_replies(sent, said, server)
    assert (server.removed is not None) == any(
        first.startswith(b"+OK dewey") and b"(" in first for first in said.split(b"\r\n")
    )


@thorough
@given(streams.map(lambda stream: LOGIN + stream))
def test_the_same_after_a_login(sent: bytes) -> None:
    said, server = converse([sent])
    check_replies(sent, said, server)


@thorough
@given(st.booleans(), streams, st.lists(st.integers(0, 600), max_size=12))
def test_pieces_make_no_difference(logged_in: bool, stream: bytes, cuts: list[int]) -> None:
    sent = LOGIN * logged_in + stream
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    whole, at_once = converse([sent])
    for pieces in (
        [sent[a:b] for a, b in pairwise(edges)],
        [sent[i : i + 1] for i in range(len(sent))],
    ):
        said, server = converse(pieces)
        assert said == whole
        assert server.events == at_once.events
        assert (server.removed, server.session.closed) == (at_once.removed, at_once.session.closed)


@thorough
@given(st.binary(max_size=600))
def test_plain_noise(sent: bytes) -> None:
    said, server = converse([sent])
    check_replies(sent, said, server)
