"""A reset: the ports stay, and nothing else."""

import poplib
import smtplib
import socket
import threading

import pytest

from mailserver.testing.server import MailServer
from mailserver.testing.thread import reactor_thread


def send(server: MailServer, subject: str) -> None:
    with smtplib.SMTP(server.smtp.host, server.smtp.port) as smtp:
        smtp.sendmail("a@example.test", ["bob@example.test"], f"Subject: {subject}\r\n\r\nHi\r\n")


def test_everything_is_forgotten_but_the_ports() -> None:
    with MailServer(seed=1, accept="accounts") as server:
        ports = dict(server.ports)
        server.add_account("bob@example.test")
        server.smtp.on("RCPT", "nobody").reply(451)
        server.smtp.hide("SIZE")
        server.clock.advance("4h")
        send(server, "one")
        first = server.messages
        with socket.create_connection(("127.0.0.1", server.pop3.port)) as client:
            assert client.recv(100).startswith(b"+OK")
            server.reset()
            with pytest.raises(ConnectionResetError):
                client.recv(100)
        assert (server.messages, server.sessions, server.outbox, server.never_fired()) == ([], [], [], [])
        assert dict(server.ports) == ports
        with smtplib.SMTP(server.smtp.host, server.smtp.port) as smtp:
            smtp.ehlo()
            assert smtp.has_extn("SIZE")
            with pytest.raises(smtplib.SMTPRecipientsRefused, match="no such user"):
                smtp.sendmail("a@example.test", ["bob@example.test"], "Hi")
        server.reset()
        server.add_account("bob@example.test")
        server.clock.advance("4h")
        send(server, "one")
        assert [each.raw for each in server.messages] == [each.raw for each in first]


def test_a_port_that_refused_listens_again() -> None:
    with MailServer() as server:
        server.pop3.refuse()
        with pytest.raises(ConnectionRefusedError):
            poplib.POP3(server.pop3.host, server.pop3.port)
        server.reset()
        poplib.POP3(server.pop3.host, server.pop3.port).quit()
        server.pop3.refuse()
        server.pop3.listen()
        poplib.POP3(server.pop3.host, server.pop3.port).quit()


def test_no_connection_is_refused_during_resets() -> None:
    with MailServer() as server:
        ended, errors, greeted = threading.Event(), [], []

        def connect() -> None:
            while not ended.is_set():
                try:
                    with socket.create_connection(("127.0.0.1", server.smtp.port), timeout=10) as client:
                        greeted.append(client.recv(100))
                except ConnectionResetError:
                    continue  # a reset ends all connections
                except OSError as error:
                    errors.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        for _ in range(20):
            server.reset()
        ended.set()
        thread.join()
        assert not errors and greeted


def test_ports_and_host_of_the_settings() -> None:
    with MailServer() as server:
        ports = {name: port.port for name, port in server.ports.items()}
    with MailServer(host="::1", ports={"smtp": ports["smtp"]}) as server:
        assert (server.smtp.host, server.smtp.port) == ("::1", ports["smtp"])
        assert server.smtp_url == f"smtp://[::1]:{ports['smtp']}"
        server.reset()
        send(server, "one")
    with pytest.raises(ValueError, match="no listener 'imap'; allowed: smtp, "):
        MailServer(ports={"imap": 143})
    with MailServer(tls=False), pytest.raises(ValueError, match="no listener 'smtps'"):
        MailServer(tls=False, ports={"smtps": 465})


def test_calls_in_the_thread_of_the_servers() -> None:
    thread = reactor_thread()
    assert not thread.is_current
    assert thread.call(lambda: thread.call(lambda: thread.is_current))
