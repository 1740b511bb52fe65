"""The POP3 clients of the benchmark notice wrong replies: sessions played with replies from a table."""

import pytest

from bench.errors import BenchError
from bench.pop3load import Kind, Load, Mailbox
from bench.postfix_dovecot import TunedPostfixDovecot
from bench.scale import SCALES
from bench.servers import Mailserver
from bench.table import Run, medians, rows
from bench.workloads import WORKLOADS

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
REPLIES = {
    b"": b"+OK ready\r\n",
    b"USER": b"+OK\r\n",
    b"PASS": b"+OK\r\n",
    b"STAT": b"+OK 2 40\r\n",
    b"LIST": b"+OK 2 messages\r\n1 20\r\n2 20\r\n.\r\n",
    b"UIDL": b"+OK\r\n1 a\r\n2 b\r\n.\r\n",
    b"RETR": b"+OK 20 octets\r\n" + MESSAGE + b".\r\n",
    b"DELE": b"+OK\r\n",
    b"QUIT": b"+OK\r\n",
}


def play(kind: Kind, **other: bytes) -> tuple[list[bytes], Load]:
    """One session on a mailbox of two messages: its commands, and what it noted."""
    replies = {**REPLIES, **{name.encode(): reply for name, reply in other.items()}}
    load = Load()
    session = Mailbox("box", 2).session(kind, load)
    said = [next(session)]
    while True:
        reply = replies[said[-1][:4]]
        try:
            said.append(session.send((reply, len(reply))))
        except StopIteration:
            return said, load


def test_commands() -> None:
    said, load = play(Kind.DRAIN)
    asked = [b"STAT", b"LIST", b"RETR 1", b"DELE 1", b"RETR 2", b"DELE 2", b"QUIT"]
    assert [line.strip() for line in said[3:]] == asked
    assert load.octets == 40
    assert len(load.latencies) == 2


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (Kind.CHECK, {"STAT": b"+OK 3 40\r\n"}),
        (Kind.CHECK, {"STAT": b"+OK 2 41\r\n"}),
        (Kind.CHECK, {"LIST": b"+OK\r\n1 20\r\n.\r\n"}),
        (Kind.CHECK, {"LIST": b"+OK\r\n1 20\r\n3 20\r\n.\r\n"}),
        (Kind.CHECK, {"UIDL": b"+OK\r\n1 a\r\n2 a\r\n.\r\n"}),
        (Kind.RETRIEVE, {"RETR": b"+OK\r\n" + MESSAGE + b"\r\n.\r\n"}),
        (Kind.DRAIN, {"RETR": b"+OK\r\n.\r\n"}),
    ],
)
def test_wrong_replies(kind: Kind, other: dict[str, bytes]) -> None:
    play(kind)
    with pytest.raises(BenchError):
        play(kind, **other)


def test_p99() -> None:
    assert Load(latencies=[number / 1000 for number in range(1000, 0, -1)]).p99() == pytest.approx(990)


def test_medians_and_a_server_that_failed() -> None:
    idle = [workload for workload in WORKLOADS if workload.name == "idle"]
    runs = [
        Run(number, "mailserver", "idle", {"KiB a connection": value})
        for number, value in enumerate([9.0, 1234.5, 12.34], 1)
    ]
    assert medians(runs, "idle", "mailserver") == {"KiB a connection": 12.34}
    title = "idle SMTP connections after EHLO, 20"
    assert list(rows(runs, idle, [Mailserver, TunedPostfixDovecot], SCALES["tiny"])) == [
        ["workload", "unit", "mailserver", "the same, tuned"],
        [title, "KiB a connection", "12.3", "failed"],
    ]
