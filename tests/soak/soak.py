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
SETTLING = 20.0  # seconds that the server has to give memory back


@attrs.frozen
class Outcome:
    """What the soak found. ``before`` and ``after`` are the server's memory in octets."""

    seconds: float
    waits: Waits
    begun: dict[str, int]
    lost: frozenset[str]
    before: int
    most: int
    after: int
    dropped_lines: bool
    stop_seconds: float

    def problems(self, most_growth: int = MOST_GROWTH) -> list[str]:
        """What must not be; empty if all is well. ``most_growth`` is in octets."""
        found = []
        wait = percentile(self.waits.noops, 99)
        if wait > MOST_WAIT:
            found.append(
                f"1 in 100 NOOPs waited longer than {wait * 1000:.0f} ms; allowed: {MOST_WAIT * 1000:.0f}"
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
        mib = ", ".join(f"{octets / 2**20:.1f}" for octets in (self.before, self.most, self.after))
        lines.append(
            f"accepted {len(self.waits.accepted)}, lost {len(self.lost)}; MiB before, most, after: {mib}"
        )
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
        warm_up(server, aim)
        before = memory(server)
        end = time.monotonic() + seconds
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            attacking = pool.submit(attacks.run, aim, end)
            waits = asyncio.run(honest.run(aim, end))
            begun = attacking.result(120)
        after = settled(server, before)
        most = memory(server, "VmHWM")
        found = b"".join(Mailbox(server, HONEST).messages())
        lost = frozenset(each for each in waits.accepted if each.encode() not in found)
        began = time.monotonic()
        server.stop()
        stopped = time.monotonic() - began
    finally:
        server.finish()
    dropped = "dropped" in server.log
    return Outcome(seconds, waits, begun, lost, before, most, after, dropped, stopped)


def warm_up(server: Server, aim: attacks.Aim) -> None:
    """Each kind of honest work once: what it takes is no growth by an attack."""
    asyncio.run(honest.run(aim, time.monotonic() + 3))
    for request in ({"command": "reload"}, {"command": "account disable", "address": "n0@example.org"}):
        with suppress(CommandFailed):
            ask(aim.data, request)
    for name in (HONEST, *LARGE):
        with Mailbox(server, name).login() as session:
            session.multi(b"LIST")
            session.multi(b"UIDL")
            session.expect(b"QUIT", b"+OK")


def settled(server: Server, before: int) -> int:
    """The server's memory when it is back, or after :data:`SETTLING` seconds."""
    end = time.monotonic() + SETTLING
    while (now := memory(server)) - before > MOST_GROWTH and time.monotonic() < end:
        time.sleep(1)
    return now
