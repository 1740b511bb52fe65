"""Measures the time and the memory of a start with a long queue: ``python -m bench.queue``.

It starts a server with an empty queue, then one with many messages that wait for their next attempt, none of
them due. It measures the time and the processor time from the start of the process until the server is ready,
and its resident memory after the sweep of the content files, and at its highest.

The code of the server writes the queue, but without syncs. All messages have the same content, in files that
are links to each other. A million messages take some minutes.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import attrs

from mailserver.durable.calls import StrPath, SystemCalls
from mailserver.durable.disk import Disk
from mailserver.interfaces import QueuedMessage
from mailserver.mail.ids import new_id
from mailserver.mail.queued import LOCAL, FailedAttempt, QueuedRecipient
from mailserver.mail.verdict import MAILBOX_FULL
from mailserver.queue.entries import InMemoryContent
from mailserver.queue.sqlite.engine import SQLiteSpool

from . import place, processes
from .errors import BenchError
from .servers import DOMAIN, Mailserver

USER = "full"
CONTENT = InMemoryContent(b"Subject: it waits\r\n\r\n" + b"x" * 60 + b"\r\n")
TOGETHER = 5_000  # messages in one transaction
LATER, SPREAD = 3600.0, 7200.0  # seconds until the first message is due, and from then to the last one
SWEEP = 60.0  # seconds to wait for the sweep at most
QUIET = 0.05  # seconds of processor time in one second: the server is at rest
MEMORY = ("VmRSS", "VmHWM")
HEAD = ("waiting messages", "ready after s", "processor s", "resident MiB", "highest MiB")


class Unsynced(SystemCalls):
    """The system calls, without syncs."""

    def fsync(self, descriptor: int) -> None:
        pass


class OneFile(Disk):
    """Writes all files as links to the same file, as far as the file system allows."""

    def __init__(self) -> None:
        super().__init__(Unsynced())
        self._path: StrPath = ""

    def write_file(self, path: StrPath, chunks: Iterable[bytes], *, sync: bool = True) -> None:
        content = list(chunks)
        try:
            self.link(self._path, path)
        except OSError:  # the first one, or too many links
            super().write_file(path, content, sync=sync)
            self._path = path


@attrs.frozen
class Figures:
    """Seconds and processor seconds until ready; resident memory in MiB, at rest and at its highest."""

    seconds: float
    cpu: float
    resident: float
    highest: float


def fill(path: Path, messages: int) -> None:
    """Put messages into the spool at ``path``. Its server must not run."""
    engine = SQLiteSpool(path, OneFile())
    last = engine.open()
    now = time.time()
    failed = (FailedAttempt(now, MAILBOX_FULL, "the mailbox is full"),)
    address = f"{USER}@{DOMAIN}"
    for first in range(0, messages, TOGETHER):
        transaction = engine.begin()
        for number in range(first, min(first + TOGETHER, messages)):
            due = now + LATER + SPREAD * number / messages
            sender = f"sender{number}@client.example"
            message = QueuedMessage(last + number + 1, new_id(), now, sender, CONTENT.size, CONTENT)
            head = f"Return-Path: <{sender}>\r\nDelivered-To: {address}\r\n".encode()
            transaction.enqueue(
                message, [QueuedRecipient(1, LOCAL, address, address, sender, head, 1, due, failed)]
            )
        transaction.commit()
    engine.close()


def start(server: Mailserver) -> Figures:
    """Start the server, wait until it is at rest, and stop it. Raises BenchError and OSError."""
    began = time.monotonic()
    server.start()
    seconds = time.monotonic() - began
    [pid] = server.roots()
    cpu = used = processes.cpu([pid])
    end = time.monotonic() + SWEEP
    while time.monotonic() < end:
        time.sleep(1.0)
        before, used = used, processes.cpu([pid])
        if used - before < QUIET:
            break
    resident, highest = (memory(pid, name) for name in MEMORY)
    server.stop()
    return Figures(seconds, cpu, resident, highest)


def memory(pid: int, name: str) -> float:
    """A value of /proc/PID/status in MiB (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) / 1024
    raise BenchError(f"/proc/{pid}/status has no {name}")


def measure(messages: int, folder: Path) -> tuple[Figures, Figures]:
    """The figures with an empty queue, and with so many messages."""
    own = Path(tempfile.mkdtemp(prefix="bench-", dir=folder.absolute()))
    server = Mailserver(own, [USER])
    try:
        start(server)  # loads the program into the page cache
        empty = start(server)
        [path] = own.glob("**/spool/queue.db")
        fill(path, messages)
        return empty, start(server)
    finally:
        server.stop()
        shutil.rmtree(own)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.queue", description="Measure a start with a long queue."
    )
    parser.add_argument(
        "--messages", type=int, default=1_000_000, help="number of waiting messages (default: 1000000)"
    )
    parser.add_argument("--folder", type=Path, default=place.DEFAULT, help=place.HELP)
    chosen = parser.parse_args()
    if chosen.messages < 1:
        parser.error("--messages must be at least 1")
    try:
        empty, long = measure(chosen.messages, chosen.folder)
    except (BenchError, OSError) as error:
        print(f"python -m bench.queue: {error}", file=sys.stderr)
        return 1
    rows = [list(HEAD), ["---:" for _ in HEAD]]
    for count, one in ((0, empty), (chosen.messages, long)):
        rows.append(
            [
                f"{count:,}",
                f"{one.seconds:.2f}",
                f"{one.cpu:.2f}",
                f"{one.resident:.1f}",
                f"{one.highest:.1f}",
            ]
        )
    print("\n".join(f"| {' | '.join(cells)} |" for cells in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
