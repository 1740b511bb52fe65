"""The command's side of the control channel: where the data is, and what a server that fails means."""

import json
import socket
import threading
from pathlib import Path

import pytest

from mailserver.cli import requests
from mailserver.cli.requests import data_folder, perform
from mailserver.control.channel import SOCKET, CommandFailed, CommandOutcome, socket_name
from mailserver.control.client import ask
from mailserver.durable.lock import DataLock
from mailserver.errors import ConfigurationError, DataInUse


@pytest.mark.parametrize(
    ("text", "environ", "folder"),
    [
        ('data = "here"', {}, "here"),
        ('data = "/else/where"', {}, "/else/where"),
        ("", {}, "/var/lib/mailserver"),
        ('data = "here"', {"MAILSERVER__DATA": "there"}, "there"),
        # whatever else is wrong: that is for the server to judge
        ('data = "here"\nhostname = 3\nnonsense = true', {"MAILSERVER__NONSENSE": "1"}, "here"),
        ('data = "here"\n[smtp]\nmax_recipients = -1', {}, "here"),
    ],
)
def test_the_data_folder(tmp_path, monkeypatch, text, environ, folder):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "mailserver.toml"
    config.write_text(text)
    assert data_folder(config) == tmp_path / folder


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("data = ", "invalid TOML"), ("data = 3", "data: 3 is an integer"), (None, "cannot read the file")],
)
def test_a_data_folder_that_cannot_be_told(tmp_path, text, wrong):
    config = tmp_path / "mailserver.toml"
    if text is not None:
        config.write_text(text)
    with pytest.raises(ConfigurationError, match=wrong):
        data_folder(config)


class OneReply:
    """A server that takes one request and sends what it is told."""

    def __init__(self, data: Path, reply: bytes) -> None:
        self.request = b""
        self._reply = reply
        self._socket = socket.socket(socket.AF_UNIX)
        with socket_name(data / SOCKET) as name:
            self._socket.bind(name)
        self._socket.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            while not self.request.endswith(b"\n"):
                self.request += connection.recv(1000)
            connection.sendall(self._reply)
        self._socket.close()


def test_the_request_and_the_reply(tmp_path):
    server = OneReply(tmp_path, b'{"lines": ["a", "b"], "status": 1}\n')
    assert ask(tmp_path, {"command": "x", "id": "1"}) == CommandOutcome(("a", "b"), status=1)
    server.thread.join()
    assert json.loads(server.request) == {"command": "x", "id": "1"}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b'{"error": "no such thing"}\n', "no such thing"),
        (b"", "the server ended before it replied"),
        (b'{"lines": ["a", ', "the server ended before it replied"),
    ],
)
def test_a_server_that_fails(tmp_path, reply, error):
    server = OneReply(tmp_path, reply)
    with pytest.raises(CommandFailed, match=f"^{error}$"):
        ask(tmp_path, {"command": "x"})
    server.thread.join()


def test_no_server(tmp_path):
    assert ask(tmp_path, {}) is None
    assert ask(tmp_path / "missing", {}) is None
    left = socket.socket(socket.AF_UNIX)
    with socket_name(tmp_path / SOCKET) as name:
        left.bind(name)
    left.close()
    assert ask(tmp_path, {}) is None


def test_a_long_path(tmp_path):
    folder = tmp_path / "/".join(["long"] * 40)
    folder.mkdir(parents=True)
    server = OneReply(folder, b'{"lines": [], "status": 0}\n')
    assert ask(folder, {}) == CommandOutcome(())
    server.thread.join()


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(requests, "PATIENCE", 0.3)


def test_without_a_server_the_data_is_opened_under_its_lock(tmp_path, impatient):
    (tmp_path / "mail").mkdir(mode=0o700)
    well = "0 mailboxes, 0 messages, 0 queued messages: all well"
    assert perform(tmp_path, {"command": "verify"}) == CommandOutcome((well,))
    with DataLock(tmp_path / "lock"), pytest.raises(DataInUse):
        perform(tmp_path, {"command": "verify"})


def test_a_lock_that_is_let_go_soon_is_waited_for(tmp_path):
    lock = DataLock(tmp_path / "lock")
    lock.acquire()
    timer = threading.Timer(0.3, lock.release)
    timer.start()
    assert perform(tmp_path, {"command": "verify"}).status == 0
    timer.join()


def test_a_server_that_comes_up_meanwhile_is_asked(tmp_path):
    with DataLock(tmp_path / "lock"):
        servers: list[OneReply] = []
        reply = b'{"lines": ["by the server"], "status": 0}\n'
        timer = threading.Timer(0.3, lambda: servers.append(OneReply(tmp_path, reply)))
        timer.start()
        assert perform(tmp_path, {"command": "verify"}) == CommandOutcome(("by the server",))
        timer.join()
        servers[0].thread.join()


def test_data_that_is_not_there(tmp_path):
    with pytest.raises(CommandFailed, match="missing does not exist yet: start the server once"):
        perform(tmp_path / "missing", {"command": "verify"})
