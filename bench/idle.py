"""What connections cost that only stand there: ``python -m bench.idle``.

For each protocol, without TLS and with it, a server is started and a crowd connects to it, from many
addresses and within the limits that the server has by default, up to the last but one that it lets in.
Measured are the memory of one connection, how long a new session takes beside all of them, and the
processor time of the server while nobody says anything.

Exit status: 0 done; 1 something went wrong; 2 wrong usage.
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

FIRST = 20  # clients that are not counted: they bring in code
VISITS = 1000
SILENCE = 20.0  # seconds in which they are looked at
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
    """What the crowd connects to."""

    title: str
    protocol: str
    tls: str
    manners: Manners
    share: int  # of all connections, the part that there are of these: one in so many


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
    "a session alone, p50 / p99 ms",
    "the same beside them",
    "idle: CPU ms a second",
)


class IdleServer(Mailserver):
    """With a port for each kind, and limits for all clients but those at HOST."""

    def configuration(self) -> str:
        ports = [
            f'[[listen]]\nprotocol = "{kind.protocol}"\ntls = "{kind.tls}"\n'
            f'endpoint = "tcp:0:interface={HOST}"\n'
            for kind in KINDS
        ]
        return CONFIGURATION + "".join(ports)


def resident(pid: int) -> float:
    """KiB of memory that a process has (proc(5), statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1024


def percentiles(seconds: Sequence[float]) -> str:
    """The median and the 99th of 100, in milliseconds."""
    ordered = sorted(seconds)
    return " / ".join(f"{ordered[int(part * (len(ordered) - 1))] * 1000:.2f}" for part in (0.5, 0.99))


def row(kind: Kind, server: IdleServer, connections: int) -> list[str]:
    """The figures of one kind. Raises BenchError and OSError."""
    number = connections // kind.share - 1  # the last place is for the visitors
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
    """As :func:`row`, on a server of its own."""
    place_of_its_own = Path(tempfile.mkdtemp(prefix="bench-", dir=folder.absolute()))
    server = IdleServer(place_of_its_own, ())
    try:
        server.start()
        return row(kind, server, connections)
    finally:
        server.stop()
        shutil.rmtree(place_of_its_own)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description="What idle connections cost.")
    parser.add_argument("--connections", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--folder", type=Path, default=place.DEFAULT, help="on a disk (default: /var/tmp)")
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
