"""Killing a process at a chosen system call, with strace(1), and learning which calls there are to choose.

strace is attached to the running server, so that its counts begin at a moment of our choice. It counts
each system call by name and thread: ``when=3`` for ``fsync`` kills when any thread is about to make its
third. The call is not carried out any more. What the other threads were in the middle of is chance.
"""

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.e2e.programs import missing
from tests.support.e2e.server import wait_until

STORAGE = (
    *("open", "openat", "creat", "close", "write", "pwrite64", "writev", "pwritev", "pwritev2"),
    *("fsync", "fdatasync", "syncfs", "sync_file_range", "msync", "ftruncate", "fallocate"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
)
ANSWER = "sendto"
"""What writes to a socket. Before it, everything is done and nothing is answered."""

LINE = re.compile(r"(?P<thread>\d+) +(?P<time>\d+\.\d+) (?P<name>\w+)\((?P<rest>.*)")


def need_strace() -> str:
    """The path of strace; skips the test where it is missing or may not attach to its elder siblings."""
    path = shutil.which("strace")
    if path is None:
        missing("strace is not installed (Debian package strace)")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if os.geteuid() != 0 and scope.exists() and scope.read_text().strip() != "0":
        missing("strace may attach to other processes only as root here (kernel.yama.ptrace_scope)")
    return path


@dataclass(frozen=True)
class Call:
    """A system call that was about to be made.

    It is ``ours`` if it concerns the data directory, or is the first answer after one that does.
    """

    thread: str
    time: float
    name: str
    ours: bool


@dataclass(frozen=True)
class Point:
    """Where to kill: strace is attached at the ``mark``, and waits for the ``nth`` call of this name."""

    mark: int
    name: str
    nth: int

    def __str__(self) -> str:
        return f"{self.name} {self.nth} after mark {self.mark}"


class Tracer:
    """strace, attached to processes with all their threads and children, until they end."""

    def __init__(self, pids: Sequence[int], data: Path, output: Path, point: Point | None = None) -> None:
        self._data = str(data)
        self._output = output
        self._point = point
        inject = [] if point is None else [f"--inject={point.name}:signal=KILL:when={point.nth}"]
        names = ",".join(f"?{name}" for name in (*STORAGE, ANSWER))
        self._process = _attach(pids, output, "-y", "-s0", "-ttt", f"--trace={names}", *inject)

    def calls(self) -> list[Call]:
        """What was traced, in order, after the process has ended."""
        _reap(self._process)
        calls: list[Call] = []
        stored = False
        for line in self._output.read_text(errors="replace").splitlines():
            if match := LINE.match(line):
                name = match["name"]
                if name == ANSWER:
                    ours, stored = stored, False
                else:
                    ours = f"{self._data}/" in match["rest"]
                    stored |= ours
                calls.append(Call(match["thread"], float(match["time"]), name, ours))
        return calls

    def killed_at(self) -> Call | None:
        """The call at which the process was killed, after it has ended."""
        counts: Counter[str] = Counter()
        for call in self.calls():
            if self._point is not None and call.name == self._point.name:
                counts[call.thread] += 1
                if counts[call.thread] == self._point.nth:
                    return call
        return None


def _attach(pids: Sequence[int], output: Path, *options: str) -> "subprocess.Popen[bytes]":
    output.unlink(missing_ok=True)
    who = [word for pid in pids for word in ("-p", str(pid))]
    command = [need_strace(), "-f", *who, "-o", str(output), *options]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for _ in pids:
        said = process.stderr.readline()  # comes when it is attached to all threads of a process
        assert b" attached" in said, said + process.stderr.read()
    # The pipe stays open: strace writes a line for every new thread, and would die of a closed one.
    return process


def _reap(process: "subprocess.Popen[bytes]") -> None:
    with process:
        process.wait(20)


def hold_at_lock(pid: int, output: Path) -> None:
    """Stop a process that is just being started as it takes the lock on its data directory with flock(2)."""
    tracer = _attach([pid], output, "--trace=flock", "--inject=flock:signal=STOP:when=1")
    try:
        wait_until(lambda: "stopped by SIGSTOP" in output.read_text(), "the lock to be taken")
    finally:
        tracer.terminate()  # which detaches it
        _reap(tracer)


def let_go(pid: int) -> None:
    """What ends ``hold_at_lock``."""
    os.kill(pid, signal.SIGCONT)


def points(calls: Sequence[Call], marks: Iterable[float]) -> tuple[list[Point], int]:
    """The points at which a process that makes the same calls again can be killed, and how many calls
    of ours cannot be reached because another thread always makes its own n-th such call earlier.

    ``marks`` are the moments at which strace can be attached, in seconds since the epoch. Of several
    that reach a call, the last before it is taken.
    """
    reached: dict[Call, Point] = {}
    for mark, moment in enumerate(marks):
        counts: Counter[tuple[str, str]] = Counter()
        hit: set[tuple[str, int]] = set()
        for call in calls:
            if call.time < moment:
                continue
            counts[call.thread, call.name] += 1
            key = (call.name, counts[call.thread, call.name])
            if key not in hit:
                hit.add(key)
                if call.ours:
                    reached[call] = Point(mark, *key)
    return list(reached.values()), sum(call.ours for call in calls) - len(reached)
