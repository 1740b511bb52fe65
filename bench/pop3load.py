"""POP3 load: one client per mailbox, all at the same time, in this process.

The clients do not pipeline, and check every reply: its +OK, the counts of STAT, LIST and UIDL, and the size
of each message against LIST. A session is a generator that yields commands and receives the replies. One
epoll loop runs all of them, with little more than two system calls per command. Its processor time is
measured, too.
"""

import enum
import select
import socket
import time
from collections.abc import Generator, Iterable, Iterator

import attrs

from .errors import BenchError
from .servers import PASSWORD, Address

SILENCE = 120.0  # seconds without an octet after which a server counts as dead
END = b"\r\n.\r\n"
LONG = (b"LIST", b"UIDL", b"RETR")
BUFFER = bytearray(1 << 18)
VIEW = memoryview(BUFFER)

# Yields a command with its CRLF, or nothing before the greeting; is sent the text of the reply, only the
# beginning for RETR, and the octets of it all.
Session = Generator[bytes, tuple[bytes, int], None]


class Kind(enum.Enum):
    """The commands of a session between PASS and QUIT."""

    CHECK = "STAT, LIST, UIDL"
    RETRIEVE = "STAT, LIST, RETR of each message"
    DRAIN = "STAT, LIST, RETR and DELE of each message"


@attrs.define
class Load:
    """The results of the clients. Latencies are in seconds, per session (CHECK) or per RETR, in no order."""

    seconds: float = 0.0
    octets: int = 0
    latencies: list[float] = attrs.Factory(list)

    def p99(self) -> float:
        """The 99th percentile in milliseconds."""
        return sorted(self.latencies)[int(0.99 * (len(self.latencies) - 1))] * 1000


class Client:
    """One connection with one session. Raises BenchError for any reply except +OK."""

    def __init__(self, address: Address, session: Session) -> None:
        self.session = session
        self.socket = socket.create_connection(address, timeout=SILENCE)
        self.ask(next(session))

    def ask(self, command: bytes) -> None:
        self.command = command
        self.last = END if command[:4] in LONG else b"\r\n"
        self.text = self.tail = b""
        self.octets = 0
        if command:
            self.socket.sendall(command)

    def readable(self) -> bool:
        """Read and process data. True when the session has ended."""
        got = self.socket.recv_into(BUFFER)
        if not got:
            raise BenchError(f"the server closed the connection after {self.command!r}")
        # a large message is counted, not kept
        if not self.octets or not self.command.startswith(b"RETR"):
            self.text += VIEW[:got]
        self.octets += got
        self.tail = (self.tail + VIEW[max(0, got - len(END)) : got])[-len(END) :]
        if not self.tail.endswith(self.last):
            if self.text.startswith(b"-ERR") and self.tail.endswith(b"\r\n"):
                raise BenchError(f"{self.text!r} is the answer to {self.command!r}")
            return False
        if not self.text.startswith(b"+OK"):
            raise BenchError(f"{self.text[:200]!r} is the answer to {self.command!r}")
        try:
            self.ask(self.session.send((self.text, self.octets)))
        except StopIteration:
            self.socket.close()
            return True
        except (ValueError, IndexError):
            raise BenchError(f"{self.text[:200]!r} is the answer to {self.command!r}") from None
        return False


def drive(address: Address, sequences: Iterable[Iterator[Session]]) -> None:
    """Run sessions: those of a sequence one after another, the sequences in parallel."""
    clients: dict[int, tuple[Client, Iterator[Session]]] = {}
    with select.epoll() as poll:

        def go_on(sequence: Iterator[Session]) -> None:
            if (session := next(sequence, None)) is not None:
                client = Client(address, session)
                clients[client.socket.fileno()] = client, sequence
                poll.register(client.socket, select.EPOLLIN)

        try:
            for sequence in sequences:
                go_on(sequence)
            while clients:
                if not (events := poll.poll(SILENCE)):
                    raise BenchError(f"the server sent nothing to any client for {SILENCE:.0f} s")
                for descriptor, _ in events:
                    client, sequence = clients[descriptor]
                    if client.readable():
                        del clients[descriptor]
                        go_on(sequence)
        finally:
            for client, _ in clients.values():
                client.socket.close()


