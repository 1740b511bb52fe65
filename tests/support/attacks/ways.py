"""One attack in every way its bytes can arrive: whole, byte by byte, and cut in two at every offset."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import attrs

from mailserver.smtp.options import SMTPOptions
from tests.support.pop3 import FakeServer as Pop3Server
from tests.support.smtp import SETTINGS, FakeServer, Kept

T = TypeVar("T")

# The most offsets tried of one stream; a longer one is cut at so many, evenly spread.
OFFSETS = 600

HELLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<a@b.example>\r\n"
RCPT = b"RCPT TO:<bob@example.org>\r\n"
BEGIN = HELLO + MAIL + RCPT + b"DATA\r\n"


def ways(stream: bytes) -> Iterator[list[bytes]]:
    """The stream in pieces, in every way but whole."""
    yield [stream[i : i + 1] for i in range(len(stream))]
    for i in range(1, len(stream), -(-len(stream) // OFFSETS)):
        yield [stream[:i], stream[i:]]


def in_every_way(stream: bytes, play: Callable[[list[bytes]], T]) -> T:
    """What ``play`` makes of the whole stream; it must make the same of it in every other way."""
    whole = play([stream])
    for pieces in ways(stream):
        assert play(pieces) == whole, f"{len(pieces)} pieces, the first of {len(pieces[0])} octets"
    return whole


@attrs.frozen
class Outcome:
    """What a session has said and done in answer to an attack."""

    said: bytes
    kept: list[Kept]
    phase: object

    @property
    def codes(self) -> list[str]:
        """The code of each reply, with the enhanced one where it has one."""
        last = [line.decode() for line in self.said.splitlines() if line[3:4] == b" "]
        return [" ".join(word for word in line.split(" ")[:2] if word[:1].isdigit()) for line in last]


def smtp(
    attack: bytes,
    *,
    begin: bytes = b"",
    settings: SMTPOptions = SETTINGS,
    make: Callable[[SMTPOptions], FakeServer] = FakeServer,
) -> Outcome:
    """An SMTP session that is attacked in every way; ``begin`` comes first, always whole."""

    def play(pieces: list[bytes]) -> Outcome:
        server = make(settings)
        server.greeting()
        server.feed(begin)
        said = b"".join([server.feed(piece) for piece in pieces])
        return Outcome(said, server.kept, server.session.state)

    return in_every_way(attack, play)


def pop3(attack: bytes, make: Callable[[], Pop3Server]) -> tuple[list[bytes], tuple[int, ...] | None]:
    """A POP3 session that is attacked in every way: the lines it says, and what QUIT removed."""

    def play(pieces: list[bytes]) -> tuple[bytes, tuple[int, ...] | None]:
        server = make()
        return b"".join([server.feed(piece) for piece in pieces]), server.removed

    said, removed = in_every_way(attack, play)
    return said.split(b"\r\n")[:-1], removed
