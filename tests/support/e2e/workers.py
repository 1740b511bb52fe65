"""The workers of a server process, as the system knows them."""

import os
from pathlib import Path

from tests.support.e2e.server import Server, wait_until


def children(pid: int) -> list[int]:
    """The ids of the processes that a process has started and that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if fields[1] == str(pid) and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def workers(server: Server) -> dict[int, int]:
    """The process ids of the workers that run, by their numbers."""
    found = {}
    for pid in children(server.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"mailserver.app.workers" in words:
            found[int(words[words.index(b"mailserver.app.workers") + 1])] = pid
    return dict(sorted(found.items()))


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended."""
    wait_until(lambda: not _runs(pid), f"the end of process {pid}")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
