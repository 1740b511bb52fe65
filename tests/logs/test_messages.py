"""The form of messages for the journal and for syslog servers, and where they go."""

import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure

from mailserver.config.keys.log import LogSection, SyslogServer
from mailserver.errors import ConfigurationError
from mailserver.events.messages import MessageDeferred
from mailserver.events.queue import SpoolDamaged
from mailserver.logs.destination import SocketObserver, log_observer
from mailserver.logs.journald import journal_message
from mailserver.logs.syslog import MAX_OCTETS, SyslogForm
from mailserver.mail.words import AddressNames
from tests.support.fakes import stand_in
from tests.support.logs import NOON, event

CONFIG = Path("/etc/mailserver.toml")
TWISTD = {"nodaemon": True, "logger": None, "syslog": False, "logfile": ""}
DEFERRED = MessageDeferred(
    id="1abc",
    session="s1",
    client="192.0.2.1",
    account="",
    sender="<ann@example.net>",
    recipients=AddressNames(["bob@example.org", "eve@example.org"]),
    reason="no space left\non the disk",
    rule="storage",
)
TEXT = (
    "1abc: deferred: <ann@example.net> to <bob@example.org>, <eve@example.org>: no space left\\non the disk "
    "(client 192.0.2.1, storage)"
)


def of(what: Any, **more: Any) -> LogEvent:
    """What an observer gets for an event of the server."""
    return {**what._constants, **vars(what), "log_event": what, "log_time": NOON, **more}


def fields(message: bytes | None) -> list[tuple[str, bytes]]:
    """The fields of a message for the journal."""
    assert message is not None
    found = []
    while message:
        line, _, message = message.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(message[:8], "little")
            value, end, message = message[8 : 8 + length], message[8 + length :][:1], message[9 + length :]
            assert end == b"\n"
        found.append((name.decode(), value))
    return found


def test_an_event_in_the_journal() -> None:
    found = fields(journal_message(of(DEFERRED)))
    assert found[:6] == [
        ("MESSAGE", TEXT.encode()),
        ("PRIORITY", b"3"),
        ("SYSLOG_IDENTIFIER", b"mailserver"),
        ("SYSLOG_FACILITY", b"2"),
        ("MAILSERVER_EVENT", b"MessageDeferred"),
        ("MAILSERVER_ID", b"1abc"),
    ]
    assert [value for name, value in found if name == "MAILSERVER_RECIPIENTS"] == [
        b"bob@example.org",
        b"eve@example.org",
    ]
    assert ("MAILSERVER_REASON", b"no space left\non the disk") in found
    assert {name for name, _ in found[6:]} == {
        f"MAILSERVER_{name}"
        for name in ("SESSION", "CLIENT", "ACCOUNT", "SENDER", "RECIPIENTS", "REASON", "RULE")
    }


def test_an_event_with_a_traceback() -> None:
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        failure = Failure()
    record = of(SpoolDamaged(reason="x", path=Path("/y")), log_failure=failure)
    found = dict(fields(journal_message(record)))
    assert found["PRIORITY"] == b"2" and found["MAILSERVER_PATH"] == b"/y"
    assert found["MAILSERVER_TRACEBACK"].endswith(b"ZeroDivisionError: a bug\n")
    text = SyslogForm("mail.example.org", False).message(record)
    assert text is not None and b"\n" not in text and text.endswith(b"ZeroDivisionError: a bug\\n")


def test_events_of_twisted_in_the_journal() -> None:
    record = event("started {name}", name="\udcff", **{"a-b": 2})
    record["log_level"] = LogLevel.warn
    found = fields(journal_message(record))
    assert ("PRIORITY", b"4") in found and ("MAILSERVER_NAMESPACE", b"some.where") in found
    assert ("MESSAGE", b"started \\udcff") in found and ("MAILSERVER_NAME", b"\\udcff") in found
    assert "MAILSERVER_A-B" not in dict(found)
    assert journal_message(event("")) is None and SyslogForm("h", True).message(event("")) is None


