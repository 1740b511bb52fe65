"""The most memory that a server has needed."""

from pathlib import Path

import pytest

from tests.support.e2e.server import Server

MIB = 1 << 20
# A message is handled in pieces; what a thread and the allocator keep besides is less than this.
ROOM = 16 * MIB


def most_memory(server: Server) -> int:
    """The most octets of memory the process has had so far (proc(5), VmHWM)."""
    status = Path(f"/proc/{server.pid}/status")
    if not status.exists():
        pytest.skip("the memory of another process is read from /proc, which is not here")
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
