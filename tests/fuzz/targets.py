"""What is tried: for each protocol its servers, its reader, and how a session is played to the end."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any, Protocol

import attrs

from mailserver.pop3.settings import Settings as Pop3Settings
from mailserver.smtp.settings import Settings as SmtpSettings
from tests.fuzz import pop3_reader, smtp_reader
from tests.fuzz.broken import Broken, check
from tests.pop3 import pop3_fakes
from tests.smtp import smtp_fakes

SHORT = 300  # octets: up to this length a stream is also tried byte by byte


class Server(Protocol):
    """What the two fake servers have in common."""

    session: Any

    def greeting(self) -> bytes: ...
    def feed(self, data: bytes) -> bytes: ...


@attrs.frozen
class Target:
    """A protocol.

    ``servers`` make the server that a name stands for; ``dialogues`` are the pieces that the client
    sends in the dialogue file of the same name as the server that suits it. ``state`` is all that
    must be the same at the end, however the stream was cut.
    """

    name: str
    servers: dict[str, Callable[[], Any]]
    dialogues: dict[str, tuple[bytes, ...]]
    greeting: bytes
    state: Callable[[Any], object]
    read: Callable[[bytes, bytes, Any, Counter[str]], None]

    def play(self, server: str, pieces: Iterable[bytes]) -> tuple[bytes, object, Any]:
        """All that is said after the greeting, the state at the end, and the server."""
        fake = self.servers[server]()
        greeting = fake.greeting()
        check(greeting.startswith(self.greeting), "the greeting comes first", greeting)
        said = b"".join([fake.feed(piece) for piece in pieces])
        return said, self.state(fake), fake

    def play_late(self, server: str, pieces: Iterable[bytes]) -> tuple[bytes, object, Any]:
        """The same, with everything received before anything is done about it."""
        fake = self.servers[server]()
        fake.greeting()
        for piece in pieces:
            fake.session.receive(piece)
        return fake.feed(b""), self.state(fake), fake

    def examine(self, server: str, stream: bytes, seen: Counter[str]) -> None:
        """Check every property on one stream.

        The same stream is always cut in the same way. Raises :class:`Broken`.
        """
        try:
            said, state, fake = self.play(server, [stream])
            self.read(stream, said, fake, seen)
            pieces = cut(stream, Random(stream))
            ways = {"in pieces": self.play(server, pieces), "late": self.play_late(server, pieces)}
            if len(stream) <= SHORT:
                ways["byte by byte"] = self.play(server, [stream[i : i + 1] for i in range(len(stream))])
        except Broken:
            raise
        except Exception as error:
            raise Broken("no exception", repr(error)) from error
        for way, (other, end, _) in ways.items():
            check(other == said, "pieces make no difference to the replies", way, other, "and whole", said)
            check(end == state, "pieces make no difference at the end", way, end, "and whole", state)


def cut(stream: bytes, random: Random) -> list[bytes]:
    """Pieces, of which some may be empty: a few long ones or many short ones."""
    if random.random() < 0.5 or len(stream) > 4000:
        edges = sorted(random.choices(range(len(stream) + 1), k=random.randint(1, 8)))
    else:
        edges, at = [], 0
        while (at := at + random.randint(1, 9)) < len(stream):
            edges.append(at)
    return [stream[a:b] for a, b in pairwise([0, *edges, len(stream)])]


def _smtp_state(server: smtp_fakes.FakeServer) -> object:
    return [str(kept) for kept in server.kept], server.aborted, server.session.phase, server.session.closed


def _pop3_state(server: pop3_fakes.FakeServer) -> object:
    return server.events, server.removed, server.session.state, server.session.closed


def _smtp() -> Target:
    files = {path.stem: smtp_fakes.read_dialogue(path) for path in smtp_fakes.DIALOGUES.glob("*.txt")}
    plain = partial(SmtpSettings, hostname="mail.example.org", domain="example.org", max_errors=0)
    own: dict[str, Callable[[], Any]] = {
        "+small": partial(
            smtp_fakes.FakeServer, plain(max_message_size=60, max_recipients=3, verify="always", max_errors=5)
        ),
        "+loose": partial(smtp_fakes.FakeServer, plain(bare_newline="normalize", hop_limit=2)),
        "+strict": partial(smtp_fakes.FakeServer, plain(strict_syntax=True, verify="never")),
        "+full": partial(smtp_fakes.FakeServer, plain(), full="disk"),
    }
    return Target(
        "smtp",
        own | {name: partial(smtp_fakes.server_for, file) for name, file in files.items()},
        {name: tuple(sent for sent, _ in file.steps[1:]) for name, file in sorted(files.items())},
        b"220 ",
        _smtp_state,
        smtp_reader.read,
    )


def _pop3() -> Target:
    files = {path.stem: pop3_fakes.read_dialogue(path) for path in pop3_fakes.DIALOGUES.glob("*.txt")}
    drop = pop3_fakes.maildrop_of(
        [pop3_fakes.message_of(120), b"A: 1\r\n\r\n.\r\n..\r\n.x", b"", b"\r\n.\r\n", b"x.\r\n" * 2000]
    )
    patient = Pop3Settings("dewey", user_login_allowed=True, max_login_failures=0, max_errors=0)
    own: dict[str, Callable[[], Any]] = {
        "+five": partial(pop3_fakes.FakeServer, drop),
        "+patient": partial(pop3_fakes.FakeServer, drop, settings=patient),
        "+trouble": partial(
            pop3_fakes.FakeServer,
            drop,
            undeletable=frozenset({1}),
            gone=frozenset({2}),
            unreadable=frozenset({3}),
            piece=1000,
        ),
    }
    return Target(
        "pop3",
        own | {name: partial(pop3_fakes.server_for, file) for name, file in files.items()},
        {name: tuple(sent for sent, _ in file.steps[1:]) for name, file in sorted(files.items())},
        b"+OK ",
        _pop3_state,
        pop3_reader.read,
    )


TARGETS = {target.name: target for target in (_smtp(), _pop3())}
