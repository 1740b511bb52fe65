"""The control channel, the server's side: every line gets its reply, in order, whatever it is."""

import json
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs

from mailserver.control.channel import MAX_LINE, CommandFailed, CommandOutcome, Request, socket_name
from mailserver.control.server import MAX_WAITING, ControlFactory, ControlProtocol, ControlService
from mailserver.errors import CannotStart
from tests.support.fakes import stand_in

UNKNOWN = {"error": "unknown command; known: greet, refuse, wait, break, read"}
NO_JSON = {"error": "the request is not JSON"}


class Channel:
    """One connection, with commands that the test knows."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.waiting: list[Deferred[CommandOutcome]] = []
        self.gone: list[type[BaseException]] = []
        commands = {"greet": self.greet, "refuse": self.refuse, "wait": self.wait, "break": self.fall_over}
        commands["read"] = self.read
        self.factory = ControlFactory(commands)  # type: ignore[arg-type]
        self.protocol: ControlProtocol = self.factory.buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def greet(self, request: Request) -> CommandOutcome:
        self.asked.append(request)
        return CommandOutcome((f"good morning, {request.get('name')}",))

    def read(self, request: Request) -> CommandOutcome:
        content: Any = request["content"]
        return CommandOutcome((content.read().decode(),))

    def refuse(self, request: Request) -> CommandOutcome:
        raise CommandFailed("not\nnow")

    def fall_over(self, request: Request) -> CommandOutcome:
        raise KeyError("secret")

    def wait(self, request: Request) -> Deferred[CommandOutcome]:
        pending: Deferred[CommandOutcome] = Deferred(lambda _: self.gone.append(CancelledError))
        self.waiting.append(pending)
        return pending

    def send(self, *requests: Mapping[str, Any]) -> None:
        self.protocol.dataReceived(b"".join(json.dumps(each).encode() + b"\n" for each in requests))

    def replies(self) -> list[dict[str, Any]]:
        """Those since the last time."""
        text = self.transport.value()
        self.transport.clear()
        assert text == b"" or text.endswith(b"\n")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def channel() -> Channel:
    return Channel()


def test_a_command_gets_its_request_and_its_outcome_is_the_reply(channel):
    channel.send({"command": "greet", "name": "Alice"})
    assert channel.asked == [{"command": "greet", "name": "Alice"}]
    assert channel.replies() == [{"lines": ["good morning, Alice"], "status": 0}]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b'{"command": "nonsense"}', UNKNOWN),
        (b'{"command": ["greet"]}', UNKNOWN),
        (b'{"command": null}', UNKNOWN),
        (b'{"name": "Alice"}', UNKNOWN),
        (b'["greet"]', UNKNOWN),
        (b"3", UNKNOWN),
        (b"", NO_JSON),
        (b"greet", NO_JSON),
        (b'{"command": "greet"', NO_JSON),
        (b"\xff\xfe\x00", NO_JSON),
        (b"[" * 60_000, NO_JSON),
        (b'{"command": "refuse"}', {"error": "not\\nnow"}),
        (
            b'{"command": "greet", "name": "\\u00e4\\ud800"}\r',
            {"lines": ["good morning, ä\ud800"], "status": 0},
        ),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_every_line_has_a_reply_and_the_connection_lives(channel, line, reply):
    channel.protocol.dataReceived(line + b"\n")
    assert channel.replies() == [reply]
    channel.send({"command": "greet", "name": "Bob"})
    assert channel.replies() == [{"lines": ["good morning, Bob"], "status": 0}]
    assert not channel.transport.disconnecting


def test_a_bug_is_logged_and_not_told(channel):
    with capturedLogs() as events:
        channel.send({"command": "break"}, {"command": "greet"})
    assert [event["log_failure"].type for event in events] == [KeyError]
    first, second = channel.replies()
    assert first == {"error": "internal error; see the log of the server"}
    assert second["status"] == 0


def test_requests_sent_ahead_are_done_one_after_the_other(channel):
    channel.send({"command": "wait"}, {"command": "wait"}, {"command": "greet"})
    assert len(channel.waiting) == 1
    assert channel.replies() == []
    channel.waiting[0].callback(CommandOutcome(("first",), status=1))
    assert channel.replies() == [{"lines": ["first"], "status": 1}]
    assert len(channel.waiting) == 2
    channel.waiting[1].errback(CommandFailed("second"))
    assert channel.replies() == [{"error": "second"}, {"lines": ["good morning, None"], "status": 0}]


def test_octet_by_octet(channel):
    for octet in b'{"command": "greet", "name": "Alice"}\n' * 2:
        channel.protocol.dataReceived(bytes([octet]))
    assert [reply["lines"] for reply in channel.replies()] == [["good morning, Alice"]] * 2


@pytest.mark.parametrize("ending", [b"", b"\n"], ids=["endless", "line"])
def test_a_line_too_long_ends_the_connection(channel, ending):
    channel.protocol.dataReceived(b"x" * (MAX_LINE + 1) + ending)
    assert channel.replies() == [{"error": f"a request has at most {MAX_LINE} octets"}]
    assert channel.transport.disconnecting


def test_the_longest_line_is_taken(channel):
    request = b'{"command": "greet", "name": "%s"}'
    channel.protocol.dataReceived(request % (b"x" * (MAX_LINE + 2 - len(request))) + b"\n")
    assert channel.replies()[0]["status"] == 0


def test_too_many_requests_ahead_end_the_connection(channel):
    channel.send(*[{"command": "wait"}] * (MAX_WAITING + 1))
    assert channel.replies() == []
    channel.send({"command": "wait"})
    assert "error" in channel.replies()[0]
    assert channel.transport.disconnecting


def test_who_hangs_up_gives_up_what_is_done_and_what_waits(channel):
    channel.send({"command": "wait"}, {"command": "greet"})
    channel.protocol.connectionLost()
    assert channel.gone == [CancelledError]
    assert channel.asked == []
    assert channel.factory.connections == set()


# ------------------------------------------------------------ the socket


def service(path: Path, reactor: MemoryReactorClock | None = None, **options: Any) -> ControlService:
    return ControlService(
        stand_in(reactor or MemoryReactorClock()), path, {}, options.get("remove", Path.unlink)
    )


def leave_behind(path: Path) -> None:
    """The socket of a server that was killed."""
    with socket.socket(socket.AF_UNIX) as killed, socket_name(path) as name:
        killed.bind(name)


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client, socket_name(path) as name:
        client.connect(name)


def test_what_is_no_socket_is_in_the_way_and_stays(tmp_path):
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(CannotStart, match=f"data: Address already in use: {path}"):
        service(path).startService()
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "missing" / "control.sock"
    with pytest.raises(CannotStart, match=r"data: .*No such file or directory"):
        service(path).startService()


def test_a_stale_socket_that_cannot_be_removed(tmp_path):
    def remove(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    path = tmp_path / "control.sock"
    leave_behind(path)
    with pytest.raises(CannotStart, match=f"data: Operation not permitted: {path}"):
        service(path, remove=remove).startService()


@pytest.mark.parametrize("name", ["control.sock", f"{'long/' * 30}control.sock"], ids=["short", "long"])
@pytest.mark.parametrize("gone", [False, True], ids=["there", "gone-before"])
def test_the_socket_replaces_a_stale_one_and_is_removed(tmp_path, name, gone):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    leave_behind(path)
    with pytest.raises(ConnectionRefusedError):
        connect(path)
    reactor = MemoryReactorClock()
    running = service(path, reactor)
    running.startService()
    connect(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if gone:
        path.unlink()
    done: list[object] = []
    running.stopService().addBoth(done.append)
    reactor.advance(1)
    assert done == [None]
    assert not path.exists()


def test_an_open_file_comes_with_its_request(channel, tmp_path):
    descriptors = []
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(name)
        descriptors.append(os.open(tmp_path / name, os.O_RDONLY))
    channel.send({"command": "wait"})
    # a second one replaces the first, and the third comes with the next request
    channel.protocol.fileDescriptorReceived(descriptors[0])
    channel.protocol.fileDescriptorReceived(descriptors[1])
    channel.send({"command": "read"})
    channel.protocol.fileDescriptorReceived(descriptors[2])
    channel.send({"command": "read"}, {"command": "greet", "content": "no file"})
    channel.waiting[0].callback(CommandOutcome(()))
    assert [reply["lines"] for reply in channel.replies()] == [[], ["two"], ["three"], ["good morning, None"]]
    assert "content" not in channel.asked[0]
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_files_of_requests_that_never_run_are_closed(channel, tmp_path):
    (tmp_path / "file").touch()
    descriptors = [os.open(tmp_path / "file", os.O_RDONLY) for _ in range(3)]
    for descriptor in descriptors:
        channel.protocol.fileDescriptorReceived(descriptor)
        if descriptor != descriptors[2]:
            channel.send({"command": "wait"})
    channel.protocol.connectionLost()
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
