"""Measures what this machine allows: ``python -m bench.limit``.

A small C program (limit.c) makes the system calls of this server for each message and nearly nothing else. It
serves the same load in turn with this server. Its figures are the limit of the disk, the kernel and the load
generators on this machine: no server with the same promise is much faster here.

Exit status: 0 done; 1 failed; 2 wrong usage.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import place
from .__main__ import Parser, measure, say
from .errors import BenchError
from .meter import Figures, Meter
from .postfix_dovecot import program
from .scale import SCALES, SMALL, Scale
from .servers import START_SECONDS, Mailserver, Server
from .smtpload import send
from .table import Run, noise, table
from .workloads import FEW, WORKLOADS, Workload, verify

SOURCE = Path(__file__).with_name("limit.c")
COMPILER = "cc"
NAMES = ("receive-1", "receive-many", "receive-shared", "receive-large", "pop3-retr", "pop3-drain")


class BareProgram(Server):
    """The C program, built for this run."""

    name = "limit"
    title = "bare C program"

    @classmethod
    def obstacle(cls) -> str | None:
        if shutil.which(COMPILER) is None:
            return f"{COMPILER} is not installed (Debian packages gcc and libc6-dev)"
        return None

    @classmethod
    def version(cls) -> str:
        return "limit.c"

    def start(self) -> None:
        binary, ports = self.folder / "limit", self.folder / "ports"
        command = [COMPILER, "-O2", "-pthread", "-o", str(binary), str(SOURCE)]
        built = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if built.returncode:
            raise BenchError(f"{COMPILER}: {built.stderr.strip()}")
        ports.unlink(missing_ok=True)
        process = self.spawn(str(binary), str(self.folder), "0", "0")
        deadline = time.monotonic() + START_SECONDS
        while not (ports.exists() and ports.read_text().endswith("\n")):
            if process.poll() is not None or time.monotonic() > deadline:
                raise self.failure()
            time.sleep(0.02)
        smtp, pop3 = map(int, ports.read_text().split())
        self.smtp, self.pop3 = (self.smtp[0], smtp), (self.pop3[0], pop3)
        self.wait_for_greetings()

    def maildir(self, user: str) -> Path:
        return self.folder / "mail" / user


def receive_in_turn(server: Server, scale: Scale) -> Figures:
    """One connection, one message after another."""
    user, messages = FEW[0], scale.messages // 4
    with Meter(server) as meter:
        seconds = send(server, [user], messages, SMALL, 1, stay=True)
    verify(server, [user])
    return {"delivered/s": messages / seconds, **meter.figures("message", messages)}


IN_TURN = Workload(
    "receive-in-turn", lambda scale: "receive 4 KiB, 1 connection, one message at a time", receive_in_turn
)
CHOICES = (IN_TURN, *(one for one in WORKLOADS if one.name in NAMES))
SERVERS: tuple[type[Server], ...] = (Mailserver, BareProgram)


def run() -> int:
    """The exit status. Raises BenchError."""
    parser = Parser(prog="python -m bench.limit", description="Measure what this machine allows.")
    add = parser.add_argument
    names = [one.name for one in CHOICES]
    add("--workload", action="append", choices=names, help="run only this workload; may be repeated")
    add("--scale", choices=SCALES, default="full", help="amount of work (default: full)")
    add("--repetitions", type=int, default=3, metavar="N", help="number of repetitions (default: 3)")
    add("--folder", type=Path, default=place.DEFAULT, metavar="DIR", help=place.HELP)
    chosen: argparse.Namespace = parser.parse_args()
    if chosen.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    if not chosen.folder.is_dir():
        parser.error(f"--folder: there is no folder {chosen.folder}")
    if program("smtp-source") is None:
        raise BenchError("smtp-source is not installed (Debian package postfix)")
    if (obstacle := BareProgram.obstacle()) is not None:
        raise BenchError(obstacle)
    if place.file_system(chosen.folder) in place.MEMORY:
        say(f"warning: {chosen.folder} is in memory, where a sync costs nothing; choose a disk with --folder")
    workloads = [one for one in CHOICES if not chosen.workload or one.name in chosen.workload]
    scale = SCALES[chosen.scale]
    runs: list[Run] = []
    failed = False
    for repetition in range(1, chosen.repetitions + 1):
        for server in SERVERS:
            more, errors = measure(server, workloads, scale, chosen.folder, repetition)
            runs += more
            for error in errors:
                failed = True
                say(f"error: {error}")
    print(f"{table(runs, workloads, SERVERS, scale)}\n\n{noise(runs)}")
    return int(failed)


def main() -> int:
    try:
        return run()
    except (BenchError, OSError) as error:
        print(f"python -m bench.limit: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
