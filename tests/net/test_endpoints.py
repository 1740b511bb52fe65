"""Listeners and their endpoints: how many clients may wait, and what becomes of the files of unix sockets."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.pollreactor import PollReactor
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from mailserver.errors import CannotStart
from mailserver.net.endpoints import longest_backlog, server_endpoint
from mailserver.net.factory import ConnectionFactory
from mailserver.net.listener import Listener
from tests.support.tls_material import make_ca

LONGEST = longest_backlog()


def test_the_longest_queue_is_that_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert int(Path("/proc/sys/net/core/somaxconn").read_text()) == LONGEST
    for text in ("none\n", ""):
        monkeypatch.setattr(Path, "read_text", lambda path, text=text: text)
        assert longest_backlog() == socket.SOMAXCONN


@pytest.mark.parametrize(
    ("text", "backlog"),
    [
        ("tcp:25", LONGEST),
        ("tcp:25:interface=127.0.0.1", LONGEST),
        ("tcp:port=25:interface=127.0.0.1", LONGEST),
        ("tcp:25:127.0.0.1", LONGEST),
        ("tcp6:25:interface=\\:\\:1", LONGEST),
        ("unix:/run/a\\:b.sock:mode=600", LONGEST),
        ("unix:address=/run/mail.sock", LONGEST),
        ("tcp:25:backlog=50", 50),
        ("tcp:backlog=1:port=25", 1),
        ("tcp:25:127.0.0.1:7", 7),
        ("tcp6:25:backlog=9000", 9000),
        ("unix:/run/mail.sock:backlog=3:lockfile=1", 3),
        ("unix:/run/mail.sock:600:4", 4),
        ("unix:/run/mail.sock:600:4:1", 4),
    ],
)
def test_the_backlog_that_a_port_gets(text: str, backlog: int) -> None:
    made = MemoryReactor()
    server_endpoint(made, text).listen(Factory())
    ((_, _, given, *_),) = made.tcpServers or made.unixServers
    assert given == backlog


def test_the_backlog_with_tls(tmp_path: Path) -> None:
    made = MemoryReactor()
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make_ca(tmp_path).issue("mail.example.org").put(certificate, key)
    server_endpoint(made, f"ssl:465:privateKey={key}:certKey={certificate}").listen(Factory())
    assert made.sslServers[0][3] == LONGEST


@pytest.mark.parametrize("text", ["tcp", "tcp:", "tcp:smtp", "tcp:25:colour=red", "nosuch:25", ""])
def test_what_is_no_endpoint_is_refused_in_twisteds_words(text: str) -> None:
    with pytest.raises(Exception) as theirs:
        serverFromString(MemoryReactor(), text)
    with pytest.raises(type(theirs.value)) as ours:
        server_endpoint(MemoryReactor(), text)
    assert str(ours.value) == str(theirs.value)


# ---------------------------------------------------------------- the files of unix sockets


class Listens:
    """A reactor of its own, with a listener on a unix socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path.with_name(f"{path.name}.lock")
        self.reactor: Any = PollReactor()
        self.removed: list[Path] = []
        self.listener: Listener | None = None

    def start(self, options: str = "") -> None:
        factory = ConnectionFactory(cast(Any, None), self.reactor)
        endpoint = server_endpoint(self.reactor, f"unix:{self.path}{options}")
        listener = Listener("smtp", "none", "listen[1]", endpoint, factory, 1, self.remove)
        listener.startService()
        self.listener = listener

    def remove(self, path: Path) -> None:
        path.unlink()
        self.removed.append(path)

    def stop(self) -> None:
        if self.listener is not None:
            listener, self.listener = self.listener, None
            done: list[object] = []
            listener.stopService().addBoth(done.append)
            while not done:
                self.reactor.iterate(0.01)
            assert done == [None]

    def is_answered(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.path)) == 0


@pytest.fixture
def listens(tmp_path: Path) -> Iterator[Listens]:
    one = Listens(tmp_path / "smtp.sock")
    yield one
    one.stop()
    for reader in one.reactor.removeAll():
        reader.connectionLost(None)


def killed(path: Path) -> None:
    """Leave what a killed server leaves."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen()


LEFT: dict[str, Callable[[Listens], None]] = {
    "the socket": lambda one: killed(one.path),
    "the lock of pid 1": lambda one: (killed(one.path), one.lock.symlink_to("1"))[0],
    "the lock of a pid that another has": lambda one: (
        killed(one.path),
        one.lock.symlink_to(str(os.getppid())),
    )[0],
    "a lock of our own pid": lambda one: (killed(one.path), one.lock.symlink_to(str(os.getpid())))[0],
    "the lock of nobody": lambda one: (killed(one.path), one.lock.symlink_to(str(2**22 + 1)))[0],
    "the lock alone": lambda one: one.lock.symlink_to("1"),
    "nothing": lambda one: None,
}


@pytest.mark.parametrize("options", ["", ":mode=600", ":lockfile=1", ":640:9:1", ":lockfile=0:backlog=5"])
@pytest.mark.parametrize("left", LEFT)
def test_what_a_killed_server_left_is_removed(left: str, options: str, listens: Listens) -> None:
    LEFT[left](listens)
    listens.start(options)
    assert listens.is_answered()
    mode = {":mode=600": 0o600, ":640:9:1": 0o640}.get(options, 0o666)
    assert stat.S_IMODE(listens.path.stat().st_mode) == mode
    listens.stop()
    assert not listens.path.exists()
    if left != "the lock alone":
        assert not listens.lock.is_symlink()


def in_use(path: Path) -> socket.socket:
    live = socket.socket(socket.AF_UNIX)
    live.bind(str(path))
    live.listen()
    return live


def with_a_full_queue(path: Path) -> socket.socket:
    live = socket.socket(socket.AF_UNIX)
    live.bind(str(path))
    live.listen(0)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    return live


def of_datagrams(path: Path) -> socket.socket:
    live = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    live.bind(str(path))
    return live


def a_file(path: Path) -> socket.socket:
    path.write_text("no socket")
    return socket.socket(socket.AF_UNIX)


@pytest.mark.parametrize("options", ["", ":lockfile=1"])
@pytest.mark.parametrize(
    "there", [in_use, with_a_full_queue, of_datagrams, a_file], ids=lambda one: one.__name__
)
def test_what_is_in_use_is_left_alone(
    there: Callable[[Path], socket.socket], options: str, listens: Listens
) -> None:
    with there(listens.path):
        before = listens.path.lstat()
        with pytest.raises(CannotStart, match=r"^listen\[1\]: Address already in use$"):
            listens.start(options)
        assert (listens.path.lstat().st_ino, listens.removed) == (before.st_ino, [])


def test_a_server_that_has_bound_and_does_not_listen_yet(
    listens: Listens, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(listens.path))
        monkeypatch.setattr("time.sleep", lambda seconds: other.listen())
        with pytest.raises(CannotStart, match="Address already in use"):
            listens.start()
        assert listens.is_answered()


def test_a_file_that_may_not_be_removed(listens: Listens, monkeypatch: pytest.MonkeyPatch) -> None:
    def remove(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    killed(listens.path)
    monkeypatch.setattr(listens, "remove", remove)
    with pytest.raises(CannotStart, match="Permission denied"):
        listens.start()
    listens.path.unlink()
    listens.start()
    listens.stop()  # which is no error
    assert listens.path.exists()


def test_at_the_end_only_the_own_socket_is_removed(listens: Listens) -> None:
    listens.start()
    listens.path.unlink()
    listens.stop()
    listens.start()
    listens.path.unlink()
    with in_use(listens.path):
        listens.stop()
        assert listens.is_answered()
