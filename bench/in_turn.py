"""Measures rows in turn on one server, several times, and prints the medians as a table."""

import argparse
import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

from . import place, pop3load
from .errors import BenchError
from .meter import NOISE, Figures
from .servers import Mailserver

ServerT = TypeVar("ServerT", bound=Mailserver)


def main(
    module: str,
    description: str,
    make_server: Callable[[Path], ServerT],
    titles: Sequence[str],
    run: Callable[[ServerT, str], Figures],
) -> int:
    """The command ``python -m bench.MODULE``. ``run`` measures the row with a title, and counts what it
    sends in ``sent`` of the server. Returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{module}", description=description)
    parser.add_argument("--repetitions", type=int, default=3, help="number of repetitions (default: 3)")
    parser.add_argument("--folder", type=Path, default=place.DEFAULT, help=place.HELP)
    chosen = parser.parse_args()
    if chosen.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    found: dict[str, list[Figures]] = {title: [] for title in titles}
    try:
        _measure(chosen.repetitions, chosen.folder, make_server, found, run)
    except (BenchError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    units = [unit for unit in found[titles[0]][0] if unit != NOISE]
    print(f"| | {' | '.join(units)} |\n|---|{'---:|' * len(units)}")
    for title, figures in found.items():
        cells = [f"{median(one[unit] for one in figures):,.2f}" for unit in units]
        print(f"| {title} | {' | '.join(cells)} |")
    return 0


def _measure(
    repetitions: int,
    folder: Path,
    make_server: Callable[[Path], ServerT],
    found: dict[str, list[Figures]],
    run: Callable[[ServerT, str], Figures],
) -> None:
    place_of_its_own = Path(tempfile.mkdtemp(prefix="bench-", dir=folder.absolute()))
    server = make_server(place_of_its_own)
    try:
        server.start()
        for repetition, title in itertools.product(range(repetitions), found):
            print(f"repetition {repetition + 1}: {title}", file=sys.stderr, flush=True)
            found[title].append(run(server, title))
        counts = pop3load.counts(server.pop3, server.users)
        if counts != server.sent:
            raise BenchError(f"{sum(server.sent.values())} messages were sent, STAT reports {counts}")
    finally:
        server.stop()
        shutil.rmtree(place_of_its_own)
