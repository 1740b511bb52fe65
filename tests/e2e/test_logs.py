"""The log of a whole server: one line for each thing that happened, whatever clients send."""

import base64
import json
import re
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.server import (
    PASSWORD,
    ROUTES,
    Makes,
    Server,
    configuration,
    launch_forked_twistd,
    launch_twistd,
)
from tests.support.runs import rest_slow

# The pieces of a name, a command, a header: what moves the cursor, what ends a line, what looks like a line.
ESCAPE = "\x1b[2J\x1b[31m"
FORGED = "1999-12-31T23:59:59+0000 [mailserver.net.smtp.SMTPConnection#info] forged"
HOSTILE = f"{ESCAPE}\r{FORGED}\x07\x9b\u2028\u202e"
WRONG = "not the passw\x1bord"

TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[[^\]]+\] .+")


def config(format: str) -> str:
    return configuration(tables=f'{ROUTES}\n[log]\nformat = "{format}"\n')


def events(server: Server) -> list[dict[str, Any]]:
    """The log in JSON, each line of which must be one object."""
    lines = server.log.split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def attack(server: Server) -> str:
    """Send control characters wherever a client can; returns the id of a message that was accepted."""
    octets = HOSTILE.encode()
    with Smtp(server.smtp) as smtp:
        for command in (
            b"EHLO %s",
            b"HELO %s",
            b"%s",
            b"MAIL FROM:<%s@example.com>",
            b'MAIL FROM:<"%s"@example.com>',
            b"VRFY %s",
        ):
            smtp.ask(command % octets)
        smtp.ask(b"RSET")
        smtp.begin("eve@example.com", "alice@example.org")
        smtp.send(b"Subject: %s\r\n %s\r\n\r\n%s\r\n" % (octets, octets, octets.replace(b"\r", b"\r\n")))
        refused = smtp.ask(b".")
        assert refused.startswith(b"550 5.6.0"), refused
        smtp.begin("eve@example.com", "alice@example.org")
        smtp.send(b"Subject: %s\r\n\r\n%s\r\n" % ((octets.replace(b"\r", b""),) * 2))
        accepted = smtp.expect(b".", b"250 2.0.0 Ok: queued as ").rsplit(b" ", 1)[1].decode()
        for name in (octets, b"nobody@%s" % octets, b'"%s"@example.org' % octets):
            smtp.ask(b"MAIL FROM:<>")
            smtp.ask(b"RCPT TO:<%s>" % name)
    with Pop3(server.pop3) as pop3:
        for command in (b"USER " + octets, b"PASS " + WRONG.encode(), octets):
            assert pop3.ask(command).startswith(b"-ERR")
        # Base64 carries what no command does.
        login = base64.b64encode(b"\0%s\0%s" % (octets, WRONG.encode()))
        assert pop3.ask(b"AUTH PLAIN " + login).startswith(b"-ERR")
    with Pop3(server.pop3) as pop3:
        assert pop3.login("alice", PASSWORD).startswith(b"+OK")
    with socket.create_connection(server.smtp) as raw:
        raw.sendall(octets + b"\n" + bytes(range(256)) * 4 + b"\n")
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(4096):
            pass
    return accepted


@pytest.mark.parametrize("format", rest_slow(["text", "json"]))
def test_every_event_is_one_line(format: str, make_server: Makes) -> None:
    server = make_server(config(format), launch=launch_forked_twistd).start()
    accepted = attack(server)
    server.stop()
    lines = server.log.split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert line.isprintable(), ascii(line)
        assert not line.startswith(FORGED[:19])
        if format == "text":
            assert TEXT.fullmatch(line), line
        else:
            assert {"time", "level", "namespace", "event"} <= json.loads(line).keys()
    assert [accepted in line for line in lines].count(True) == 1
    assert not any(PASSWORD in line or "not the passw" in line for line in lines)


def test_fields_are_told_as_they_are(make_server: Makes) -> None:
    server = make_server(config("json"), launch=launch_forked_twistd).start()
    accepted = attack(server)
    server.stop()
    found = events(server)
    (message,) = [one for one in found if one.get("id") == accepted]
    assert message["client"] == "127.0.0.1"
    assert message["recipients"] == ["alice@example.org"]
    (login,) = [one for one in found if one.get("user") == HOSTILE]
    assert login["client"] == "127.0.0.1"
    assert {"reason", "rule"} <= login.keys()


def test_what_was_logged_is_there_after_a_kill(make_server: Makes) -> None:
    server = make_server(config("json"), launch=launch_forked_twistd).start()
    with Smtp(server.smtp) as smtp:
        sent = []
        for _ in range(20):
            smtp.begin("bob@example.com", "alice@example.org")
            sent.append(smtp.ask(b"Subject: hello\r\n\r\nhello\r\n.").rsplit(b" ", 1)[1].decode())
        server.kill()
    assert [one["id"] for one in events(server) if one.get("id") in sent] == sent


def test_logfile(make_server: Makes, tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    launch = partial(launch_twistd, twistd=["--logfile", str(path)])
    server = make_server(config("json"), launch=launch).start()
    server.stop()
    assert server.log == ""
    assert any(json.loads(line)["event"].startswith("ready") for line in path.read_text().splitlines())


def test_a_logfile_that_cannot_be_had(make_server: Makes, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "mail.log"
    server = make_server(config("text"), launch=partial(launch_twistd, twistd=["--logfile", str(path)]))
    lines, _ = server.refused()
    assert lines == [f"--logfile {path}: No such file or directory"]
