"""What the first process of a daemon prints, and its exit status, however the start ends."""

import subprocess
import sys
from pathlib import Path

import pytest

# twistd forks twice, and its first process waits on a pipe that it holds open itself.
PROGRAM = """
import os, signal, sys
from mailserver.app.startup import DaemonStartup
open(sys.argv[1], "w").close()
startup = DaemonStartup(sys.argv[1], "/var/log/mail.log")
if os.fork():
    os._exit(7)
if os.fork():
    os._exit(0)
exec(sys.argv[2])
"""
SILENT = "the server ended during its start; see /var/log/mail.log\n"
ENDS = {
    "success": ("startup.succeeded()", 7, ""),
    "success, and a failure later": ("startup.succeeded(); startup.failed('late')", 7, ""),
    "failure": ("startup.failed('data: no room')", 1, "data: no room\n"),
    "two lines": ("startup.failed('one\\ntwo')", 1, "one\ntwo\n"),
    "long": ("startup.failed('é' * 100_000)", 1, "é" * 100_000 + "\n"),
    "exception": ("raise ValueError('x\\x1b')", 1, "ValueError: x\\x1b\n"),
    "exit": ("sys.exit(1)", 1, SILENT),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", 1, SILENT),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_what_the_terminal_shows(name: str, tmp_path: Path) -> None:
    code, status, shown = ENDS[name]
    pidfile = tmp_path / "twistd.pid"
    # The daemon's own standard error would be the log.
    command = [sys.executable, "-c", PROGRAM, str(pidfile), f"sys.stderr = open(os.devnull, 'w'); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (status, shown)
    assert pidfile.exists() == (status == 7)
