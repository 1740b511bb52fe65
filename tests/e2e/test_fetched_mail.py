"""ATRN: a server fetches the mail for its domain, fetchmail as one that people use, and one that drops."""

import base64
import smtplib
import socket
import ssl
from pathlib import Path
from struct import pack

import pytest

from tests.support.e2e.clients import write_settings
from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.mailbox import SENDER
from tests.support.e2e.programs import client, need
from tests.support.e2e.server import BOTH, DOMAIN, PASSWORD, Makes, Server, configuration, wait_until
from tests.support.tls_material import make_ca

pytestmark = pytest.mark.one_process("relay.atrn needs it")

TABLES = """
[smtp]
plaintext_auth = true
[auth]
mechanisms = ["CRAM-MD5", "PLAIN"]
[relay]
domains = ["example.net", "other.example"]
atrn = { "example.net" = ["alice"], "other.example" = ["alice", "bob"] }
"""
CAROL = """
[[account]]
address = "carol@example.net"
password = "carol"
"""
LOGIN = base64.b64encode(f"\0alice@example.org\0{PASSWORD}".encode())


@pytest.fixture
def server(make_server: Makes) -> Server:
    return make_server(configuration(accounts=["alice", "bob"], tables=TABLES)).start()


def send(server: Server, *names: str) -> None:
    with smtplib.SMTP(*server.smtp, timeout=20) as sender:
        for name in names:
            sender.sendmail(SENDER, [name], f"Subject: to {name}\r\n\r\n.\r\n..dots\r\n")


def waiting(server: Server) -> str:
    return mailserver(server, "queue", "list")[1][-1]


