"""SIGHUP: what changes without a restart, and that a wrong configuration changes nothing."""

import signal
import time

from .conftest import Makes
from .corpus import MESSAGES
from .dialogue import Pop3, Smtp
from .mailbox import SENDER, Mailbox
from .server import ACCOUNTS, PASSWORD, Server, configuration, wait_until

MORE = [*ACCOUNTS, "dora"]


def reload(server: Server) -> str:
    """SIGHUP; the one event that it must log, without the time."""
    with Smtp(server.smtp) as session:  # so that nothing of the start is still to be logged
        session.expect(b"QUIT", b"221")
    before = len(server.log)
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.log[before:].endswith("\n"), "an event in the log")
    time.sleep(0.3)  # a second event would be wrong, and follow at once
    [line] = server.log[before:].splitlines()
    return line


def logs_in(server: Server, name: str) -> bool:
    with Pop3(server.pop3) as session:
        return session.login(f"{name}@example.org", PASSWORD).startswith(b"+OK")


def receives(server: Server, address: str) -> bool:
    with Smtp(server.smtp) as session:
        session.expect(b"EHLO client.example", b"250")
        session.expect(b"MAIL FROM:<%s>" % SENDER.encode(), b"250")
        return session.ask(b"RCPT TO:<%s>" % address.encode()).startswith(b"250")


def test_new_account_without_a_restart(server: Server) -> None:
    assert not logs_in(server, "dora")
    pid = server.pid
    alice = Mailbox(server, "alice")
    alice.fill(MESSAGES["plain"])
    with alice.login() as session:
        server.configure(configuration(accounts=MORE))
        reload(server)
        assert logs_in(server, "dora")
        dora = Mailbox(server, "dora")
        dora.fill(MESSAGES["dots"])
        assert len(dora.messages()) == 1
        session.expect(b"STAT", b"+OK 1 ")  # and sessions live on
        session.expect(b"QUIT", b"+OK")
    assert server.pid == pid
    assert server.process is not None
    assert server.process.poll() is None


def test_removed_account_and_changed_routes(server: Server) -> None:
    assert receives(server, "sales@example.org")
    tables = '[[alias]]\naddress = "shop@example.org"\nto = ["alice@example.org"]\n'
    server.configure(configuration(accounts=ACCOUNTS[:2], tables=tables))
    reload(server)
    for address, known in (
        ("shop", True),
        ("alice", True),
        ("sales", False),
        ("club", False),
        ("carol", False),
    ):
        assert receives(server, f"{address}@example.org") is known, address
    assert not logs_in(server, "carol")


def test_limits_change(server: Server) -> None:
    server.configure(configuration(tables="[smtp]\nmax_message_size = 77777\n"))
    reload(server)
    with Smtp(server.smtp) as session:
        assert b"SIZE 77777" in session.ask(b"EHLO client.example")


def test_wrong_configuration_keeps_the_old_one(server: Server) -> None:
    server.configure(configuration(accounts=MORE, tables="[smtp]\nmax_recipient = 5\n"))
    assert "max_recipient" in reload(server)
    assert logs_in(server, "alice")
    assert not logs_in(server, "dora")
    assert receives(server, "sales@example.org")

    server.config.unlink()
    assert str(server.config) in reload(server)
    assert logs_in(server, "alice")

    server.configure(configuration(accounts=MORE))
    reload(server)
    assert logs_in(server, "dora")


def test_what_needs_a_restart_is_named(make_server: Makes) -> None:
    server = make_server().start()
    text = configuration(accounts=MORE, listen=[("smtp", "tcp:0:interface=127.0.0.1")])
    server.configure(text.replace('data = "data"', 'data = "elsewhere"'))
    event = reload(server)
    assert "listen" in event
    assert "data" in event
    assert logs_in(server, "dora"), "the POP3 port is still there, and the rest is in force"


def test_what_the_next_start_would_refuse_is_refused_now(server: Server) -> None:
    for listen in ([("lmtp", "tcp:0")], [("smtp", "nonsense:0")]):
        server.configure(configuration(accounts=MORE, listen=listen))
        assert "listen[1]" in reload(server)
        assert not logs_in(server, "dora")


def test_the_name_of_the_server_stays_until_the_next_start(server: Server) -> None:
    server.configure(configuration(accounts=MORE).replace("mail.example.org", "new.example.org"))
    assert "hostname" in reload(server)
    with Smtp(server.smtp) as session:
        assert session.greeting.startswith(b"220 mail.example.org ")
    assert logs_in(server, "dora")