def _log_in(user: str) -> Session:
    yield b""
    yield b"USER %s\r\n" % user.encode()
    yield b"PASS %s\r\n" % PASSWORD.encode()


def _stat() -> Generator[bytes, tuple[bytes, int], tuple[int, int]]:
    text, _ = yield b"STAT\r\n"
    words = text.split()
    return int(words[1]), int(words[2])


def _counting(user: str, found: dict[str, int]) -> Session:
    yield from _log_in(user)
    found[user], _ = yield from _stat()
    yield b"QUIT\r\n"


def counts(address: Address, users: Iterable[str]) -> dict[str, int]:
    """The number of messages that STAT reports for each mailbox."""
    found: dict[str, int] = {}
    drive(address, [iter([_counting(user, found)]) for user in users])
    return found


def counts_in_turn(address: Address, users: Iterable[str]) -> dict[str, int]:
    """Like :func:`counts`, in one session after another. A mailbox may be named more than once."""
    found: dict[str, int] = {}
    drive(address, [iter([_counting(user, found) for user in users])])
    return found


class Mailbox:
    """The state of a mailbox, so that an unchanged listing is not checked again."""

    def __init__(self, user: str, messages: int) -> None:
        self.user = user
        self.numbers = [b"%d" % number for number in range(1, messages + 1)]
        self.checked: dict[bytes, tuple[bytes, list[bytes]]] = {}

    def listing(self, command: bytes) -> Generator[bytes, tuple[bytes, int], list[bytes]]:
        """The second words of a listing. Its first words must be the numbers of all messages."""
        text, _ = yield command
        if (known := self.checked.get(command)) and known[0] == text:
            return known[1]
        words = text[text.index(b"\r\n") : -len(END)].split()
        if words[::2] != self.numbers:
            raise BenchError(f"{self.user}: {command!r} does not list {len(self.numbers)} messages")
        self.checked[command] = text, words[1::2]
        return words[1::2]

    def session(self, kind: Kind, load: Load) -> Session:
        """One session, recorded in ``load``."""
        began = time.perf_counter()
        yield from _log_in(self.user)
        count, octets = yield from _stat()
        sizes = [int(size) for size in (yield from self.listing(b"LIST\r\n"))]
        if (count, octets) != (len(sizes), sum(sizes)):
            raise BenchError(
                f"{self.user}: STAT reports {count} of {octets} octets, LIST {sum(sizes)} octets"
            )
        if kind is Kind.CHECK:
            if len(set((yield from self.listing(b"UIDL\r\n")))) != count:
                raise BenchError(f"{self.user}: UIDL does not name {count} different messages")
        else:
            for number, size in enumerate(sizes, 1):
                yield from self._retrieve(number, size, load)
                if kind is Kind.DRAIN:
                    yield b"DELE %d\r\n" % number
        yield b"QUIT\r\n"
        if kind is Kind.CHECK:
            load.latencies.append(time.perf_counter() - began)

    def _retrieve(self, number: int, size: int, load: Load) -> Session:
        asked = time.perf_counter()
        text, octets = yield b"RETR %d\r\n" % number
        load.latencies.append(time.perf_counter() - asked)
        # the bodies sent here have no line that begins with a dot
        octets -= text.index(b"\r\n") + 2 + len(b".\r\n")
        if octets != size:
            raise BenchError(f"{self.user}: message {number} has {octets} octets, LIST tells {size}")
        load.octets += octets


def play(address: Address, users: Iterable[str], kind: Kind, messages: int, times: int = 1) -> Load:
    """Run ``times`` sessions on each mailbox, which must have so many messages. Raises BenchError."""
    load = Load()
    mailboxes = [Mailbox(user, messages) for user in users]
    began = time.perf_counter()
    drive(address, [iter([box.session(kind, load) for _ in range(times)]) for box in mailboxes])
    load.seconds = time.perf_counter() - began
    return load
