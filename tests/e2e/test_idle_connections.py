"""10,000 connections of one process that only stand there, within the limits that it has by default.

``python -m bench.idle`` has the same crowd, and figures instead of bounds.
"""

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.crowd import POP3, SMTP, VISITOR, Crowd, allow_descriptors, connect, sources, unverified
from bench.idle import resident
from tests.support.corpus.messages import MESSAGES
from tests.support.e2e.dialogue import HOSTNAME
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.processes import cpu_seconds, descriptors, processes
from tests.support.e2e.programs import missing
from tests.support.e2e.server import BOTH, Makes, Server, configuration, wait_until
from tests.support.tls_material import make_ca

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/statm").exists(),
        reason="the memory of another process, and many addresses of one's own, are there on Linux alone",
    ),
]

CONNECTIONS = 10_000  # limits.connections, if nothing else is configured
MOST_PLAIN, MOST_TLS = 12, 64  # KiB for each
SLOWEST = 0.5  # seconds, on a machine that does much else
LOOKING = 1.5  # seconds
IDLE = 0.05  # of one core


@pytest.fixture
def server(make_server: Makes, tmp_path: Path) -> Iterator[Server]:
    """It counts all clients but those at 127.0.0.1."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if problem := allow_descriptors(CONNECTIONS):
        missing(problem)
    issued = make_ca(tmp_path).issue(HOSTNAME)
    tables = f"""
[tls]
certificate = "{issued.certificate}"
private_key = "{issued.private_key}"
[limits]
exempt = ["127.0.0.1"]
"""
    listen = (*((*port, "none") for port in BOTH), ("submission", BOTH[0][1], "implicit"))
    try:
        yield make_server(configuration(listen=listen, tables=tables)).start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.one_process("the place of a client that leaves is free for other workers a moment later")
def test_ten_thousand(server: Server) -> None:
    before = descriptors(server)
    places = sources()
    smtp = Crowd(server.smtp, SMTP, None, places)
    pop3 = Crowd(server.pop3, POP3, None, places)
    tls = Crowd(server.address("submission"), SMTP, unverified(), places)
    with smtp, pop3, tls:
        for crowd, number, most in (
            (smtp, 6_000, MOST_PLAIN),
            (pop3, 3_000, MOST_PLAIN),
            (tls, CONNECTIONS - 9_000 - 1, MOST_TLS),
        ):
            crowd.grow(20)  # these bring in code
            held = sum(map(resident, processes(server)))
            crowd.grow(number - 20)
            each = (sum(map(resident, processes(server))) - held) / (number - 20)
            assert 1 < each < most, f"{each:.1f} KiB for each of {number} connections"
        # There is one place left, and one session after another takes it.
        assert descriptors(server) >= CONNECTIONS - 1
        for crowd in (smtp, pop3, tls):
            slow = sorted(crowd.visits(200))[-2:]
            assert slow[0] < SLOWEST, f"the slowest of 200 sessions took {slow} s"
        used, began = cpu_seconds(server), time.monotonic()
        time.sleep(LOOKING)
        used, passed = cpu_seconds(server) - used, time.monotonic() - began
        assert used < IDLE * passed, f"{used:.2f} s of CPU time in {passed:.2f} s, with nothing to do"
        smtp.grow(1)
        with connect(server.smtp, VISITOR) as late:
            assert late.recv(100) == b"421 4.7.0 too many connections; please try again later\r\n"
        # Whoever is exempt is not counted.
        Mailbox(server, "alice").fill(MESSAGES["plain"])
        for crowd in (smtp, pop3, tls):
            crowd.check()
    wait_until(lambda: descriptors(server) <= before + 5, "the descriptors to be closed")
    smtp.visits(1)
