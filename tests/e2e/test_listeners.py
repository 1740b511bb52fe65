"""Ports of a whole server: a burst of clients, unix sockets after a kill, sockets that systemd hands over."""

import os
import signal
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.server import BOTH, ROUTES, Makes, Server, configuration, launch_twistd
from tests.support.runs import rest_slow

BURST = 300


def backlog(listening: socket.socket) -> int:
    """How many clients may wait: tcpi_sacked of a socket that listens (linux/tcp.h)."""
    info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    return int(struct.unpack("8x6I", info)[5])


def test_a_burst_of_clients_is_greeted(make_server: Makes) -> None:
    tables = f'{ROUTES}\n[limits]\nexempt = ["127.0.0.0/8"]\n'
    server = make_server(configuration(tables=tables)).start()
    server.signal(signal.SIGSTOP)
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(BURST)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(server.smtp)
        server.signal(signal.SIGCONT)
        for client in clients:
            client.settimeout(10)
            assert client.recv(4) == b"220 "


def test_unix_sockets_after_a_kill(make_server: Makes, nobodys_folder: Path) -> None:
    paths = [nobodys_folder / name for name in ("smtp.sock", "pop3.sock")]
    listen = [("smtp", f"unix:{paths[0]}:mode=600"), ("pop3", f"unix:{paths[1]}")]
    server = make_server(configuration(listen=listen)).start()
    for _ in range(2):
        server.kill()
        assert all(path.is_socket() for path in paths)
        # What older versions left; the parent is alive, as pid 1 of a container is.
        lock = paths[0].with_name("smtp.sock.lock")
        lock.unlink(missing_ok=True)
        lock.symlink_to(str(os.getpid()))
        server.start()
        with Smtp(str(paths[0])) as session:
            session.expect(b"QUIT", b"221")
        assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600, 0o666]
    server.stop()
    assert list(nobodys_folder.iterdir()) == []


def test_a_unix_socket_of_another_server_is_not_taken(make_server: Makes, nobodys_folder: Path) -> None:
    config = configuration(listen=[("smtp", f"unix:{nobodys_folder}/smtp.sock"), BOTH[1]])
    make_server(config).start()
    second = make_server(config)
    (line,), _ = second.refused()
    assert line.endswith('smtp.sock": Address already in use')
    with Smtp(f"{nobodys_folder}/smtp.sock") as session:
        session.expect(b"QUIT", b"221")


def handed_over(*options: str, descriptor: int) -> list[str]:
    """Start it as systemd does: the socket is descriptor 3, and the variables name this process."""
    code = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3);"
        "os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='mail', LISTEN_PID=str(os.getpid()));"
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-c", code, str(descriptor), *launch_twistd(*options)]


class Activated(Server):
    """A server that is given a socket that listens."""

    def __init__(self, directory: Path, listening: socket.socket) -> None:
        domain = {socket.AF_UNIX: "UNIX", socket.AF_INET: "INET"}[listening.family]
        config = configuration(listen=[("smtp", f"systemd:domain={domain}:index=0"), BOTH[1]])
        super().__init__(directory, config, partial(handed_over, descriptor=listening.fileno()))
        self.listening = listening

    def surroundings(self) -> dict[str, Any]:
        return {**super().surroundings(), "pass_fds": [self.listening.fileno()]}

    def serves_twice(self) -> None:
        """It serves, stops, and serves again on the same socket."""
        for _ in range(2):
            try:
                self.start()
                name = self.listening.getsockname()
                with Smtp(name.decode() if isinstance(name, bytes) else name) as session:
                    session.expect(b"QUIT", b"221")
            finally:
                self.finish()


@pytest.fixture
def unix_socket() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        yield listening


@pytest.mark.parametrize("mode", rest_slow([0o660, 0o600, 0o666]), ids=oct)
def test_a_unix_socket_of_systemd_stays(mode: int, tmp_path: Path, unix_socket: socket.socket) -> None:
    path = tmp_path / "smtp.sock"
    unix_socket.bind(str(path))
    path.chmod(mode)
    unix_socket.listen(7)
    Activated(tmp_path, unix_socket).serves_twice()
    assert path.is_socket()
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.slow
def test_an_abstract_socket_of_systemd(tmp_path: Path, unix_socket: socket.socket) -> None:
    unix_socket.bind(f"\0mailserver-test-{os.getpid()}")
    unix_socket.listen(7)
    Activated(tmp_path, unix_socket).serves_twice()


@pytest.mark.slow
def test_a_file_of_systemd_that_is_gone(tmp_path: Path, unix_socket: socket.socket) -> None:
    unix_socket.bind(str(tmp_path / "smtp.sock"))
    unix_socket.listen(7)
    server = Activated(tmp_path, unix_socket)
    try:
        server.start()
        (tmp_path / "smtp.sock").unlink()
    finally:
        server.finish()


def test_a_tcp_socket_of_systemd_keeps_its_backlog(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=77) as listening:
        Activated(tmp_path, listening).serves_twice()
        assert backlog(listening) == 77
