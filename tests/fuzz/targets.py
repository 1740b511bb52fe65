"""What is tried: for each protocol its servers, its reader, and how a session is played to the end."""

from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from random import Random
from typing import Any

import attrs

from mailserver.mail.retention import Retention
from mailserver.pop3.events import OpenFailure, ReadFailure
from mailserver.pop3.options import POP3Options
from mailserver.sasl.steps import Reason
from mailserver.session.events import OutputFull, TLSWanted
from mailserver.smtp.options import SMTPOptions
from tests.fuzz import exchanges, pop3_reader, smtp_reader
from tests.fuzz.broken import Broken, check
from tests.fuzz.known import HOST, MECHANISMS, PASSWORDS
from tests.fuzz.sent import Pieces, Sent, Stream
from tests.fuzz.servers import Pop3Server, SmtpServer
from tests.support import pop3 as pop3_fakes
from tests.support import smtp as smtp_fakes
from tests.support.dialogue_files import DialogueFile
from tests.support.session_server import HANDSHAKE

SHORT = 300  # octets: up to this length a stream may also be tried octet by octet

Examine = Callable[[str, Stream, Counter[str], bool], None]


@attrs.frozen
class Target:
    """Something to try. ``own`` are the servers made for this, ``names`` have those of the dialogues, too.

    ``examine`` checks every property on one stream for one server, and raises :class:`Broken`. The same
    stream is always cut in the same ways: in some of them, or ``thorough``-ly in all.
    """

    name: str
    own: Collection[str]
    dialogues: dict[str, tuple[bytes, ...]]
    examine: Examine

    @property
    def names(self) -> list[str]:
        return [*self.own, *self.dialogues]


@attrs.frozen
class Sessions:
    """The sessions of a protocol.

    ``servers`` make the server that a name stands for. ``state`` is all that must be the same at the
    end, however the stream was cut.
    """

    servers: dict[str, Callable[[], Any]]
    greeting: bytes
    state: Callable[[Any], object]
    read: Callable[[Stream, bytes, Any, Counter[str]], Sent]

    def play(self, server: str, stream: Pieces) -> tuple[bytes, object, Any]:
        """All that is said after the greeting, the state at the end, and the server."""
        fake = self.servers[server]()
        greeting = fake.greeting()
        check(greeting.startswith(self.greeting), "the greeting comes first", greeting)
        said = b"".join([fake.feed(piece) for pieces in stream for piece in pieces])
        return said, self.state(fake), fake

    def play_late(self, server: str, stream: Pieces) -> tuple[bytes, object, Any]:
        """The same, with everything of a stretch received before anything is done about it."""
        fake = self.servers[server]()
        fake.greeting()
        said = b""
        for pieces in stream:
            for piece in pieces:
                fake.session.receive(piece)
            said += fake.feed(b"")
        return said, self.state(fake), fake

    def examine(self, server: str, stream: Stream, seen: Counter[str], thorough: bool = False) -> None:
        """See :class:`Target`."""
        try:
            said, state, fake = self.play(server, [[stretch] for stretch in stream])
            sent = self.read(stream, said, fake, seen)
            for way, (other, end, _) in self.other_ways(server, stream, sent, thorough).items():
                check(
                    other == said, "pieces make no difference to the replies", way, other, "and whole", said
                )
                check(end == state, "pieces make no difference at the end", way, end, "and whole", state)
        except Broken:
            raise
        except Exception as error:
            raise Broken("no exception", repr(error)) from error

    def other_ways(
        self, server: str, stream: Stream, sent: Sent, thorough: bool
    ) -> dict[str, tuple[bytes, object, Any]]:
        """The same stream cut otherwise: always in pieces, and in one of the other ways or all of them."""
        random = Random(b"".join(stream))
        ways: dict[str, tuple[bytes, object, Any]] = {}
        pieces = sent.cut(random)
        chosen = random.random()
        ways["in pieces"] = self.play(server, pieces)
        if thorough or chosen < 0.3:
            ways["late"] = self.play_late(server, pieces)
        if sent.lost and (thorough or chosen < 0.5):
            ways["in pieces up to TLS"] = self.play(server, sent.cut_before_tls(random))
        if sum(map(len, stream)) <= SHORT and (thorough or chosen > 0.8):
            octets = [[stretch[i : i + 1] for i in range(len(stretch))] for stretch in sent.heeded]
            ways["octet by octet"] = self.play(server, octets)
        return ways


def _smtp_state(server: SmtpServer) -> object:
    session = server.session
    kept = [str(kept) for kept in server.kept]
    return kept, server.refused, server.aborted, session.state, session.closed, session.user


def _pop3_state(server: Pop3Server) -> object:
    events = [
        TLSWanted(0) if isinstance(event, TLSWanted) else event
        for event in server.events
        if not isinstance(event, OutputFull)
    ]
    return events, server.removed, server.session.state, server.session.closed


