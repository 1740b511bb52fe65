"""Measures the cost of idle connections: ``python -m bench.idle``.

For each protocol, without and with TLS, it starts a server and connects many clients from many addresses,
all but one of those that the default limits allow. It measures the memory of a connection, the duration of a
new session beside the idle ones, and the processor time of the server while all are silent.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from . import place, processes
from .crowd import POP3, SMTP, Crowd, Manners, allow_descriptors, unverified
from .errors import BenchError
from .servers import DOMAIN, HOST, PASSWORD, Mailserver

FIRST = 20  # clients that are not counted, because the server loads code for them
VISITS = 1000
SILENCE = 20.0  # seconds of the measurement without traffic
PAGE = os.sysconf("SC_PAGE_SIZE")
CONFIGURATION = f"""
hostname = "mail.{DOMAIN}"
data = "data"
domains = ["{DOMAIN}"]
allow_root = true
[limits]
exempt = ["{HOST}"]
[tls]
generate = true
[pop3]
plaintext_auth = "loopback"
[[account]]
address = "nobody"
password = "{PASSWORD}"
"""


@attrs.frozen
class Kind:
    """One kind of connection."""

    title: str
    protocol: str
    tls: str
    manners: Manners
    share: int  # the number of connections is divided by this


KINDS = (
    Kind("SMTP, after EHLO", "smtp", "none", SMTP, 1),
    Kind("POP3, after USER", "pop3", "none", POP3, 1),
    Kind("SMTP with TLS, after EHLO", "submission", "implicit", SMTP, 5),
    Kind("POP3 with TLS, after USER", "pop3", "implicit", POP3, 5),
)
HEAD = (
    "",
    "connections",
    "KiB each",
    "session alone, p50 / p99 ms",
    "beside the idle connections",
    "idle: CPU ms a second",
)


class IdleServer(Mailserver):
    """A server with a port for each kind, and limits for all clients except those at HOST."""

    def configuration(self) -> str:
        ports = [
            f'[[listen]]\nprotocol = "{kind.protocol}"\ntls = "{kind.tls}"\n'
            f'endpoint = "tcp:0:interface={HOST}"\n'
            for kind in KINDS
        ]
        return CONFIGURATION + "".join(ports)


def resident(pid: int) -> float:
    """The resident memory of a process in KiB (proc(5), statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1024


def percentiles(seconds: Sequence[float]) -> str:
    """The median and the 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return " / ".join(f"{ordered[int(part * (len(ordered) - 1))] * 1000:.2f}" for part in (0.5, 0.99))


def row(kind: Kind, server: IdleServer, connections: int) -> list[str]:
    """The figures of one kind. Raises BenchError and OSError."""
    number = connections // kind.share - 1  # the last place is for the new sessions
    [pid] = server.roots()
    context = unverified() if kind.tls != "none" else None
    with Crowd(server.port(kind.protocol, kind.tls), kind.manners, context) as crowd:
        crowd.grow(FIRST)
        alone = crowd.visits(VISITS)
        before = resident(pid)
        crowd.grow(number - FIRST)
        each = (resident(pid) - before) / (number - FIRST)
        beside = crowd.visits(VISITS)
        used = processes.cpu([pid])
        time.sleep(SILENCE)
        idle = (processes.cpu([pid]) - used) * 1000 / SILENCE
        crowd.check()
    return [
        kind.title,
        f"{number:,}",
        f"{each:.1f}",
        percentiles(alone),
        percentiles(beside),
        f"{idle:.1f}",
    ]


def measure(kind: Kind, connections: int, folder: Path) -> list[str]:
    """Like :func:`row`, on a new server."""
    place_of_its_own = Path(tempfile.mkdtemp(prefix="bench-", dir=folder.absolute()))
    server = IdleServer(place_of_its_own, ())
    try:
        server.start()
        return row(kind, server, connections)
    finally:
        server.stop()
        shutil.rmtree(place_of_its_own)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.idle", description="Measure the cost of idle connections."
    )
    parser.add_argument(
        "--connections", type=int, default=10_000, help="number of connections (default: 10000)"
    )
    parser.add_argument("--folder", type=Path, default=place.DEFAULT, help=place.HELP)
    chosen = parser.parse_args()
    if not KINDS[-1].share * FIRST * 2 < chosen.connections <= 10_000:
        parser.error("--connections must be at most 10000, the server's default limit, and at least 201")
    try:
        if problem := allow_descriptors(chosen.connections):
            raise BenchError(problem)
        rows = [list(HEAD), *(measure(kind, chosen.connections, chosen.folder) for kind in KINDS)]
    except (BenchError, OSError) as error:
        print(f"python -m bench.idle: {error}", file=sys.stderr)
        return 1
    rows.insert(1, ["---", *("---:" for _ in HEAD[1:])])
    print("\n".join(f"| {' | '.join(cells)} |" for cells in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
