"""A server with several workers: its start and its end, and the end of a worker or of the supervisor."""

import json
import os
import poplib
import signal
import smtplib
import socket

import pytest

from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.mailbox import SENDER
from tests.support.e2e.server import ACCOUNTS, BOTH, PASSWORD, Makes, Server, configuration, wait_until
from tests.support.e2e.workers import starts_again, wait_for_end, workers
from tests.support.runs import rest_slow

COUNT = 3
TOP = f"allow_root = true\nworkers = {COUNT}"


@pytest.fixture
def server(make_server: Makes) -> Server:
    return make_server(configuration(top=TOP)).start()


def send(server: Server, subject: str) -> None:
    with smtplib.SMTP(*server.smtp, timeout=30) as client:
        client.sendmail(SENDER, ["alice@example.org"], f"Subject: {subject}\r\n\r\ntext\r\n")


def count(server: Server) -> int:
    client = poplib.POP3(*server.pop3, timeout=30)
    client.user("alice")
    client.pass_(PASSWORD)
    try:
        return client.stat()[0]
    finally:
        client.quit()


def test_the_processes_from_the_start_to_the_end(server: Server) -> None:
    ready = json.loads(server.ready.read_bytes())
    assert ready["pid"] == server.pid
    assert [one["protocol"] for one in ready["listeners"]] == ["smtp", "pop3"]
    running = workers(server)
    assert list(running) == [1, 2, 3]
    wait_until(lambda: server.log.count("is ready (pid") == COUNT, "the log")
    assert server.log.count("ready: smtp on 127.0.0.1") == 1
    for number in range(20):
        send(server, str(number))
        assert count(server) == number + 1  # on whatever worker
    server.stop()
    for pid in running.values():
        wait_for_end(pid)
    assert not (server.data / "control.sock").exists()
    server.start()
    assert count(server) == 20


@pytest.mark.parametrize("number", rest_slow([signal.SIGKILL, signal.SIGTERM]))
def test_a_worker_that_ends_starts_again(server: Server, number: signal.Signals) -> None:
    send(server, "one")
    for worker, pid in workers(server).items():
        os.kill(pid, number)
        starts_again(server, worker, pid)
        send(server, "another")
    assert count(server) == 1 + COUNT
    assert server.log.count("it starts again in 0.1 seconds") == COUNT


@pytest.mark.slow
def test_the_others_serve_while_a_worker_is_gone(server: Server) -> None:
    """A stopped process accepts nothing; the connections go to the others."""
    first = workers(server)[1]
    os.kill(first, signal.SIGSTOP)
    try:
        for number in range(10):
            send(server, str(number))
        assert count(server) == 10
    finally:
        os.kill(first, signal.SIGCONT)


@pytest.mark.slow
def test_the_end_of_the_supervisor_ends_all(server: Server) -> None:
    running = workers(server)
    send(server, "one")
    server.signal(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    for pid in running.values():
        wait_for_end(pid)
    server.start()
    assert count(server) == 1


@pytest.mark.slow
def test_sessions_end_in_peace(make_server: Makes) -> None:
    server = make_server(configuration(top=f'{TOP}\nstop_grace = "20s"')).start()
    sessions = [Smtp(server.smtp) for _ in range(9)]
    for session in sessions:
        session.begin(SENDER, "alice@example.org")
    server.signal(signal.SIGTERM)
    wait_until(lambda: "Closed)" in server.log, "the end of the listeners")
    for session in sessions:
        assert session.ask(b"Subject: late\r\n\r\ntext\r\n.").startswith(b"250")
        session.close()
    assert server.wait() == -signal.SIGTERM
    server.check_log()
    server.start()
    assert count(server) == 9


@pytest.mark.parametrize("by", rest_slow(["command", "signal"]))
def test_a_reload_reaches_all_workers(server: Server, by: str) -> None:
    server.configure(configuration(top=TOP, accounts=(*ACCOUNTS, "dave")))
    if by == "signal":
        server.signal(signal.SIGHUP)
        wait_until(lambda: "configuration reloaded" in server.log, "the reload")
    else:
        assert mailserver(server, "reload") == (0, ["configuration reloaded"], [])
    for _ in range(12):
        with smtplib.SMTP(*server.smtp, timeout=30) as client:
            client.sendmail(SENDER, ["dave@example.org"], "Subject: welcome\r\n\r\n")
    pid = workers(server)[2]
    server.configure("nonsense")
    os.kill(pid, signal.SIGKILL)
    starts_again(server, 2, pid)  # with the configuration in force, not with that in the file
    for _ in range(12):
        with smtplib.SMTP(*server.smtp, timeout=30) as client:
            client.sendmail(SENDER, ["dave@example.org"], "Subject: welcome\r\n\r\n")


@pytest.mark.slow
def test_a_worker_that_starts_again_uses_the_keys_of_the_start(server: Server) -> None:
    send(server, "one")
    server.configure(configuration(top=TOP).replace('data = "data"', 'data = "elsewhere"'))
    server.signal(signal.SIGHUP)
    wait_until(lambda: "a restart is needed for: data" in server.log, "the reload")
    for number, pid in workers(server).items():
        os.kill(pid, signal.SIGKILL)
        starts_again(server, number, pid)
    assert count(server) == 1
    assert not (server.directory / "elsewhere").exists()


def test_a_port_in_use_is_one_line(make_server: Makes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = make_server(configuration(top=TOP, listen=[("smtp", f"tcp:{port}:interface=127.0.0.1")]))
        [line], _ = server.refused()
    assert line.endswith(
        f'listen[1].endpoint: cannot listen on "tcp:{port}:interface=127.0.0.1": Address already in use'
    )


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_one_line(make_server: Makes) -> None:
    server = make_server(configuration(top=TOP))
    (server.data / "spool" / "queue.db").mkdir(parents=True)
    [line], _ = server.refused()
    assert "data: " in line


@pytest.mark.slow
def test_a_second_server_names_the_first(server: Server, make_server: Makes) -> None:
    other = make_server(configuration(top=TOP).replace('data = "data"', f'data = "{server.data}"'))
    [line], _ = other.refused()
    assert f"is locked by another process (pid {server.pid})" in line


@pytest.mark.slow
def test_unix_sockets_and_metrics(make_server: Makes, nobodys_folder) -> None:
    path = f"{nobodys_folder}/smtp.sock"
    listen = [("smtp", f"unix:{path}"), *BOTH, ("metrics", "tcp:0:interface=127.0.0.1")]
    server = make_server(configuration(top=TOP, listen=listen)).start()
    for _ in range(6):
        with Smtp(path) as session:
            assert session.greeting.startswith(b"220 mail.example.org ")
    host, port = server.address("metrics")
    with socket.create_connection((host, port), 30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.0 200")
    server.stop()
    assert not os.path.lexists(path)
