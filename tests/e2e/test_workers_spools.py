"""The spools of several workers: messages that another worker accepts, forwards, or leaves behind."""

import json
import os
import signal
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import Makes, Server, configuration
from tests.support.e2e.workers import wait_for_end, workers

pytestmark = pytest.mark.slow

TOP = "allow_root = true\nworkers = 3"
NOWHERE = '[relay]\nnetworks = ["127.0.0.0/8"]\nsmarthost = "127.0.0.1:1"\n'
LARGE = b"0123456789\r\n" * 50_000
ALICE, FAR = "alice@example.org", "dave@far.example"


@contextmanager
def without_worker_1(server: Server) -> Iterator[None]:
    """A stopped process accepts no connection, so that the others do."""
    pid = workers(server)[1]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it was killed
            os.kill(pid, signal.SIGCONT)


def kill_all(server: Server) -> None:
    running = workers(server)
    for pid in running.values():
        os.kill(pid, signal.SIGKILL)
    server.kill()
    for pid in running.values():
        wait_for_end(pid)


def send(server: Server, count: int) -> None:
    for number in range(count):
        with smtplib.SMTP(*server.smtp, timeout=30) as client:
            client.sendmail(SENDER, [ALICE], f"Subject: {number}\r\n\r\ntext\r\n")


def test_fewer_workers_after_all_were_killed(make_server: Makes) -> None:
    """Worker 1 takes over the messages of the others, and what was removed does not come back."""
    server = make_server(configuration(top=TOP)).start()
    alice = Mailbox(server, "alice")
    with without_worker_1(server):
        send(server, 10)
    with alice.login() as client:
        client.expect(b"DELE 1", b"+OK")
        client.expect(b"DELE 10", b"+OK")
        client.expect(b"QUIT", b"+OK")
    kept = alice.uids()
    assert len(kept) == 8
    with without_worker_1(server):
        send(server, 10)
        kill_all(server)
    server.configure(configuration(top="allow_root = true\nworkers = 1"))
    server.start()
    found = alice.uids()
    assert (found[:8], len(found)) == (kept, 18)
    assert sorted(path.name for path in (server.data / "spool").glob("worker-*")) == []
    for number in (2, 3):
        assert f"messages taken over from the spool of worker {number}, which does not" in server.log
    assert mailserver(server, "verify")[0] == 0


def test_messages_that_only_worker_1_can_accept(make_server: Makes) -> None:
    server = make_server(configuration(top=TOP, tables=NOWHERE)).start()
    with without_worker_1(server):
        sessions = [Smtp(server.smtp) for _ in range(4)]
        for session in sessions:
            session.begin(SENDER, ALICE, FAR)
    for session in sessions:
        assert session.ask(b"Subject: large\r\n\r\n" + LARGE + b".").startswith(b"250")
        session.close()
    assert len(Mailbox(server, "alice").uids()) == 4
    status, lines, _ = mailserver(server, "queue", "list", "--json")
    assert (status, len(json.loads("\n".join(lines)))) == (0, 4)
    assert [path.name for path in (server.data / "tmp").iterdir()] == []
