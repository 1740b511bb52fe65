"""The soak: attacks and honest clients on one server, and what came of it."""

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import attrs

from mailserver.control.channel import CommandFailed
from mailserver.control.client import ask
from tests.soak import attacks, honest
from tests.soak.honest import Waits
from tests.soak.stage import HONEST, LARGE, make_server
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Server

MOST_WAIT = 0.1  # seconds: of 99 in 100 NOOPs of an honest client
MOST_GROWTH = 10 * 1024 * 1024  # octets of memory, after the attack
# Seconds. Refused logins are answered up to 30 seconds later; free memory is returned when they are gone.
SETTLING = 90.0
WARMING = 120.0  # seconds of attack before the measure


@attrs.frozen
class Outcome:
    """What the soak found.

    ``start``, ``before``, ``most`` and ``after`` are the server's memory in octets: after the start, after
    the first attacks, at most, and at the end.
    """

    seconds: float
    waits: Waits
    begun: dict[str, int]
    lost: frozenset[str]
    start: int
    before: int
    most: int
    after: int
    dropped_lines: bool
    stop_seconds: float

    def problems(self, most_wait: float = MOST_WAIT, most_growth: int = MOST_GROWTH) -> list[str]:
        """The bounds that were not met: ``most_wait`` is that of the NOOPs, in seconds, ``most_growth`` in
        octets."""
        found = []
        wait = percentile(self.waits.noops, 99)
        if wait > most_wait:
            found.append(
                f"1 in 100 NOOPs waited longer than {wait * 1000:.0f} ms; allowed: {most_wait * 1000:.0f}"
            )
        if self.lost:
            found.append(f"{len(self.lost)} of {len(self.waits.accepted)} messages are lost")
        if not self.waits.accepted or not self.waits.logins:
            found.append("no honest client was served")
        if self.waits.troubles:
            found.append(
                f"honest clients were refused {len(self.waits.troubles)} times: {self.waits.troubles[:3]}"
            )
        if self.after - self.before > most_growth:
            found.append(f"memory grew by {(self.after - self.before) / 2**20:.1f} MiB")
        return found

    def table(self) -> str:
        """The figures, for people."""
        lines = [f"{self.seconds:.0f} s; attacks begun: {self.begun}"]
        for name in ("noops", "greetings", "messages", "logins"):
            waited = getattr(self.waits, name)
            shown = ", ".join(f"p{p:g} {percentile(waited, p) * 1000:.1f} ms" for p in (50, 99, 100))
            lines.append(f"{name}: {len(waited)}, {shown}")
        mib = ", ".join(
            f"{name} {getattr(self, name) / 2**20:.1f}" for name in ("start", "before", "most", "after")
        )
        lines.append(f"accepted {len(self.waits.accepted)}, lost {len(self.lost)}; memory in MiB: {mib}")
        lines.append(f"log lines dropped: {self.dropped_lines}; stopped in {self.stop_seconds:.1f} s")
        return "\n".join(lines)


def percentile(values: list[float], percent: float) -> float:
    """The value that ``percent`` of the values do not exceed; infinite without values."""
    if not values:
        return float("inf")
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def memory(server: Server, field: str = "VmRSS") -> int:
    """Octets of the server's memory (proc(5))."""
    [line] = [line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if field in line]
    return int(line.split()[1]) * 1024


def soak(place: Path, seconds: float) -> Outcome:
    """Start a server in ``place``, attack it for so long, and look."""
    server = make_server(place)
    try:
        server.start()
        aim = attacks.Aim(server.smtp, server.pop3, server.data)
        start = warm_up(server, aim)
        attack(aim, min(WARMING, seconds))
        time.sleep(SETTLING)
        before = memory(server)
        waits, begun = attack(aim, seconds)
        time.sleep(SETTLING)
        after = memory(server)
        most = memory(server, "VmHWM")
        found = b"".join(Mailbox(server, HONEST).messages())
        lost = frozenset(each for each in waits.accepted if each.encode() not in found)
        began = time.monotonic()
        server.stop()
        stopped = time.monotonic() - began
    finally:
        server.finish()
    dropped = "dropped" in server.log
    return Outcome(seconds, waits, begun, lost, start, before, most, after, dropped, stopped)


def attack(aim: attacks.Aim, seconds: float) -> tuple[Waits, dict[str, int]]:
    """All attacks at once beside honest clients: how long these waited, and how often each attack began."""
    end = time.monotonic() + seconds
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        attacking = pool.submit(attacks.run, aim, end)
        waits = asyncio.run(honest.run(aim, end))
        return waits, attacking.result(120)


def warm_up(server: Server, aim: attacks.Aim) -> int:
    """Each kind of honest work once; the server's memory in octets after it.

    The first attacks follow. They fill tables and caches of limited size. Python keeps the memory of a large
    mailbox's scan for the next one, except for 1 MiB at a time that nothing else lies in.
    """
    asyncio.run(honest.run(aim, time.monotonic() + 3))
    for request in ({"command": "reload"}, {"command": "account disable", "address": "n0@example.org"}):
        with suppress(CommandFailed):
            ask(aim.data, request)
    for name in (HONEST, *LARGE):
        with Mailbox(server, name).login() as session:
            session.multi(b"LIST")
            session.multi(b"UIDL")
            session.expect(b"QUIT", b"+OK")
    return memory(server)