class Customer:
    """A server that fetches its mail: each line is read by hand."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(server.smtp, timeout=20)
        self.lines = self.socket.makefile("rb")
        assert self.read().startswith(b"220 ")
        if tls is not None:
            self.ask(b"STARTTLS", b"220 ")
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            self.lines = self.socket.makefile("rb")
        self.say(b"EHLO customer.example")
        while (line := self.read())[3:4] == b"-":
            assert line
        self.ask(b"AUTH PLAIN " + LOGIN, b"235 ")

    def read(self) -> bytes:
        return self.lines.readline().rstrip(b"\r\n")

    def say(self, line: bytes) -> None:
        self.socket.sendall(line + b"\r\n")

    def ask(self, line: bytes, reply: bytes) -> None:
        self.say(line)
        found = self.read()
        assert found.startswith(reply), found

    def receive(self, replies: dict[bytes, bytes], *, reset: bool = False) -> list[bytes]:
        """Answer the commands of the other side until it quits; the dot gets ``replies[b"."]``, if that is
        empty, the connection is dropped. Returns the recipients."""
        self.say(b"220 customer.example")
        recipients = []
        while line := self.read():
            verb = line[:4].upper()
            if verb == b"RCPT":
                recipients.append(line[8:].strip(b"<>"))
            self.say({b"DATA": b"354 go", b"QUIT": b"221 bye"}.get(verb, b"250 ok"))
            if verb == b"DATA":
                while self.read() != b".":
                    pass
                reply = replies.get(recipients[-1], b"250 2.0.0 kept")
                if not reply:
                    if reset:  # the connection ends with RST
                        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
                    break
                self.say(reply)
            if verb == b"QUIT":
                assert self.read() == b"", "the connection is closed"
                break
        self.lines.close()
        self.socket.close()
        return recipients


@pytest.mark.parametrize("reset", [False, True])
def test_a_customer_that_drops_and_comes_again(server: Server, reset: bool) -> None:
    names = {b"a@example.net", b"b@example.net", b"c@other.example", b"d@example.net"}
    send(server, *sorted(name.decode() for name in names))
    assert waiting(server) == "4 messages, 4 recipients waiting"
    customer = Customer(server)
    customer.ask(b"ATRN example.net,elsewhere.example", b"450 4.7.1 ATRN request refused")
    customer.ask(b"ATRN example.net", b"250 2.0.0 OK now reversing the connection")
    first = customer.receive({b"b@example.net": b""}, reset=reset)
    assert first[-1] == b"b@example.net" and b"c@other.example" not in first
    # It has dropped the connection in place of an answer for b.
    customer = Customer(server)
    customer.ask(b"ATRN", b"250 ")
    rest = customer.receive({b"c@other.example": b"550 5.1.1 no such user"})
    assert sorted(first[:-1] + rest) == sorted(names), "each of them once"
    wait_until(lambda: "DeliveryFailed" in server.log, "the bounce")
    customer = Customer(server)
    customer.ask(b"ATRN", b"453 4.0.0 You have no mail")
    customer.ask(b"QUIT", b"221 ")
    assert server.log.count("MailFetchStarted") == 2
    assert "c@other.example" not in "".join(mailserver(server, "queue", "list")[1])


def test_a_stop_of_the_server(make_server: Makes) -> None:
    top = 'allow_root = true\nstop_grace = "500ms"'
    server = make_server(configuration(top=top, accounts=["alice", "bob"], tables=TABLES)).start()
    send(server, "a@example.net")
    customer = Customer(server)
    customer.ask(b"ATRN", b"250 ")
    customer.say(b"220 customer.example")
    assert customer.read() == b"EHLO mail.example.org"
    server.stop()
    with pytest.raises(ConnectionResetError):
        customer.read()
    assert waiting(server) == "1 message, 1 recipient waiting"


def test_tls_stays(make_server: Makes, tmp_path: Path) -> None:
    authority = make_ca(tmp_path)
    issued = authority.issue("localhost")
    key = f'[tls]\ncertificate = "{issued.certificate}"\nprivate_key = "{issued.private_key}"\n'
    tables = TABLES.replace("plaintext_auth = true", "plaintext_auth = false") + key
    listen = [(protocol, endpoint, "starttls") for protocol, endpoint, *_ in BOTH]
    server = make_server(configuration(listen=listen, accounts=["alice", "bob"], tables=tables)).start()
    send(server, "a@example.net", "b@example.net")
    customer = Customer(server, ssl.create_default_context(cafile=authority.path))
    customer.ask(b"ATRN", b"250 ")
    assert sorted(customer.receive({})) == [b"a@example.net", b"b@example.net"]
    assert waiting(server) == "0 messages, 0 recipients waiting"


def test_fetchmail(server: Server, make_server: Makes, tmp_path: Path) -> None:
    text = configuration(accounts=["alice"], tables=CAROL)
    home = make_server(text.replace(f'["{DOMAIN}"]', f'["{DOMAIN}", "example.net"]')).start()
    send(server, "carol@example.net", "carol@example.net", "nobody@example.net")
    host, port = home.smtp
    settings = write_settings(
        tmp_path / "fetchmailrc",
        f"poll 127.0.0.1 service {server.smtp[1]} protocol odmr",
        f'user "alice@example.org" fetchdomains example.net password "{PASSWORD}"',
        f'smtphost {host}/{port} sslproto ""',
    )
    options = ("-v", "-v", "--pidfile", tmp_path / "pid", "--nosyslog", "-f", settings)
    ran = client(tmp_path, need("fetchmail"), *options, env={"FETCHMAILHOME": str(tmp_path)})
    assert "ATRN example.net" in ran.said and "Turnaround now" in ran.said, ran.said
    with Pop3(home.pop3) as session:
        assert session.login("carol@example.net", "carol").startswith(b"+OK")
        assert session.multi(b"RETR 1").endswith(b"\r\n\r\n.\r\n..dots\r\n")
        assert len(session.multi(b"LIST").splitlines()) == 2
    assert server.log.count("MessageRelayed") == 2
    failed = [line for line in server.log.splitlines() if "mailserver.DeliveryFailed#" in line]
    assert "nobody@example.net" in failed[0] and "550 5.1.1" in failed[0]
    ran = client(tmp_path, need("fetchmail"), *options, env={"FETCHMAILHOME": str(tmp_path)})
    assert "You have no mail" in ran.said, ran.said
