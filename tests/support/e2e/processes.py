"""What the kernel knows of a server's process, and of its workers."""

import os
from pathlib import Path

from tests.support.e2e.pids import numbered_workers
from tests.support.e2e.server import Server


def processes(server: Server) -> list[int]:
    """The process id of the server, and those of its workers."""
    return [server.pid, *numbered_workers(server.pid).values()]


def descriptors(server: Server) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in processes(server))


def cpu_seconds(server: Server) -> float:
    """User and system time of all processes so far."""
    return sum(_cpu_seconds(f"/proc/{pid}/stat") for pid in processes(server))


def reactor_seconds(server: Server) -> float:
    """The same of their main threads alone.

    Between a request and its reply this is the work that the reactor has done first. Unlike the time on the
    wall it does not grow with what else the machine does.
    """
    return sum(_cpu_seconds(f"/proc/{pid}/task/{pid}/stat") for pid in processes(server))


def _cpu_seconds(stat: str) -> float:
    """Fields 14 and 15 of proc_pid_stat(5)."""
    fields = Path(stat).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
