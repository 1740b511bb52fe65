"""The table of medians, in Markdown."""

from collections.abc import Iterator, Sequence
from statistics import median

import attrs

from .meter import GENERATOR, NOISE, Figures
from .scale import Scale
from .servers import Server
from .workloads import Workload

DIGITS = ((100, 0), (10, 1), (0.1, 2))  # behind the point, for figures of at least so much


@attrs.frozen
class Run:
    """The figures of one workload on one server in one repetition."""

    repetition: int
    server: str
    workload: str
    figures: Figures


def medians(runs: Sequence[Run], workload: str, server: str) -> Figures:
    """The median of each figure; empty if there is no such run."""
    found = [run.figures for run in runs if (run.workload, run.server) == (workload, server)]
    return {unit: median(figures[unit] for figures in found) for unit in (found[0] if found else ())}


def rendered(value: float) -> str:
    """Three significant digits, or all before the point."""
    digits = next((digits for least, digits in DIGITS if abs(value) >= least), 3)
    return f"{value:,.{digits}f}"


def rows(
    runs: Sequence[Run], workloads: Sequence[Workload], servers: Sequence[type[Server]], scale: Scale
) -> Iterator[list[str]]:
    """Head, and a row for each figure: workload, unit, and one cell for each server."""
    yield ["workload", "unit", *(server.title for server in servers)]
    for workload in workloads:
        columns = [medians(runs, workload.name, server.name) for server in servers]
        units = dict.fromkeys(unit for figures in columns for unit in figures if unit != NOISE)
        title = workload.title(scale)
        for unit in sorted(units, key=lambda unit: unit.startswith(GENERATOR)):
            cells = [rendered(figures[unit]) if unit in figures else "failed" for figures in columns]
            yield [title, unit, *cells]
            title = ""
        if not units:
            yield [title, "", *("failed" for _ in servers)]


def table(
    runs: Sequence[Run], workloads: Sequence[Workload], servers: Sequence[type[Server]], scale: Scale
) -> str:
    """The table as text, its columns aligned."""
    lines = list(rows(runs, workloads, servers, scale))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    # text stands to the left, figures to the right
    texts = [
        [cell.ljust(width) for cell, width in zip(line[:2], widths, strict=False)]
        + [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        for line in lines
    ]
    texts.insert(1, ["-" * width for width in widths[:2]] + ["-" * (width - 1) + ":" for width in widths[2:]])
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)


def noise(runs: Sequence[Run]) -> str:
    """A sentence on the load by other programs."""
    others = [run.figures[NOISE] for run in runs if NOISE in run.figures]
    if not others:
        return "The load by other programs was not measured."
    return (
        f"All other programs on the machine, including the kernel, used {median(others):.2f} cores at the "
        f"median, {max(others):.2f} at most."
    )
