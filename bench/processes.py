"""Processes in /proc of Linux: process trees, their processor time and memory, and how to end them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from .errors import BenchError

PROC = Path("/proc")
TICK = 1 / os.sysconf("SC_CLK_TCK")
GRACE = 20.0


@attrs.frozen
class Stat:
    """A line of /proc/PID/stat: process, parent, start time (ticks), and processor time (seconds)."""

    pid: int
    parent: int
    started: int
    cpu: float  # user and system, with that of all children that have ended and were waited for


def _stat(pid: int) -> Stat | None:
    try:
        # the name may hold spaces and parentheses
        fields = (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Stat(pid, int(fields[1]), int(fields[19]), sum(map(int, fields[11:15])) * TICK)


def family(root: int) -> list[Stat]:
    """The process ``root`` and its descendants whose parents still run."""
    known = [stat for path in PROC.iterdir() if path.name.isdigit() and (stat := _stat(int(path.name)))]
    members = {stat.pid: stat for stat in known if stat.pid == root}
    while more := [stat for stat in known if stat.parent in members and stat.pid not in members]:
        members.update((stat.pid, stat) for stat in more)
    return list(members.values())


def cpu(roots: Iterable[int]) -> float:
    """The processor time of these process trees in seconds, including ended children."""
    return sum(stat.cpu for root in roots for stat in family(root))


def clock(pid: int) -> float:
    """The processor time of a process without its children in seconds, to the nanosecond.

    Its clock is the one of clock_getcpuclockid(3). Raises OSError if there is no such process.
    """
    return time.clock_gettime(~pid << 3 | 2)


def memory(roots: Iterable[int]) -> int:
    """The memory of these process trees in KiB.

    It is the proportional set size: a page shared by several processes counts once.
    """
    total = 0
    for stat in (stat for root in roots for stat in family(root)):
        try:
            lines = (PROC / str(stat.pid) / "smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def machine() -> float:
    """The processor time of the machine since its start in seconds, without idle time."""
    fields = [int(field) for field in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = fields
    return (user + nice + system + interrupts + soft_interrupts + stolen) * TICK


def spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process in its own session, with its output in a file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def _alive(stat: Stat) -> bool:
    now = _stat(stat.pid)
    return now is not None and now.started == stat.started


def end(process: subprocess.Popen[bytes], asked: int) -> None:
    """End a process tree: SIGTERM to the process ``asked``, later SIGKILL to those that remain.

    Raises BenchError if a process had to be killed.
    """
    members = family(process.pid)
    if process.poll() is None:
        os.kill(asked, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while process.poll() is None or any(map(_alive, members)):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    left = [stat for stat in members if _alive(stat)]
    for stat in left:
        os.kill(stat.pid, signal.SIGKILL)
    process.wait()
    if left:
        raise BenchError(f"{len(left)} processes of {process.args!r} did not end by SIGTERM in {GRACE:.0f} s")