def _smtp() -> Target:
    plain = partial(SMTPOptions, HOST, "example.org", max_errors=0, max_login_failures=0)
    every = partial(plain, mechanisms=MECHANISMS, starttls=True)
    few = plain(max_message_size=60, max_recipients=3, verify="always", max_errors=5)
    some = plain(mechanisms=("LOGIN", "CRAM-MD5", "APOP"), plaintext_auth=True, max_login_failures=2)
    strict = every(submission=True, strict_syntax=True, max_login_failures=2)
    own: dict[str, Callable[[], SmtpServer]] = {
        "+small": partial(SmtpServer, few),
        "+loose": partial(SmtpServer, plain(bare_newline="normalize", hop_limit=2)),
        "+strict": partial(SmtpServer, plain(strict_syntax=True, verify="never", starttls=True)),
        "+full": partial(SmtpServer, plain(), full="disk"),
        "+closed": partial(SmtpServer, every(max_login_failures=3, max_errors=20)),
        "+trusted": partial(SmtpServer, every(xclient=True, xforward=True, no_soliciting=("x:ADV",))),
        "+limited": partial(SmtpServer, plain(max_messages=3, max_recipient_domains=1, verify="always")),
        "+open": partial(SmtpServer, every(plaintext_auth=True)),
        "+some": partial(SmtpServer, some),
        "+down": partial(SmtpServer, every(plaintext_auth=True), down=True),
        "+submission": partial(SmtpServer, every(submission=True, plaintext_auth=True)),
        "+submissions": partial(SmtpServer, strict, secure=True),
        "+lmtp": partial(SmtpServer, every(lmtp=True, plaintext_auth=True)),
        "+lmtp small": partial(SmtpServer, attrs.evolve(few, lmtp=True)),
        "+lmtp stranger": partial(SmtpServer, every(lmtp=True, trusted=False, plaintext_auth=True)),
    }
    files = {path.stem: smtp_fakes.read_dialogue(path) for path in sorted(smtp_fakes.DIALOGUES.glob("*.txt"))}
    servers = dict(own)
    for name, file in files.items():
        server = smtp_fakes.server_for(file)
        servers[name] = partial(SmtpServer, server.settings, server.full, server.secure)
    sessions = Sessions(servers, b"220 ", _smtp_state, smtp_reader.read)
    return Target("smtp", list(own), _client_side(files), sessions.examine)


def _pop3() -> Target:
    drop = pop3_fakes.maildrop_of(
        [
            pop3_fakes.message_of(120),
            b"A: 1\r\n\r\n.\r\n..\r\n.x",
            b"",
            b"\r\n.\r\n",
            b"Subject: \xd1\x8b\r\nX: \xd1\x8b\r\n\r\n" + b"x.\r\n" * 2000,
        ]
    )
    five = partial(Pop3Server, drop, PASSWORDS, piece=60)
    plain = partial(POP3Options, HOST, max_login_failures=0, max_errors=0)
    every = partial(plain, mechanisms=(*MECHANISMS, "APOP"), starttls=True)
    broken = partial(
        five,
        undeletable=frozenset({1}),
        failures={2: ReadFailure.REMOVED, 3: ReadFailure.TEMPORARY},
        piece=1000,
    )
    own: dict[str, Callable[[], Pop3Server]] = {
        "+five": partial(five, POP3Options(HOST, plaintext_auth=True)),
        "+patient": partial(five, plain(plaintext_auth=True)),
        "+trouble": partial(broken, plain(plaintext_auth=True)),
        "+closed": partial(five, every(max_login_failures=3, login_delay=60)),
        "+open": partial(five, every(plaintext_auth=True)),
        "+some": partial(five, plain(mechanisms=("LOGIN", "CRAM-MD5"), plaintext_auth=True)),
        "+down": partial(five, every(plaintext_auth=True), Reason.TEMPORARY),
        "+in use": partial(five, every(plaintext_auth=True), OpenFailure.IN_USE),
        "+expiring": partial(five, plain(plaintext_auth=True, expire=Retention(0), language="ru")),
        "+implicit": partial(five, every(max_errors=10), secure=True),
    }
    files = {path.stem: pop3_fakes.read_dialogue(path) for path in sorted(pop3_fakes.DIALOGUES.glob("*.txt"))}
    servers = dict(own)
    for name, file in files.items():
        fake = attrs.asdict(pop3_fakes.server_for(file), recurse=False, filter=lambda field, _: field.init)
        servers[name] = partial(Pop3Server, **fake)
    sessions = Sessions(servers, b"+OK ", _pop3_state, pop3_reader.read)
    return Target("pop3", list(own), _client_side(files), sessions.examine)


def _client_side(files: dict[str, DialogueFile]) -> dict[str, tuple[bytes, ...]]:
    # The octet that stands for a handshake is left out: here TLS has begun when STARTTLS is answered.
    return {
        name: tuple(sent.replace(HANDSHAKE, b"") for sent, _ in file.steps[1:])
        for name, file in files.items()
    }


def _examine_exchange(server: str, stream: Stream, seen: Counter[str], thorough: bool) -> None:
    try:
        exchanges.examine(server, stream, seen)
    except Broken:
        raise
    except Exception as error:
        raise Broken("no exception", repr(error)) from error


_TARGETS = (_smtp(), _pop3(), Target("sasl", list(exchanges.PEERS), {}, _examine_exchange))
TARGETS = {target.name: target for target in _TARGETS}
