"""Start, ready file, refused starts, and what SIGTERM and SIGINT mean to sessions."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import (
    BOTH,
    ROOT,
    Makes,
    Server,
    configuration,
    launch_python,
    launch_twistd,
    wait_until,
)
from tests.support.runs import rest_slow

Launch = Callable[..., list[str]]
both_launchers = pytest.mark.parametrize(
    "launch", rest_slow([launch_twistd, launch_python]), ids=["twistd", "python-m"]
)


def patient(seconds: str) -> str:
    return configuration(top=f'allow_root = true\nstop_grace = "{seconds}"')


# Start


@both_launchers
@pytest.mark.parametrize("number", rest_slow([signal.SIGTERM, signal.SIGINT]))
def test_ready_file_and_end(make_server: Makes, launch: Launch, number: signal.Signals) -> None:
    server = make_server(launch=launch).start()
    (smtp_host, smtp_port), (pop3_host, pop3_port) = server.smtp, server.pop3
    smtp = {"protocol": "smtp", "tls": "none", "host": "127.0.0.1", "port": smtp_port}
    pop3 = {"protocol": "pop3", "tls": "none", "host": "127.0.0.1", "port": pop3_port}
    assert json.loads(server.ready.read_bytes()) == {"pid": server.pid, "listeners": [smtp, pop3]}
    assert {file.name for file in server.directory.iterdir()} == {
        "mailserver.toml",
        "ready.json",
        "server.log",
        "data",
    }
    with Smtp((smtp_host, smtp_port)) as session:
        assert session.greeting.startswith(b"220 mail.example.org ")
        session.expect(b"QUIT", b"221")
    with Pop3((pop3_host, pop3_port)) as session:
        assert session.greeting.startswith(b"+OK")
        session.expect(b"QUIT", b"+OK")
    server.signal(number)
    assert server.wait() == -number
    server.check_log()


def test_unix_socket_has_a_path(make_server: Makes, nobodys_folder: Path) -> None:
    path = f"{nobodys_folder}/smtp.sock"
    server = make_server(configuration(listen=[("smtp", f"unix:{path}"), BOTH[1]])).start()
    assert server.listeners[0] == {"protocol": "smtp", "tls": "none", "path": path}
    assert server.listeners[1]["protocol"] == "pop3"
    with Smtp(path) as session:
        session.begin(SENDER, "alice@example.org")
        assert session.ask(MESSAGES["plain"] + b".").startswith(b"250")
    assert [original(stored) for stored in Mailbox(server, "alice").messages()] == [MESSAGES["plain"]]


def test_several_listeners(make_server: Makes) -> None:
    server = make_server(configuration(listen=[*BOTH, *BOTH])).start()
    assert [one["protocol"] for one in server.listeners] == ["smtp", "pop3", "smtp", "pop3"]
    assert len({one["port"] for one in server.listeners}) == 4
    for one in server.listeners:
        with socket.create_connection((one["host"], one["port"]), 10) as connection:
            assert connection.recv(100)[:3] in (b"220", b"+OK")


def test_help_shows_the_options() -> None:
    command = [sys.executable, "-m", "twisted", "mailserver", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "--config" in done.stdout
    assert "--ready-file" in done.stdout


# Refused starts


def only(lines: Iterable[str]) -> str:
    """The line, of which there must be no other."""
    found = list(lines)
    assert len(found) == 1, found
    return found[0]


@both_launchers
def test_wrong_configuration_names_everything_that_is_wrong(make_server: Makes, launch: Launch) -> None:
    tables = '[smtp]\nmax_recipient = 5\n[limits]\nconnections = -1\n[storage]\nengine = "mbox"\n'
    server = make_server(configuration(tables=tables), launch=launch)
    lines, _ = server.refused()
    assert len(lines) == 3, lines
    assert all(line.startswith(str(server.config)) for line in lines), lines
    for parts in (
        ("smtp.max_recipient", "max_recipients"),
        ("limits.connections", "-1"),
        ("storage.engine", "mbox", "maildir"),
    ):
        assert any(all(part in line for part in parts) for line in lines), (parts, lines)


def test_configuration_that_is_not_there(make_server: Makes) -> None:
    server = make_server()
    server.config.unlink()
    assert str(server.config) in only(server.refused()[0])


def test_configuration_that_is_no_toml(make_server: Makes) -> None:
    server = make_server("hostname = \n")
    assert str(server.config) in only(server.refused()[0])


def test_alias_loop_is_found_at_the_start(make_server: Makes) -> None:
    tables = "\n".join(
        f'[[alias]]\naddress = "{a}@example.org"\nto = ["{b}@example.org"]'
        for a, b in (("one", "two"), ("two", "one"))
    )
    lines, _ = make_server(configuration(tables=tables)).refused()
    assert lines
    assert all("one@example.org" in line or "two@example.org" in line for line in lines), lines


def test_everything_that_only_the_rooms_can_see_is_told_at_once(make_server: Makes) -> None:
    listen = [("smtp", "nonsense:0"), ("pop3", "ssl:0:privateKey=nope.pem")]
    tables = """[storage]\nengine = "postgresql"\nurl = "postgresql://db/mail?hostess=db"
