"""Limits, login delays and quotas hold over all workers of a server, with real clients."""

import poplib
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.mailbox import SENDER
from tests.support.e2e.server import DOMAIN, PASSWORD, Makes, Server, configuration, wait_until
from tests.support.e2e.workers import connect_to, worker_of

pytestmark = pytest.mark.slow

NUMBERS = 1, 2, 3
TOP = f"allow_root = true\nworkers = {len(NUMBERS)}"
STRICT = """
[limits]
exempt = []
connections_per_address = 6
auth_failure_delay = "0s"
auth_block_after = 3
messages_per_account = "4/1h"
"""


@pytest.fixture
def server(make_server: Makes) -> Server:
    return make_server(configuration(top=TOP, pop3='login_delay = "1h"', tables=STRICT)).start()


@pytest.fixture
def several(server: Server) -> Iterator[list[Pop3]]:
    """Sessions on two workers at least."""
    with ExitStack() as stack:
        sessions: list[Pop3] = []
        while len({worker_of(server, one.socket) for one in sessions}) < 2:
            if len(sessions) == 5:
                sessions.pop(0).close()
            session = stack.enter_context(Pop3(server.pop3))
            if session.greeting.startswith(b"+OK"):
                sessions.append(session)
        yield sessions


def test_connections_of_one_address(server: Server, several: list[Pop3]) -> None:
    with ExitStack() as stack:

        def admitted() -> bool:
            one = stack.enter_context(Smtp(server.smtp))
            return one.greeting.startswith(b"220 ")

        for _ in range(6 - len(several)):
            wait_until(admitted, "the end of a connection")
        assert not any(admitted() for _ in range(6))
        several.pop().close()
        wait_until(admitted, "a place")


def test_a_name_is_blocked_on_all_workers(server: Server, several: list[Pop3]) -> None:
    by_worker = {worker_of(server, one.socket): one for one in several}
    sessions = list(by_worker.values())
    for number in range(3):
        session = sessions[number % len(sessions)]
        session.expect(b"USER alice", b"+OK")
        session.expect(b"PASS wrong", b"-ERR [AUTH]")
    for session in sessions:
        session.expect(b"USER alice", b"+OK")
        session.expect(f"PASS {PASSWORD}".encode(), b"-ERR [AUTH]")
    for session in several:
        session.close()
    with Pop3(server.pop3) as session:
        session.expect(b"USER bob", b"+OK")
        session.expect(f"PASS {PASSWORD}".encode(), b"+OK")


def reader_at(server: Server, number: int) -> poplib.POP3:
    """The client of alice, before its password, at the worker of this number."""
    client = connect_to(server, number, lambda: poplib.POP3(*server.pop3, timeout=30))
    client.user("alice")
    return client


def send_to(server: Server, number: int, recipient: str, login: str = "") -> int:
    """Send a message through the worker of this number: the code of the last reply."""
    with connect_to(server, number, lambda: smtplib.SMTP(*server.smtp, timeout=30)) as client:
        if login:
            client.login(login, PASSWORD)
        client.ehlo_or_helo_if_needed()
        for ask in (
            lambda: client.mail(f"{login}@{DOMAIN}" if login else SENDER),
            lambda: client.rcpt(recipient),
            lambda: client.data("Subject: one\r\n\r\n"),
        ):
            code, _ = ask()
            if code != 250:
                break
        return code


def test_login_delay(server: Server) -> None:
    client = reader_at(server, 2)
    client.pass_(PASSWORD)
    client.quit()
    for number in NUMBERS:
        client = reader_at(server, number)
        with pytest.raises(poplib.error_proto, match=r"LOGIN-DELAY"):
            client.pass_(PASSWORD)
        client.close()


def test_messages_of_one_account(server: Server) -> None:
    server.configure(server.config.read_text().replace("[pop3]", "[smtp]\nplaintext_auth = true\n[pop3]"))
    server.restart()
    codes = [send_to(server, number, "bob@example.org", "alice") for number in (2, 3, 1, 2, *NUMBERS)]
    assert codes == [250] * 4 + [451] * 3


def test_quotas(make_server: Makes) -> None:
    tables = "[storage]\nquota_messages = 7\n"
    server = make_server(configuration(top=TOP, tables=tables)).start()
    codes = [send_to(server, number, "alice@example.org") for number in (2, 3, 1, 2, 3, 1, 2, *NUMBERS)]
    assert codes == [250] * 7 + [552] * 3
    reader = reader_at(server, 1)
    reader.pass_(PASSWORD)
    assert reader.stat()[0] == 7
