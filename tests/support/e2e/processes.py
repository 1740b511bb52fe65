"""What the kernel knows of a server's process."""

import os
from pathlib import Path

from tests.support.e2e.server import Server


def descriptors(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def cpu_seconds(server: Server) -> float:
    """User and system time of the process so far."""
    return _cpu_seconds(f"/proc/{server.pid}/stat")


def reactor_seconds(server: Server) -> float:
    """The same of its main thread alone.

    Between a request and its reply this is the work that the reactor has done first. Unlike the time on the
    wall it does not grow with what else the machine does.
    """
    return _cpu_seconds(f"/proc/{server.pid}/task/{server.pid}/stat")


def _cpu_seconds(stat: str) -> float:
    """Fields 14 and 15 of proc_pid_stat(5)."""
    fields = Path(stat).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
