"""Two servers share a database: mailboxes, locks and the queue are the same on both."""

import smtplib
from collections.abc import Callable
from functools import partial

import psycopg
import pytest

from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import DOMAIN, PASSWORD, Makes, Server, configuration, wait_until
from tests.support.far_sides.beside import far_sides
from tests.support.far_sides.scripts import Rule, Silence, at
from tests.support.pgbouncer import BOTH

pytestmark = pytest.mark.slow
MESSAGES = 20
MakeNodes = Callable[..., tuple[Server, Server]]


@pytest.fixture
def nodes(make_server: Makes, database_url: str) -> MakeNodes:
    """Makes two servers on one database."""

    def make(relay: str = "networks = []", retry: str = "1s") -> tuple[Server, Server]:
        text = configuration(
            tables=f"[relay]\n{relay}\n[queue]\nretry = ['{retry}']\n"
            f'[storage]\nengine = "postgresql"\nurl = "{database_url}"\n'
        )
        return make_server(text).start(), make_server(text).start()

    return make


def relays_to(port: int) -> str:
    return f'networks = ["127.0.0.1"]\nsmarthost = "127.0.0.1:{port}"'


def send(server: Server, recipient: str, count: int = 1) -> None:
    with smtplib.SMTP(*server.smtp, timeout=60) as client:
        for number in range(count):
            client.sendmail(SENDER, [recipient], f"Subject: {number}\r\n\r\n".encode())


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
def test_mail_and_locks_are_the_same_on_both(nodes: MakeNodes) -> None:
    one, other = nodes()
    send(one, f"alice@{DOMAIN}", 3)
    session = Mailbox(other, "alice").login()
    assert session.ask(b"STAT").startswith(b"+OK 3 ")
    with Pop3(one.pop3) as second:
        assert second.login("alice", PASSWORD).startswith(b"-ERR [IN-USE]")
    session.expect(b"DELE 2", b"+OK")
    session.expect(b"QUIT", b"+OK")
    session.close()
    assert len(Mailbox(one, "alice").messages()) == 2
    session = Mailbox(one, "alice").login()
    one.kill()
    one.start()  # its sessions have ended with it, and so have their locks
    assert len(Mailbox(other, "alice").messages()) == 2
    session.close()


def test_accounts_are_the_same_on_both(nodes: MakeNodes) -> None:
    """The other server looks for changes every few seconds."""
    one, other = nodes()
    assert mailserver(one, "account", "add", f"dora@{DOMAIN}", given=f"{PASSWORD}\n")[0] == 0
    wait_until(lambda: logs_in(other, "dora"), "the account")
    assert mailserver(other, "account", "remove", f"dora@{DOMAIN}")[0] == 0
    wait_until(lambda: not logs_in(one, "dora"), "the removal")


def logs_in(server: Server, name: str) -> bool:
    with Pop3(server.pop3) as session:
        return session.login(name, PASSWORD).startswith(b"+OK")


def has_deferred(server: Server) -> bool:
    return server.log.count("DeliveryDeferred") > MESSAGES


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
def test_both_send_each_message_once(nodes: MakeNodes) -> None:
    """While the far side defers them, both servers try the messages of either again and again."""
    with far_sides() as sides:
        far, port = sides.listen(script=at("MAIL", "451 4.3.0 not yet"))
        one, other = nodes(relays_to(port))
        for server in (one, other):
            send(server, f"{server.directory.name}@far.example", MESSAGES)
        for server in (one, other):
            wait_until(partial(has_deferred, server), "attempts")
        far.script = ()
        wait_until(lambda: len(far.kept) == 2 * MESSAGES, "the messages")
        wait_until(lambda: "0 messages" in mailserver(one, "queue", "list")[1][-1], "the end of the queue")
        counts = [far.copies(f"{server.directory.name}@far.example") for server in (one, other)]
    assert counts == [MESSAGES, MESSAGES]


def test_the_messages_of_a_killed_server_are_sent(nodes: MakeNodes, database_url: str) -> None:
    with far_sides() as sides:
        far, port = sides.listen(script=(Rule("MAIL", (Silence(),)),))
        one, other = nodes(relays_to(port))
        send(one, "bob@far.example")
        wait_until(lambda: far.sessions, "an attempt")
        one.kill()
        far.script = ()
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE lease SET until = now() WHERE name LIKE 'node %'")
        wait_until(lambda: far.copies("bob@far.example"), "the message")
        wait_until(lambda: "MessageRelayed" in other.log, "the log line")
