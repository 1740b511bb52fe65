"""Mail in PostgreSQL: clients that know nothing of it, kills of the server, and crashes of the database."""

import smtplib
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, message, original
from tests.support.e2e.clients import curl, curl_login, message_file, swaks
from tests.support.e2e.commands import mailserver
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import Makes, Server, configuration, wait_until
from tests.support.pgbouncer import BOTH, bouncing
from tests.support.postgresql import PostgreSQL, running

pytestmark = pytest.mark.slow
SENDERS, CRASHES = 4, 3
BOXES = [f"box{number}" for number in range(SENDERS)]


def with_database(url: str, more: str = "") -> str:
    tables = f'{more}\n[storage]\nengine = "postgresql"\nurl = "{url}"\n'
    return configuration(accounts=["alice", *BOXES], tables=tables)


@pytest.fixture
def crashing() -> Iterator[PostgreSQL]:
    """A database that a test may end."""
    with running() as database:
        yield database


@pytest.fixture
def crashing_url(request: pytest.FixtureRequest, crashing: PostgreSQL) -> Iterator[str]:
    """Its URL, through PgBouncer if the parameter says so."""
    if request.param == "directly":
        yield crashing.url()
        return
    with bouncing(crashing) as bouncer:
        yield bouncer.new_database()


@pytest.mark.parametrize(
    ("name", "database_url"),
    [("plain", "directly"), ("attachment", "directly"), ("attachment", "pgbouncer")],
    indirect=["database_url"],
)
def test_mail_is_there_after_a_kill_at_once(
    make_server: Makes, database_url: str, tmp_path: Path, name: str
) -> None:
    """swaks reads its 250, curl finds the message after a kill. What was removed does not come back."""
    server = make_server(with_database(database_url)).start()
    alice = Mailbox(server, "alice")
    swaks(tmp_path, alice, "", "", "--data", message_file(tmp_path, MESSAGES[name]), sender=SENDER).check(0)
    server.kill()
    server.start()
    [got] = curl(tmp_path, alice, "pop3", "", "1", *curl_login(alice, "on")).check(0).got
    assert original(got) == MESSAGES[name]
    session = alice.login()
    session.expect(b"DELE 1", b"+OK")
    server.kill()  # the lease of the session is free at once: it was one of this data directory
    server.start()
    with alice.login() as session:
        session.expect(b"DELE 1", b"+OK")
        session.expect(b"QUIT", b"+OK")
    server.kill()
    server.start()
    assert alice.messages() == []
    assert not (server.data / "mail").exists()


class Client:
    """Sends different messages to two mailboxes at a time, until it is told to stop."""

    def __init__(self, server: Server, number: int) -> None:
        self.server = server
        self.boxes = (BOXES[number], BOXES[(number + 1) % SENDERS])
        self.number = number
        self.sent = 0
        # Pairs of mailboxes and messages.
        self.answered: set[tuple[str, bytes]] = set()
        self.refused: set[tuple[str, bytes]] = set()
        self.stopped = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.stopped:
            try:
                with smtplib.SMTP(*self.server.smtp, timeout=60) as client:
                    while not self.stopped:
                        self.send(client)
            except OSError:
                continue

    def send(self, client: smtplib.SMTP) -> None:
        self.sent += 1
        body = b"x" * (1 if self.sent % 10 else 300_000) + b"\r\n"
        content = message(f"{self.number}.{self.sent}", body)
        to = {f"{box}@example.org": (box, content) for box in self.boxes}
        try:
            refused = client.sendmail(SENDER, list(to), content)
        except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused):
            self.refused.update(to.values())
        else:
            self.refused.update(to[address] for address in refused)
            self.answered.update(pair for address, pair in to.items() if address not in refused)


@pytest.mark.parametrize("crashing_url", BOTH, indirect=True)
def test_the_database_crashes_under_load(make_server: Makes, crashing: PostgreSQL, crashing_url: str) -> None:
    """What was answered 250 is there once. What was answered 4xx is not: its outcome was asked for."""
    server = make_server(with_database(crashing_url)).start()
    clients = [Client(server, number) for number in range(SENDERS)]
    try:
        for _ in range(CRASHES):
            before = sum(len(client.answered) for client in clients)
            wait_until(lambda: sum(len(client.answered) for client in clients) > before + 20, "deliveries")  # noqa: B023
            crashing.stop_at_once()
            crashing.start()
        before = sum(len(client.answered) for client in clients)
        wait_until(lambda: sum(len(client.answered) for client in clients) > before + 20, "deliveries")
    finally:
        for client in clients:
            client.stopped = True
        for client in clients:
            client.thread.join(60)
    found = Counter((name, original(stored)) for name in BOXES for stored in Mailbox(server, name).messages())
    for client in clients:
        assert not client.answered - set(found), "a message that was answered 250 is lost"
        assert not client.refused & set(found), "a message that was refused is there"
    assert max(found.values()) == 1
    if crashing_url == crashing.url():  # a connection to PgBouncer stays, or waits there
        assert "database lost" in server.log
        assert "connected to the database again" in server.log


CLUB = """
[[list]]
address = "club@example.org"
members = ["alice@example.org", "box0@example.org"]
[queue]
retry = ["1s"]
"""


def test_the_queue_survives_a_kill(make_server: Makes, database_url: str) -> None:
    """A message of two parts waits for the member of a list whose mailbox is full."""
    server = make_server(with_database(database_url, CLUB) + "quota_messages = 1\n").start()
    alice, box = Mailbox(server, "alice"), Mailbox(server, "box0")
    alice.fill(MESSAGES["plain"])
    large = message("large", b"y" * 300_000 + b"\r\n")
    with smtplib.SMTP(*server.smtp) as client:
        client.sendmail(SENDER, ["club@example.org"], large)
    server.kill()
    _, lines, _ = mailserver(server, "queue", "list")
    assert any("alice@example.org" in line for line in lines), lines
    server.start()
    assert [original(stored) for stored in box.messages()] == [large]
    with alice.login() as session:
        session.expect(b"DELE 1", b"+OK")
        session.expect(b"QUIT", b"+OK")
    wait_until(lambda: alice.uids(), "the attempt")
    assert [original(stored) for stored in alice.messages()] == [large]


def test_what_does_not_work_says_so(make_server: Makes, database_url: str, tmp_path: Path) -> None:
    server = make_server(with_database(database_url)).start()
    commands = (
        ("backup", str(tmp_path / "backup")),
        ("verify",),
        ("import", "maildir", str(tmp_path), "--to", "alice@example.org"),
        ("account", "rename", "alice@example.org", "alicia@example.org"),
    )
    check_refusals(server, *commands[:3])
    server.stop()
    check_refusals(server, *commands)


def check_refusals(server: Server, *commands: tuple[str, ...]) -> None:
    for words in commands:
        code, out, err = mailserver(server, *words)
        assert (code, out) == (1, []), words
        assert len(err) == 1 and "storage.engine" in err[0], (words, err)


def test_a_password_is_nowhere(make_server: Makes, database_url: str) -> None:
    url = database_url.replace("mail@", "mail:hunter2@")
    for wrong in (url.replace("@/", "@/nowhere-"), url.replace("host=", "hostess=")):
        server = make_server(with_database(wrong))
        lines, everything = server.refused()
        assert lines
        assert "hunter2" not in "".join(everything)