def test_syslog() -> None:
    pid, local = os.getpid(), time.strftime("%b %e %H:%M:%S", time.localtime(NOON))
    assert SyslogForm("mail.example.org", False).message(of(DEFERRED)) == (
        "<19>1 2026-11-22T12:00:00.250000Z mail.example.org "
        f"mailserver {pid} MessageDeferred - {TEXT}".encode()
    )
    assert SyslogForm("mail.example.org", True).message(of(DEFERRED)) == (
        f"<19>{local} mailserver[{pid}]: MessageDeferred: {TEXT}".encode()
    )
    assert re.fullmatch(
        rb"<22>1 \S+ h mailserver \d+ - - hello", SyslogForm("h", False).message(event("hello")) or b""
    )


def test_long_messages_are_cut() -> None:
    cut = SyslogForm("h", False).message(event("ü" * MAX_OCTETS))
    assert cut is not None and MAX_OCTETS - 1 <= len(cut) <= MAX_OCTETS
    assert set(cut.decode().rpartition(" ")[2]) == {"ü"}


def receive(kind: int, family: int, address: Any) -> tuple[socket.socket, Callable[[], bytes]]:
    server = socket.socket(family, kind)
    server.bind(address)
    server.settimeout(30)
    if kind == socket.SOCK_DGRAM:
        return server, lambda: server.recv(65536)
    server.listen()

    def read() -> bytes:
        with server.accept()[0] as peer:
            return peer.recv(65536)

    return server, read


@pytest.mark.parametrize(
    ("format", "kind", "beginning"),
    [
        ("journal", socket.SOCK_DGRAM, b"MESSAGE=1abc: deferred"),
        (
            "syslog",
            socket.SOCK_DGRAM,
            rb"<19>\w\w\w .\d \d\d:\d\d:\d\d mailserver\[\d+\]: MessageDeferred: 1abc",
        ),
        ("syslog", socket.SOCK_STREAM, rb"<19>\w\w\w "),
    ],
)
def test_unix_sockets(tmp_path: Path, format: Any, kind: int, beginning: bytes) -> None:
    path = str(tmp_path / "log")
    server, read = receive(kind, socket.AF_UNIX, path)
    with server:
        observer = log_observer(
            stand_in(reactor), TWISTD, LogSection(format=format, destination=path), "h", CONFIG
        )
        assert isinstance(observer, SocketObserver)
        observer(of(DEFERRED))
        observer(event(""))
        assert re.match(beginning, read())


@pytest.mark.parametrize(
    ("protocol", "host", "beginning"),
    [
        ("udp", "127.0.0.1", rb"<19>1 2026-11-22T"),
        ("tcp", "127.0.0.1", rb"\d\d\d <19>1 "),
        ("tcp", "::1", rb"\d\d\d <"),
    ],
)
def test_servers(protocol: str, host: str, beginning: bytes) -> None:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    server, read = receive(kind, socket.AF_INET6 if ":" in host else socket.AF_INET, (host, 0))
    with server:
        to = SyslogServer(protocol, host, server.getsockname()[1])
        observer = log_observer(
            stand_in(reactor), TWISTD, LogSection(format="syslog", destination=to), "h", CONFIG
        )
        assert observer is not None
        observer(of(DEFERRED))
        assert re.match(beginning, read())


def test_a_destination_that_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    for format, reason in (("journal", "No such file or directory"), ("syslog", "No such file or directory")):
        section = LogSection(format=format, destination=path)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError) as raised:
            log_observer(stand_in(reactor), TWISTD, section, "h", CONFIG)
        assert raised.value.lines == [f"{CONFIG}: log.destination: cannot connect to {path}: {reason}"]


@pytest.mark.parametrize(
    "options", [None, {**TWISTD, "syslog": True}, {**TWISTD, "logger": "x.y"}, {"logFile": 1}]
)
def test_options_of_twistd_take_precedence(options: Any) -> None:
    section = LogSection(format="journal", destination="/nonexistent/socket")
    assert log_observer(stand_in(reactor), options, section, "h", CONFIG) is None