[[alias]]\naddress = "lost"\nto = ["nobody@example.org"]"""
    server = make_server(configuration(listen=listen, tables=tables))
    lines, _ = server.refused()
    assert len(lines) == 4
    for number, place in enumerate(("alias[1].to: lost@", "storage.url", "listen[1].", "listen[2].")):
        assert lines[number].startswith(f"{server.config}: {place}"), lines


# What is seen before anything is bound, and so all of it at once.
WRONG = [
    ("nosuch:0", "nosuch"),
    ("tcp:0:colour=red", "colour"),
    ("tcp:smtp-port", "smtp-port"),
    ("haproxy:tcp:0:interface=127.0.0.1", "haproxy"),
    ("stdio:", "stdio"),
    ("systemd:domain=INET:index=0", "systemd"),
]
UNBOUND = {
    "port-too-high": ("tcp:99999:interface=127.0.0.1", "99999"),
    "address-of-others": ("tcp:0:interface=192.0.2.1", "192.0.2.1"),
    "no-folder": ("unix:/nonexistent/pop3.sock", "/nonexistent/pop3.sock"),
}


def test_listeners_that_cannot_be(make_server: Makes) -> None:
    server = make_server(configuration(listen=[BOTH[0], *(("pop3", endpoint) for endpoint, _ in WRONG)]))
    lines, _ = server.refused()
    assert len(lines) == len(WRONG), lines
    for number, (line, (endpoint, word)) in enumerate(zip(lines, WRONG, strict=True), 2):
        place, _, told = line.removeprefix(f"{server.config}: ").partition(": ")
        assert place == f"listen[{number}].endpoint", endpoint  # entries are counted from one
        assert word in told


@pytest.mark.parametrize("name", UNBOUND)
def test_listener_that_cannot_be_bound(make_server: Makes, name: str) -> None:
    endpoint, word = UNBOUND[name]
    server = make_server(configuration(listen=[BOTH[0], ("pop3", endpoint)]))
    lines, _ = server.refused()
    told = only(lines).removeprefix(f"{server.config}: ")
    assert told.startswith("listen[2].endpoint: "), told
    assert word in told


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("data", "File exists: {server.data}"),
        ("data/below", "File exists: {server.data}"),
        ("/proc/mail", "No such file or directory: /proc/mail"),
        ("broken/data", "File exists: {server.directory}/broken"),
    ],
)
def test_data_directory_that_cannot_be(make_server: Makes, place: str, reason: str) -> None:
    server = make_server(configuration().replace('data = "data"', f'data = "{place}"'))
    server.data.write_text("a file is in the way")
    (server.directory / "broken").symlink_to("nowhere")
    lines, _ = server.refused()
    assert only(lines) == f"{server.config}: data: {reason.format(server=server)}"


def test_ready_file_that_cannot_be(make_server: Makes) -> None:
    """Whoever waits for it would wait for ever."""
    server = make_server()
    server.ready = server.directory / "missing" / "ready.json"
    lines, _ = server.refused()
    assert str(server.ready) in only(lines)


@both_launchers
def test_port_in_use_names_the_listener(make_server: Makes, launch: Launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        listen = [BOTH[0], ("pop3", f"tcp:{port}:interface=127.0.0.1")]
        server = make_server(configuration(listen=listen), launch=launch)
        lines, _ = server.refused()
    assert f'cannot listen on "tcp:{port}:interface=127.0.0.1": Address already in use' in only(lines)
    server.configure(configuration())
    server.start()  # and nothing of the failed start is in the way


@both_launchers
def test_second_server_on_the_same_data_names_the_first(make_server: Makes, launch: Launch) -> None:
    first = make_server().start()
    second = make_server(configuration().replace('"data"', f'"{first.data}"'), launch=launch)
    lines, _ = second.refused()
    assert str(first.data) in only(lines)
    assert f"pid {first.pid}" in only(lines)
    Mailbox(first, "alice").fill(MESSAGES["plain"])
    first.stop()
    second.start()
    assert len(Mailbox(second, "alice").messages()) == 1


# The end


def is_refused(server: Server) -> bool:
    try:
        with Smtp(server.smtp):
            return False
    except ConnectionRefusedError:
        return True
    except (OSError, EOFError):  # its worker has stopped to listen before it was accepted
        return False


def test_sigterm_lets_a_message_finish(make_server: Makes) -> None:
    server = make_server(patient("15s")).start()
    half = len(MESSAGES["dots"]) // 2
    with Smtp(server.smtp) as idle, Smtp(server.smtp) as busy:
        idle.expect(b"EHLO client.example", b"250")
        busy.begin(SENDER, "alice@example.org")
        busy.send(b"Subject: slow\r\n\r\n" + b"x" * half)
        server.signal(signal.SIGTERM)
        assert idle.line().startswith(b"421 ")
        assert idle.rest() == b""
        wait_until(lambda: is_refused(server), "the end of all listeners")
        busy.send(b"\r\nlast line\r\n.\r\n")
        assert busy.line().startswith(b"250 2.0.0 Ok: queued as ")
        before = time.monotonic()
        assert server.wait() == -signal.SIGTERM
        assert time.monotonic() - before < 5, "it waits for nobody any more"
    server.check_log()
    server.start()
    [stored] = Mailbox(server, "alice").messages()
    assert original(stored) == b"Subject: slow\r\n\r\n" + b"x" * half + b"\r\nlast line\r\n"


def test_sigterm_waits_for_a_message_no_longer_than_the_grace(make_server: Makes) -> None:
    server = make_server(patient("1s")).start()
    with Smtp(server.smtp) as busy:
        busy.begin(SENDER, "alice@example.org")
        busy.send(b"Subject: too slow\r\n\r\nfirst line\r\n")
        before = time.monotonic()
        server.signal(signal.SIGTERM)
        assert busy.rest().startswith(b"421 ")
        assert server.wait() == -signal.SIGTERM
        assert 0.9 < time.monotonic() - before < 10
    server.check_log()
    server.start()
    assert Mailbox(server, "alice").messages() == []


@pytest.mark.slow
def test_sigterm_drops_a_pop3_session_and_removes_nothing(make_server: Makes) -> None:
    server = make_server(patient("2s")).start()
    alice = Mailbox(server, "alice")
    alice.fill(MESSAGES["plain"], MESSAGES["dots"])
    uids = alice.uids()
    with alice.login() as session, Pop3(server.pop3) as stranger:
        session.expect(b"DELE 1", b"+OK")
        server.signal(signal.SIGTERM)
        assert stranger.rest() == b""  # who is not in a transaction gets no grace
        session.expect(b"STAT", b"+OK 1 ")
        assert session.rest() == b""
        assert server.wait() == -signal.SIGTERM
    server.check_log()
    server.start()
    assert alice.uids() == uids


def test_sigterm_lets_a_pop3_session_quit(make_server: Makes) -> None:
    server = make_server(patient("15s")).start()
    alice = Mailbox(server, "alice")
    alice.fill(MESSAGES["plain"], MESSAGES["dots"])
    uids = alice.uids()
    with alice.login() as session, Smtp(server.smtp) as idle:
        session.expect(b"DELE 1", b"+OK")
        server.signal(signal.SIGTERM)
        assert idle.line().startswith(b"421 ")
        session.expect(b"QUIT", b"+OK")
        before = time.monotonic()
        assert server.wait() == -signal.SIGTERM
        assert time.monotonic() - before < 5
    server.check_log()
    server.start()
    assert alice.uids() == uids[1:]


def test_mail_survives_a_restart(server: Server) -> None:
    alice = Mailbox(server, "alice")
    alice.fill(*MESSAGES.values())
    uids, stored = alice.uids(), alice.messages()
    server.restart()
    assert alice.uids() == uids
    assert alice.messages() == stored
    alice.fill(MESSAGES["plain"])
    assert alice.uids()[:-1] == uids
