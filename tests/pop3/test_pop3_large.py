"""Large maildrops: what is asked of all messages is answered in pieces, and RSET counts nothing again."""

import tracemalloc
from collections.abc import Callable, Sequence

import pytest

from mailserver.mail.snapshot import Snapshot
from mailserver.pop3.maildrop import PIECE
from mailserver.pop3.session import POP3Session
from mailserver.sasl.steps import Granted
from mailserver.session.events import OutputFull
from mailserver.session.output import MAX_OCTETS
from tests.support.pop3 import SETTINGS

UID = "1700000000.M000001P1Q{}R0123456789ab.mail.example.org"
LONGEST = 80  # octets of a line


class Counted(Snapshot):
    """Counts the messages that are looked at."""

    looked_at = 0

    def uids(self, start: int, stop: int) -> Sequence[str]:
        self.looked_at += min(stop, len(self)) - start
        return super().uids(start, stop)

    def sizes(self, start: int, stop: int) -> Sequence[int]:
        self.looked_at += min(stop, len(self)) - start
        return super().sizes(start, stop)

    def size(self, index: int) -> int:
        self.looked_at += 1
        return super().size(index)

    def __iter__(self):
        raise AssertionError("each message is looked at")


def snapshot(count: int, kind: Callable[..., Snapshot] = Snapshot) -> Snapshot:
    return kind([UID.format(number) for number in range(1, count + 1)], range(count))


def session(messages: Snapshot) -> POP3Session:
    found = POP3Session(SETTINGS)
    found.receive(b"USER mrose\r\nPASS secret\r\n")
    for answer in (Granted("mrose@example.org"), messages):
        assert found.next_event() is not None
        found.answer(answer)
    found.take_output()
    return found


def pieces(session: POP3Session, commands: bytes) -> list[bytes]:
    """What is said between one event and the next."""
    session.receive(commands)
    said = []
    while (event := session.next_event()) is not None:
        assert isinstance(event, OutputFull)
        said.append(session.take_output())
    return [*said, session.take_output()]


@pytest.mark.parametrize("count", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 7])
@pytest.mark.parametrize("command", ["LIST", "UIDL"])
def test_lists_are_whole(count: int, command: str) -> None:
    """Without what is marked, and in step with the commands around them."""
    served = session(snapshot(count))
    marked = [number for number in (1, PIECE, PIECE + 1, count) if 1 <= number <= count]
    pieces(served, b"".join(b"DELE %d\r\n" % number for number in marked))
    said = b"".join(pieces(served, f"NOOP\r\n{command}\r\n{command}\r\nLAST\r\n".encode())).decode()
    present = [number for number in range(1, count + 1) if number not in marked]
    values = {number: number - 1 if command == "LIST" else UID.format(number) for number in present}
    body = "".join(f"{number} {value}\r\n" for number, value in values.items()) + ".\r\n"
    first, heading, rest = said.split("\r\n", 2)
    assert (first, heading[:4]) == ("+OK", "+OK ")
    assert rest == f"{body}{heading}\r\n{body}+OK {max(marked, default=0)}\r\n"


@pytest.mark.parametrize("count", [1, PIECE, PIECE + 1])
@pytest.mark.parametrize("command", ["LIST", "UIDL"])
def test_lists_of_sessions_with_the_same_messages(count: int, command: str) -> None:
    """Each session lists its own view of them, whatever another one has marked."""
    messages = snapshot(count)

    def lists(*commands: str) -> list[str]:
        said = b"".join(pieces(session(messages), "".join(f"{each}\r\n" for each in commands).encode()))
        return said.decode().split("\r\n.\r\n")[:-1]

    values = [number - 1 if command == "LIST" else UID.format(number) for number in range(1, count + 1)]
    lines = [f"{number} {value}" for number, value in enumerate(values, 1)]
    for whole, rest in (lists(command, "DELE 1", command), lists("DELE 1", command, "RSET", command)[::-1]):
        assert whole.split("\r\n")[-count:] == lines
        assert [line for line in rest.split("\r\n") if line[0] != "+"] == lines[1:]
    (again,) = lists(command)
    assert again.split("\r\n")[1:] == lines


@pytest.mark.parametrize(("command", "least"), [(b"LIST\r\n", 16), (b"UIDL\r\n", 50)])
def test_lists_come_in_pieces(command: bytes, least: int) -> None:
    """Between two of them the session gives way; 100,000 messages are never one reply."""
    messages = snapshot(100_000, Counted)
    served = session(messages)
    served.receive(command)
    events, event = 0, OutputFull()
    while event is not None:
        before = messages.looked_at  # type: ignore[attr-defined]
        event = served.next_event()
        said = served.take_output()
        events += 1
        assert messages.looked_at - before <= MAX_OCTETS // len(b"1 1\r\n")  # type: ignore[attr-defined]
        assert len(said) < MAX_OCTETS + PIECE * LONGEST
    assert events >= least
    assert messages.looked_at == 100_000
    assert said.endswith(b"\r\n.\r\n")


@pytest.mark.parametrize(
    "commands",
    [
        b"RSET\r\n" * 2000,
        b"STAT\r\n" * 2000,
        b"DELE 1\r\nRSET\r\n" * 1000,
        b"DELE 1\r\nDELE 100000\r\nRSET\r\nLAST\r\n" * 500,
        b"RSET\r\nLIST 7\r\n" * 1000,
    ],
)
def test_no_command_looks_at_all_messages(commands: bytes) -> None:
    messages = snapshot(100_000, Counted)
    said = b"".join(pieces(session(messages), commands))
    assert said.count(b"\r\n") == commands.count(b"\r\n")
    assert b"-ERR" not in said
    assert messages.looked_at <= 1000  # type: ignore[attr-defined]


def test_rset_counts_what_was_marked() -> None:
    served = session(snapshot(3))
    said = pieces(served, b"DELE 2\r\nDELE 3\r\nSTAT\r\nRSET\r\nSTAT\r\nLAST\r\n")
    assert b"".join(said).splitlines()[2:] == [
        b"+OK 1 0",
        b"+OK maildrop has 3 messages (3 octets)",
        b"+OK 3 3",
        b"+OK 0",
    ]


def test_a_session_that_ends_within_a_list() -> None:
    served = session(snapshot(50_000))
    served.receive(b"UIDL\r\nQUIT\r\n")
    assert isinstance(served.next_event(), OutputFull)
    served.disconnect()
    assert served.next_event() is None


def test_a_snapshot_is_packed() -> None:
    count = 20_000
    uids = [UID.format(number) for number in range(count)]
    tracemalloc.start()
    kept = Snapshot(uids, range(count))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == count
    assert used / count < len(UID) + 30
