"""Servers without the start of Python: a process that has imported everything forks for each of them.

Most of the time of a start goes into imports, and the end-to-end tests start some three hundred servers. Each
process of tests has one such parent. Tests of the start itself run real command lines instead.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.scripts import twistd

import mailserver

PACKET = 1 << 16  # octets of the largest request
TWISTED = (
    "twisted.application.internet",
    "twisted.application.twist._twist",
    "twisted.internet.epollreactor",
)


class Forked:
    """A process made by the parent, with what tests use of :class:`subprocess.Popen`."""

    def __init__(
        self, words: list[str], *, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int
    ) -> None:
        """``twistd``, or a module that ``python -m`` runs, and arguments. The outputs are file descriptors;
        there is nothing to read.
        """
        request = json.dumps({"words": words, "cwd": str(cwd), "env": dict(env)}).encode()
        mine, its = os.pipe()
        socket.send_fds(_parent(), [request], [stdout, stderr, its])
        os.close(its)
        self._outcome = os.fdopen(mine, "rb", buffering=0)
        self.pid = int(self._line())
        self.returncode: int | None = None

    def _line(self) -> bytes:
        line = self._outcome.readline()
        assert line.endswith(b"\n"), f"the process that forks has ended: {_parents[0].poll()}"
        return line

    def poll(self) -> int | None:
        """The return code, negative for a signal; None while it runs."""
        if self.returncode is None and select.select([self._outcome], [], [], 0)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._line()))
            self._outcome.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._outcome], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        code = self.poll()
        assert code is not None
        return code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


_connections: list[socket.socket] = []
_parents: list["subprocess.Popen[bytes]"] = []


def _parent() -> socket.socket:
    """The connection to the parent, which ends when the connection does."""
    if not _connections:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = Path(__file__).parents[3]
        command = [sys.executable, "-m", __name__, str(its.fileno())]
        parent = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()])
        _parents.append(parent)
        its.close()
        _connections.append(ours)
    return _connections[0]


def serve(requests: socket.socket) -> list[str]:
    """Fork for each request. Returns in the new processes alone, with their words."""
    while True:
        data, descriptors, *_ = socket.recv_fds(requests, PACKET, 3)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            return supervise(json.loads(data), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(-1, os.WNOHANG)  # of an earlier one


def supervise(request: dict[str, Any], stdout: int, stderr: int, outcome: int) -> list[str]:
    """Fork once more, and tell how that process ends. Returns in that process alone."""
    pid = os.fork()
    if pid:
        os.close(stdout)
        os.close(stderr)
        os.write(outcome, b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        os.write(outcome, b"%d\n" % status)
        os._exit(0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for descriptor in (stdout, stderr, outcome):
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    words: list[str] = request["words"]
    return words


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ours = (module.name for module in walk_packages(mailserver.__path__, "mailserver."))
    for name in (*TWISTED, *ours):
        if not name.endswith("__main__"):
            import_module(name)
    list(getPlugins(IServiceMaker))  # keeps what it finds
    assert "twisted.internet.reactor" not in sys.modules, "each process installs its own"
    gc.collect()
    gc.freeze()
    program, *sys.argv[1:] = serve(socket.socket(fileno=int(sys.argv[1])))
    if program == "twistd":
        twistd.run()
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
