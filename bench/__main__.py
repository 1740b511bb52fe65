"""``python -m bench``: the command line, the sequence of the runs, the output.

Exit status: 0 done; 1 a workload failed, a message was lost or duplicated, or a program is missing; 2 wrong
usage.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import attrs

from . import place
from .errors import BenchError
from .postfix_dovecot import PostfixDovecot, TunedPostfixDovecot, program
from .scale import SCALES, Scale
from .servers import HashedMailserver, Mailserver, Server
from .table import Run, medians, noise, table
from .workloads import WORKLOADS, Workload, users, verify

SERVERS: tuple[type[Server], ...] = (Mailserver, HashedMailserver, PostfixDovecot, TunedPostfixDovecot)


class Parser(argparse.ArgumentParser):
    """Reports wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m bench",
        description="Measure the speed of mail servers with the same work, and print a table of medians.",
    )
    names, servers = [one.name for one in WORKLOADS], [one.name for one in SERVERS]
    add = parser.add_argument
    add("--list", action="store_true", help="list the workloads and exit")
    add("--workload", action="append", choices=names, help="run only this workload; may be repeated")
    add("--server", action="append", choices=servers, help="run only this server; may be repeated")
    add("--scale", choices=SCALES, default="full", help="amount of work (default: full)")
    add("--repetitions", type=int, default=3, metavar="N", help="number of repetitions (default: 3)")
    add("--folder", type=Path, default=place.DEFAULT, metavar="DIR", help=place.HELP)
    add("--json", type=Path, metavar="FILE", help="write the figures of each repetition to this file")
    chosen = parser.parse_args(words)
    if chosen.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    if not chosen.folder.is_dir():
        parser.error(f"--folder: there is no folder {chosen.folder}")
    if chosen.json and (chosen.json.is_dir() or not chosen.json.absolute().parent.is_dir()):
        parser.error(f"--json: {chosen.json} cannot be a file")
    return chosen


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def available(wanted: Sequence[str] | None) -> list[type[Server]]:
    """The servers to measure. Raises BenchError if a requested one cannot be started."""
    found = []
    for server in SERVERS:
        if server.name not in wanted if wanted else not server.usual:
            continue
        if (obstacle := server.obstacle()) is None:
            found.append(server)
        elif wanted:
            raise BenchError(f"{server.name}: {obstacle}")
        else:
            say(f"{server.name} is left out: {obstacle}")
    return found


def measure(
    kind: type[Server], workloads: Sequence[Workload], scale: Scale, folder: Path, repetition: int
) -> tuple[list[Run], list[str]]:
    """Run all workloads on a new server. Returns the runs and the errors."""
    runs: list[Run] = []
    errors: list[str] = []
    place_of_its_own = Path(tempfile.mkdtemp(prefix="bench-", dir=folder.absolute()))
    # servers that drop privileges must be able to open their files
    place_of_its_own.chmod(0o755)
    server = kind(place_of_its_own, users(scale))
    try:
        server.start()
        for workload in workloads:
            say(f"repetition {repetition}: {server.name}: {workload.name}")
            try:
                runs.append(Run(repetition, server.name, workload.name, workload.run(server, scale)))
            except (BenchError, OSError) as error:
                errors.append(f"{server.name}: {workload.name}: {error}")
        # no message came late, twice, or back after its removal
        verify(server, list(server.sent))
    except (BenchError, OSError) as error:
        errors.append(f"{server.name}: {error}")
    finally:
        try:
            server.stop()
        except BenchError as error:
            errors.append(f"{server.name}: {error}")
        shutil.rmtree(place_of_its_own)
    return runs, errors


def run(words: Sequence[str]) -> int:
    """The exit status. Raises BenchError."""
    chosen = arguments(words)
    scale = SCALES[chosen.scale]
    workloads = [one for one in WORKLOADS if not chosen.workload or one.name in chosen.workload]
    if chosen.list:
        for workload in workloads:
            print(f"{workload.name:15} {workload.title(scale)}")
        return 0
    if program("smtp-source") is None:
        raise BenchError("smtp-source is not installed (Debian package postfix)")
    servers = available(chosen.server)
    if place.file_system(chosen.folder) in place.MEMORY:
        say(f"warning: {chosen.folder} is in memory, where a sync costs nothing; choose a disk with --folder")
    facts = [place.describe(chosen.folder), *dict.fromkeys(server.version() for server in servers)]
    runs: list[Run] = []
    errors: list[str] = []
    for repetition in range(1, chosen.repetitions + 1):
        for server in servers:
            more, wrong = measure(server, workloads, scale, chosen.folder, repetition)
            runs += more
            errors += wrong
            for error in wrong:
                say(f"error: {error}")
    print(f"{'; '.join(facts)}. Medians of {chosen.repetitions}, scale {chosen.scale}.\n")
    print(f"{table(runs, workloads, servers, scale)}\n\n{noise(runs)}")
    if chosen.json:
        report = {
            "facts": facts,
            "scale": {"name": chosen.scale, **attrs.asdict(scale)},
            "runs": [attrs.asdict(one) for one in runs],
            "medians": {
                one.name: {server.name: medians(runs, one.name, server.name) for server in servers}
                for one in workloads
            },
            "errors": errors,
        }
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if errors else 0


def main() -> int:
    # SIGTERM also stops the servers and removes the folders
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run(sys.argv[1:])
    except BenchError as error:
        say(f"python -m bench: {error}")
        return 1
    except KeyboardInterrupt:
        say("python -m bench: interrupted")
        return 128 + signal.SIGINT


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
