"""The program of a worker, before it has its order."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mailserver import __version__
from mailserver.cluster.frames import FrameKind, content
from mailserver.cluster.wire import receive_now
from tests.support.e2e.server import ROOT


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def run(theirs: socket.socket, version: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "mailserver.app.workers", "2", str(theirs.fileno()), version]
    process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
    theirs.close()
    return process


def test_a_supervisor_of_another_version(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    process = run(theirs, "0.0.1")
    frame = receive_now(ours)
    assert frame is not None and frame.kind is FrameKind.FAILURE
    assert str(content(frame)) == (
        f"its version is {__version__}, but the server's is 0.0.1: restart the server"
    )
    assert process.wait(60) == 1


def test_a_supervisor_that_is_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    process = run(theirs, __version__)
    ours.close()
    assert process.wait(60) == 1
