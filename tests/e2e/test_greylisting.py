"""Greylisting and the mark of first contacts in the whole server, also after a restart."""

import smtplib
import sqlite3

from tests.support.dns_zone import DnsZone
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import PASSWORD, Makes, Server, configuration, wait_until

TABLES = """
[smtp]
xclient_networks = ["127.0.0.1"]
plaintext_auth = true
[policy]
greylist = "%s"
greylist_delay = "1s"
first_contact = "tag"
[dns]
servers = ["%s"]
"""
NAMES = (
    "1.2.0.192.in-addr.arpa PTR mail.good.example",
    "mail.good.example A 192.0.2.1",
    "client.example A 192.0.2.77",
)


def attempt(server: Server, ip: str, sender: str, to: str = "alice@example.org") -> tuple[int, bytes]:
    """The reply to RCPT; a message is sent if it is accepted."""
    with smtplib.SMTP(*server.smtp) as client:
        client.ehlo("proxy.example")
        assert client.docmd(f"XCLIENT ADDR={ip}")[0] == 220
        client.ehlo("client.example")
        assert client.mail(sender)[0] == 250
        reply = client.rcpt(to)
        if reply[0] == 250:
            assert client.data("Subject: x\r\n\r\nHello\r\n")[0] == 250
        return reply


def test_a_real_server_tries_again(make_server: Makes) -> None:
    with DnsZone() as zone:
        server = make_server(configuration(tables=TABLES % ("all", zone.address))).start()
        sender, waits = "someone@sender.example", (451, b"4.7.1 greylisted: please try again in 1 second")
        assert attempt(server, "192.0.2.1", sender) == waits
        assert attempt(server, "192.0.2.1", "other@sender.example") == waits
        assert attempt(server, "192.0.2.1", sender, "nobody@example.org")[0] == 550  # it would not help
        wait_until(lambda: attempt(server, "192.0.2.200", sender)[0] == 250, "the time of the delay")
        assert attempt(server, "192.0.2.1", sender, "bob@example.org")[0] == 250
        assert "<someone@sender.example> from 192.0.2.200 has passed greylisting after" in server.log
        # who was written to need not wait
        with smtplib.SMTP(*server.smtp) as client:
            client.login("alice@example.org", PASSWORD)
            client.sendmail("alice@example.org", "friend@friend.example", "Subject: hello\r\n\r\nHello\r\n")
        assert attempt(server, "203.0.113.1", "Friend@friend.example")[0] == 250
        server.restart()
        assert attempt(server, "192.0.2.1", sender)[0] == 250
        assert attempt(server, "203.0.113.1", "friend@friend.example")[0] == 250
        marks = [b"X-First-Contact: yes\r\n" in one for one in Mailbox(server, "alice").messages()]
        assert marks[0] and marks.count(True) == 1
        server.stop()
        with sqlite3.connect(server.data / "history.db") as database:
            kinds = {kind for (kind,) in database.execute("SELECT kind FROM seen")}
        assert kinds == {"waiting", "passed", "network", "written", "heard"}


def test_only_suspicious_clients_wait_and_a_lost_history_stops_no_mail(make_server: Makes) -> None:
    with DnsZone(*NAMES) as zone:
        server = make_server(configuration(tables=TABLES % ("suspicious", zone.address))).start()
        assert attempt(server, "192.0.2.1", "someone@sender.example")[0] == 250
        assert attempt(server, "192.0.2.2", "someone@other.example")[0] == 451
        server.stop()
        for path in server.data.glob("history.db*"):
            path.write_bytes(b"no database" * 1000)
        server.start()
        assert attempt(server, "192.0.2.2", "someone@other.example")[0] == 250
        assert "history of contacts unusable: file is not a database" in server.log
        server.stop()


def test_no_history_is_kept_unless_a_key_asks_for_it(make_server: Makes) -> None:
    server = make_server().start()
    Mailbox(server, "alice").fill(b"Subject: x\r\n\r\nHello\r\n")
    server.stop()
    assert not (server.data / "history.db").exists()
