"""SMTP smuggling: a second message, or a command, hidden inside the text of the first.

CVE-2023-51764 (Postfix), CVE-2023-51765 (sendmail) and CVE-2023-51766 (Exim): a line end that one
server takes for the end of the message, and the other does not. And what stays in the stream after a message
that was refused must not be run as commands.
"""

import attrs
import pytest

from tests.support.attacks.ways import BEGIN, ENDS, MAIL, RCPT, smtp
from tests.support.pop3 import FakeServer as Pop3Server
from tests.support.pop3 import maildrop_of
from tests.support.smtp import SETTINGS, FakeServer

NORMALIZING = attrs.evolve(SETTINGS, bare_newline="normalize")

# Those with a CR or an LF that stands alone; the others are text like any other.
BARE = {name for name, end in ENDS.items() if end.replace(b"\r\n", b"").strip(b".\0 ")}
SMUGGLED = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: evil\r\n\r\n"


@pytest.mark.parametrize("name", ENDS)
def test_what_is_no_end_of_data_smuggles_nothing(name: str) -> None:
    outcome = smtp(b"first" + ENDS[name] + SMUGGLED + b"\r\n.\r\nNOOP\r\n", begin=BEGIN)
    if name in BARE:
        assert outcome.codes == ["550 5.6.0", "250 2.0.0"]
        assert outcome.kept == []
    else:
        assert outcome.codes == ["250 2.0.0", "250 2.0.0"]
        assert outcome.contents == [b"first" + ENDS[name].replace(b"\r\n.", b"\r\n") + SMUGGLED + b"\r\n"]
        assert outcome.senders == ["a@b.example"]


@pytest.mark.parametrize("name", ENDS)
def test_nor_where_bare_newlines_are_normalised(name: str) -> None:
    outcome = smtp(b"first" + ENDS[name] + SMUGGLED + b"\r\n.\r\nNOOP\r\n", begin=BEGIN, settings=NORMALIZING)
    assert outcome.codes == ["250 2.0.0", "250 2.0.0"]
    assert outcome.senders == ["a@b.example"]
    [content] = outcome.contents
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
    assert content.endswith(SMUGGLED + b"\r\n")


@pytest.mark.parametrize("name", ENDS)
def test_what_is_no_end_of_data_leaves_it_open(name: str) -> None:
    for settings in (SETTINGS, NORMALIZING):
        outcome = smtp(b"first" + ENDS[name] + b"NOOP\r\nQUIT\r\n", begin=BEGIN, settings=settings)
        assert (outcome.said, outcome.kept) == (b"", [])


# Refused for their content, and what each is told.
REFUSED = {
    "too big": (b"x" * 300 + b"\r\n", "552 5.3.4"),
    "a bare LF": (b"a\nb\r\n", "550 5.6.0"),
    "a bare CR": (b"a\rb\r\n", "550 5.6.0"),
    "a loop": (b"Received: x\r\n" * 9 + b"\r\n", "554 5.4.6"),
    "no room": (b"text\r\n", "452 4.3.1"),
}
SMALL = attrs.evolve(SETTINGS, max_message_size=200, hop_limit=9)


def refusing(name: str, attack: bytes, begin: bytes = BEGIN) -> list[str]:
    outcome = smtp(
        attack,
        begin=begin,
        settings=SMALL,
        make=lambda given: FakeServer(given, full="no room" if name == "no room" else ""),
    )
    assert outcome.kept == []
    return outcome.codes


@pytest.mark.parametrize("name", REFUSED)
def test_commands_in_the_body_of_a_refused_message_are_text(name: str) -> None:
    """The message is read to its true end, answered once, and only then are there commands again."""
    text, code = REFUSED[name]
    attack = text + b"RSET\r\nQUIT\r\n..\r\nMAIL FROM:<>\r\n.\r\nNOOP\r\n"
    assert refusing(name, attack) == [code, "250 2.0.0"]


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("command", [b"RCPT TO:<alice@example.org>\r\n", b"DATA\r\n"])
def test_a_refused_message_ends_its_transaction(name: str, command: bytes) -> None:
    """What a pipelining client sends next without MAIL belongs to no transaction (a relay's way in)."""
    text, code = REFUSED[name]
    attack = text + b".\r\n" + command + b"NOOP\r\n"
    assert refusing(name, attack) == [code, "503 5.5.1", "250 2.0.0"]


def test_an_overlong_line_with_commands_behind_it_stays_one_message() -> None:
    line = b"x" * 3000 + b"\r\n"
    outcome = smtp(line + b"RSET\r\nQUIT\r\n.\r\n" + MAIL + RCPT, begin=BEGIN)
    assert outcome.codes == ["250 2.0.0", "250 2.1.0", "250 2.1.5"]
    assert outcome.contents == [line + b"RSET\r\nQUIT\r\n"]


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize(
    "content",
    [
        b".\r\n",
        b"\r\n.\r\n+OK 1 3\r\n",
        b"a\r\n.\r\n-ERR\r\n..\r\n...\r\n",
        b"a\r.\rb\r\n.\r",
        b"a\r\r\n.\r\r\n.\r\n",
        b"\0.\r\n.\0\r\n.\r\n",
        b".",
    ],
)
def test_a_stored_message_ends_where_it_ends(content: bytes, piece: int) -> None:
    """RETR of a message with dots and bare CRs: one end, and one dot more before each that begins a line."""
    server = Pop3Server(messages=maildrop_of([content]), piece=piece).logged_in()
    said = server.feed(b"RETR 1\r\nNOOP\r\n")
    first, _, rest = said.partition(b"\r\n")
    assert first.startswith(b"+OK ")
    # as a client reads that splits at LF, which is what most do
    lines = rest.split(b"\n")
    end = lines.index(b".\r")
    assert lines[end + 1 :] == [b"+OK\r", b""]
    got = b"".join(line.removeprefix(b".") + b"\n" for line in lines[:end])
    assert got == (content if content.endswith(b"\r\n") else content + b"\r\n")


@pytest.mark.parametrize("edge", [16384, 65536])
def test_a_dot_at_every_offset_around_a_buffer_edge_is_stuffed(edge: int) -> None:
    for offset in range(-4, 5):
        content = b"x" * (edge + offset - 2) + b"\r\n.\r\n.tail\r\n"
        server = Pop3Server(messages=maildrop_of([content]), piece=edge).logged_in()
        said = server.feed(b"RETR 1\r\n")
        assert said.endswith(b"x\r\n..\r\n..tail\r\n.\r\n")
        assert said.count(b"\r\n.\r\n") == 1
