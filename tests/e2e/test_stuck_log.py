"""Nobody reads the log on standard output: the server serves on, and ends when it is told to."""

import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.corpus.messages import MESSAGES
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import ROUTES, Makes, Server, configuration, launch_twistd
from tests.support.runs import rest_slow

PIPE = 4096  # octets that wait in it, or a page if that is longer
COUNT = 80  # lines, each of more than 90 octets


class Stuck(Server):
    """Its standard output is a pipe that the test reads, or does not."""

    reader = -1

    def spawn(self) -> None:
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(self.command(), **self.surroundings(), stdout=writer, stderr=log)
        os.close(writer)

    def read(self) -> list[str]:
        """All that is there to be read until nothing comes for half a second."""
        os.set_blocking(self.reader, False)
        found, end = b"", time.monotonic() + 0.5
        while time.monotonic() < end:
            try:
                more = os.read(self.reader, 1 << 16)
            except BlockingIOError:
                time.sleep(0.01)
                continue
            if not more:
                break
            found, end = found + more, time.monotonic() + 0.5
        return found.decode().splitlines()


@pytest.fixture(params=rest_slow(["text", "json"]))
def stuck(request: pytest.FixtureRequest, make_server: Makes) -> Iterator[Server]:
    tables = f'{ROUTES}\n[log]\nformat = "{request.param}"\n[smtp]\nmax_errors = 0\n'
    made = make_server(launch=launch_twistd)
    server = Stuck(made.directory, configuration(tables=tables), launch_twistd)
    yield server.start()
    server.finish()
    os.close(server.reader)


def fill(server: Server) -> None:
    """Have many lines logged, which nobody reads; each of these is answered. A session logs its first."""
    for number in range(COUNT):
        with Smtp(server.smtp) as session:
            session.expect(b"EHLO client.example", b"250")
            session.expect(b"MAIL FROM:<>", b"250")
            session.expect(b"RCPT TO:<nobody%d@example.org>" % number, b"550")


def test_the_server_serves_on(stuck: Stuck) -> None:
    fill(stuck)
    alice = Mailbox(stuck, "alice")
    alice.fill(MESSAGES["plain"])
    assert len(alice.messages()) == 1
    lines = stuck.read()
    refused = [int(found[1]) for line in lines if (found := re.search(r"nobody(\d+)@", line))]
    assert sorted(refused) == [*range(COUNT)], "what waits for the reader is not lost"


@pytest.mark.slow
def test_it_ends_when_it_is_told_to(stuck: Stuck) -> None:
    fill(stuck)
    began = time.monotonic()
    stuck.signal(signal.SIGTERM)
    assert stuck.wait() == -signal.SIGTERM
    assert time.monotonic() - began < 15
