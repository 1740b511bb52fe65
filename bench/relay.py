"""Measures delivery to other servers beside many that are down: ``python -m bench.relay``.

A queue holds messages for many domains, all due. Most of the domains are dead: they refuse each
connection, or accept it and never say anything. The figures are the time from the start of the process
until it is ready, the messages per second that reach the live domains, and the memory of the server. The
first row is a queue with the messages for the live domains only.

The code of the server writes the queue, but without syncs. The live domains are one smtp-sink(1), which
discards the messages.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import argparse
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from mailserver.mail.queued import QueuedRecipient, remote_destination
from mailserver.queue.entries import InMemoryContent

from . import filling, place, processes
from .crowd import allow_descriptors
from .errors import BenchError
from .postfix_dovecot import program
from .servers import DOMAIN, HOST, START_SECONDS, Mailserver

SENDER = f"sender@{DOMAIN}"
CONTENT = InMemoryContent(b"Subject: it waits\r\n\r\n" + (b"x" * 70 + b"\r\n") * 50)
PATIENCE = 600.0  # seconds until the live domains have everything, at most
SESSIONS = 4000  # of the sink: idle connections are kept, at most 20 for each domain
BACKLOG = 50  # connections that a silent domain's port takes, before it does not even take those
HEAD = (
    "domains", "of them dead", "messages", "ready after s", "live messages per s", "resident MiB",
    "highest MiB",
)  # fmt: skip


@attrs.frozen
class Figures:
    """Seconds until ready, messages per second to live domains; resident memory in MiB, at the end and at its
    highest."""

    seconds: float
    speed: float
    resident: float
    highest: float


def _chosen(number: int, some: int, total: int) -> bool:
    """Whether a number below ``total`` is one of ``some`` numbers that are spread evenly."""
    return number * some // total != (number + 1) * some // total


@attrs.frozen
class World:
    """The domains. Each has an address of its own, so that each is another server to ours."""

    live: int
    dead: int

    def address(self, number: int) -> str:
        return f"127.{1 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"

    def domains(self) -> list[str]:
        """The names, the live ones spread among the dead."""
        total = self.live + self.dead
        return [
            f"{'live' if _chosen(number, self.live, total) else 'dead'}{number}.example"
            for number in range(total)
        ]


class RelayingMailserver(Mailserver):
    """Ours, with a route for each domain."""

    def __init__(self, folder: Path, routes: Sequence[tuple[str, str]]) -> None:
        super().__init__(folder, ["postmaster"])
        self._routes = routes

    def configuration(self) -> str:
        routes = ", ".join(f'"{domain}" = "{place}"' for domain, place in self._routes)
        return f"{super().configuration()}[relay]\nroutes = {{ {routes} }}\n"


def fill(path: Path, domains: Sequence[str], each: int) -> None:
    """Put so many messages for each domain into the spool at ``path``. Its server must not run."""
    now = time.time()

    def recipient(number: int) -> QueuedRecipient:
        domain = domains[number % len(domains)]
        to = f"user{number}@{domain}"
        return QueuedRecipient(1, remote_destination(domain), to, to, SENDER, b"", 0, now, ())

    filling.queue(path, len(domains) * each, SENDER, CONTENT, recipient)


def memory(pid: int, name: str) -> float:
    """A value of /proc/PID/status in MiB (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) / 1024
    raise BenchError(f"/proc/{pid}/status has no {name}")


@contextmanager
def sink(folder: Path) -> Iterator[tuple[int, Path]]:
    """A port that discards mail on all addresses, and the file with its counters."""
    path = program("smtp-sink")
    if path is None:
        raise BenchError("smtp-sink is not installed (Debian package postfix)")
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port = probe.getsockname()[1]
    log = folder / "sink.log"
    if problem := allow_descriptors(SESSIONS):
        raise BenchError(problem)
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = processes.spawn([path, *user, "-c", "-m", str(SESSIONS), f"0.0.0.0:{port}", "1000"], log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"smtp-sink did not start: {log.read_text(errors='replace').strip()}")
            time.sleep(0.02)
        yield port, log
    finally:
        processes.end(process, process.pid)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def counted(log: Path) -> int:
    """The messages that a sink has received."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 200))
        found = re.findall(rb"mesg=(\d+)", file.read())
    return int(found[-1]) if found else 0


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections, as long as it has room for them, and says nothing."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen(BACKLOG)
        yield listener.getsockname()[1]


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def measure(world: World, each: int, folder: Path, silent_ones: int = 0) -> Figures:
    """The figures with so many messages for each domain. Raises BenchError and OSError."""
    own = Path(tempfile.mkdtemp(prefix="bench-", dir=folder.absolute()))
    domains = world.domains()
    try:
        closed = closed_port()
        with sink(own) as (port, log), silent_port() as silent:
            # Spread as the live ones are.
            ports = iter(
                [silent if _chosen(n, silent_ones, world.dead) else closed for n in range(world.dead)]
            )
            routes = []
            for number, domain in enumerate(domains):
                chosen = port if domain.startswith("live") else next(ports)
                routes.append((domain, f"{world.address(number)}:{chosen}"))
            server = RelayingMailserver(own, routes)
            server.start()  # makes the spool
            server.stop()
            [path] = own.glob("**/spool/queue.db")
            fill(path, domains, each)
            before = counted(log)
            try:
                return _run(server, log, before, world.live * each)
            finally:
                server.stop()
    finally:
        shutil.rmtree(own)


def _run(server: Mailserver, log: Path, before: int, expected: int) -> Figures:
    began = time.monotonic()
    server.start()
    ready = time.monotonic()
    while (done := counted(log) - before) < expected:
        if time.monotonic() > ready + PATIENCE:
            raise BenchError(f"{done} of {expected} messages arrived in {PATIENCE:.0f} s")
        time.sleep(0.02)
    seconds = time.monotonic() - ready
    [pid] = server.roots()
    return Figures(ready - began, expected / seconds, memory(pid, "VmRSS"), memory(pid, "VmHWM"))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.relay", description="Measure delivery to other servers beside many dead ones."
    )
    add = parser.add_argument
    add("--domains", type=int, default=1000, help="number of domains (default: 1000)")
    add("--dead", type=int, default=900, help="number of dead ones among them (default: 900)")
    add("--silent", type=int, default=450, help="number of silent ones among the dead (default: 450)")
    add("--messages", type=int, default=100_000, help="number of queued messages (default: 100000)")
    add("--folder", type=Path, default=place.DEFAULT, help=place.HELP)
    chosen = parser.parse_args()
    if not 0 < chosen.dead < chosen.domains:
        parser.error("--dead must be at least 1 and less than --domains")
    if not 0 <= chosen.silent <= chosen.dead:
        parser.error("--silent must be at most the number of dead domains")
    if chosen.messages < chosen.domains:
        parser.error("--messages must be at least the number of domains")
    each = chosen.messages // chosen.domains
    live = chosen.domains - chosen.dead
    rows = [list(HEAD), ["---:" for _ in HEAD]]
    try:
        for world in (World(live, 0), World(live, chosen.dead)):
            found = measure(world, each, chosen.folder, min(chosen.silent, world.dead))
            total = world.live + world.dead
            rows.append(
                [
                    f"{total:,}", f"{world.dead:,}", f"{total * each:,}", f"{found.seconds:.2f}",
                    f"{found.speed:,.0f}", f"{found.resident:.1f}", f"{found.highest:.1f}",
                ]
            )  # fmt: skip
    except (BenchError, OSError) as error:
        print(f"python -m bench.relay: {error}", file=sys.stderr)
        return 1
    print("\n".join(f"| {' | '.join(cells)} |" for cells in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
