"""POP3 on a transport: logins, large messages, locks given back however a session ends."""

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from mailserver.config.keys.pop3 import Pop3Section
from mailserver.mail.address import Address
from mailserver.net.connection import Connection
from mailserver.net.expiring_table import ExpiringTable
from mailserver.net.pop3 import POP3Factory
from mailserver.pop3.options import POP3Options
from tests.support.fakes import stand_in
from tests.support.net.fakes import (
    FakeAuthenticator,
    FakeMaildrop,
    FakeUser,
    LargeMessage,
    Wire,
    connect,
    context,
)
from tests.support.reactor import FakeReactor

TIMEOUT = 660.0
OPTIONS = POP3Options(hostname="mail.example.org", plaintext_auth=True, command_timeout=TIMEOUT)
LOGIN = b"USER alice\r\nPASS secret\r\n"
LOST = Failure(ConnectionLost())
LARGE = b"Subject: large\r\n\r\n" + b".x\r\n" * 10000


class SlowMaildrop(FakeMaildrop):
    def read(self, index: int) -> Deferred[object]:
        return succeed(LargeMessage(self.contents[index], len(self.contents[index]), slow=True))


class Setup:
    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.maildrop = FakeMaildrop([b"Subject: 1\r\n\r\n.\r\n", LARGE, b""])
        self.authenticator = FakeAuthenticator(self.maildrop)
        self.factory = POP3Factory(
            context(self.reactor),
            lambda ip: OPTIONS,
            stand_in(self.authenticator),
            stand_in(self.reactor),
            ExpiringTable(10, 1000, self.reactor.seconds),
        )

    def client(self, first: bytes = b"") -> tuple[Connection, Wire]:
        connection, wire = connect(self.factory)
        assert wire.said() == b"+OK mail.example.org POP3 server ready\r\n"
        if first:
            connection.dataReceived(first)
        return connection, wire


@pytest.fixture
def setup() -> Setup:
    return Setup()


def test_a_whole_session_in_one_write(setup: Setup) -> None:
    connection, wire = setup.client(LOGIN + b"STAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\nNOOP\r\n")
    said = wire.said()
    assert (
        b"\r\n+OK 3 40035\r\n+OK 17 octets\r\nSubject: 1\r\n\r\n..\r\n.\r\n+OK message 1 deleted\r\n" in said
    )
    assert said.endswith(b"+OK mail.example.org POP3 server signing off (2 messages left)\r\n")
    assert wire.disconnecting
    assert (setup.maildrop.removed, setup.maildrop.released) == ([0], 1)
    connection.connectionLost(LOST)
    assert setup.maildrop.released == 1


@pytest.mark.parametrize("step", ["checking", "opening"])
def test_an_account_is_removed_during_the_login(setup: Setup, step: str) -> None:
    maildrop: Deferred[FakeMaildrop] = Deferred()
    user = FakeUser(Address("alice", "example.org"), maildrop)
    checking = setup.authenticator.checking = Deferred()
    connection, wire = setup.client(LOGIN)
    if step == "opening":
        checking.callback(user)
    setup.authenticator.removed = True
    connection.accounts_changed()
    if step == "checking":
        checking.callback(user)
    maildrop.callback(setup.maildrop)
    connection.dataReceived(b"STAT\r\n")
    assert wire.said().endswith(b"\r\n-ERR [SYS/PERM] the account is no longer available\r\n")
    assert wire.disconnecting
    connection.connectionLost(LOST)
    assert setup.maildrop.released == 1


@pytest.mark.parametrize("number", range(3))
def test_the_log_counts_the_messages(setup: Setup, number: int) -> None:
    setup.authenticator.maildrop = FakeMaildrop([b"x\r\n"] * number)
    with capturedLogs() as events:
        setup.client(LOGIN)
    assert [formatEvent(event) for event in events] == [
        f"alice@example.org: logged in from 192.0.2.1 (messages: {number})"
    ]


def test_a_large_message_at_hand_comes_in_pieces_as_the_peer_reads(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, wire = setup.client(LOGIN)
    wire.said()
    write = wire.write

    def write_one(data: bytes) -> None:
        write(data)
        connection.pauseProducing()

    monkeypatch.setattr(wire, "write", write_one)
    setup.reactor.held = True
    connection.dataReceived(b"RETR 2\r\n")
    parts = []
    while part := wire.said():
        parts.append(part)
        connection.resumeProducing()
    assert max(map(len, parts)) < 2000
    assert b"".join(parts) == b"+OK %d octets\r\n%s.\r\n" % (len(LARGE), LARGE.replace(b"\r\n.", b"\r\n.."))


def test_a_large_message_on_disk_is_read_in_a_thread_as_the_peer_reads(setup: Setup) -> None:
    setup.authenticator.maildrop = SlowMaildrop(setup.maildrop.contents)
    connection, wire = setup.client(LOGIN)
    wire.said()
    setup.reactor.held = True
    connection.dataReceived(b"RETR 2\r\nNOOP\r\n")
    assert wire.said() == b""
    setup.reactor.run_threads()
    said = wire.said()
    assert said.startswith(f"+OK {len(LARGE)} octets\r\nSubject: large\r\n".encode())
    connection.pauseProducing()
    setup.reactor.run_threads()
    said += wire.said()
    setup.reactor.run_threads()
    assert wire.said() == b""
    connection.resumeProducing()
    while part := (setup.reactor.run_threads(), wire.said())[1]:
        said += part
    assert said.endswith(b"\r\n.\r\n+OK\r\n")
    body = said.partition(b"octets\r\n")[2].removesuffix(b".\r\n+OK\r\n")
    assert body == LARGE.replace(b"\r\n.", b"\r\n..")


def test_a_client_gone_while_a_large_message_is_sent(setup: Setup) -> None:
    setup.maildrop = setup.authenticator.maildrop = SlowMaildrop(setup.maildrop.contents)
    connection, _ = setup.client(LOGIN)
    setup.reactor.held = True
    connection.dataReceived(b"RETR 2\r\n")
    setup.reactor.run_threads()
    setup.reactor.run_threads()
    connection.pauseProducing()
    setup.reactor.run_threads()
    connection.connectionLost(LOST)
    setup.reactor.run_threads()
    assert setup.maildrop.released == 1
    assert setup.maildrop.removed == []
    assert setup.factory.connections == set()
    assert setup.reactor.getDelayedCalls() == []


def test_a_message_that_vanished(setup: Setup) -> None:
    _, wire = setup.client(LOGIN + b"RETR 3\r\nNOOP\r\n")
    assert b"-ERR" in wire.said()


@pytest.mark.parametrize(
    ("user", "password"), [(b"alice", b"wrong"), (b"nobody", b"secret"), (b"al\xc3\xafce", b"\xff\xfe")]
)
def test_wrong_credentials_are_all_alike(setup: Setup, user: bytes, password: bytes) -> None:
    _, wire = setup.client(b"USER " + user + b"\r\nPASS " + password + b"\r\n")
    assert wire.said().splitlines()[-1].startswith(b"-ERR [AUTH] ")


def test_a_maildrop_in_use(setup: Setup) -> None:
    setup.authenticator.in_use = True
    _, wire = setup.client(LOGIN)
    assert wire.said().splitlines()[-1].startswith(b"-ERR [IN-USE] ")


def test_an_unexpected_failure_is_temporary(setup: Setup) -> None:
    setup.authenticator.opening = Deferred()
    connection, wire = setup.client(LOGIN)
    setup.authenticator.opening.errback(ZeroDivisionError("a mistake in the store"))
    assert wire.said().splitlines()[-1].startswith(b"-ERR [SYS/TEMP] ")
    setup.authenticator.opening = None
    connection.dataReceived(LOGIN)
    assert b"maildrop has 3 messages" in wire.said()


def test_a_client_gone_before_its_maildrop_was_open(setup: Setup) -> None:
    setup.authenticator.opening = Deferred()
    connection, _ = setup.client(LOGIN)
    connection.connectionLost(LOST)
    setup.authenticator.opening.callback(setup.maildrop)
    assert setup.maildrop.released == 1


@pytest.mark.parametrize("end", ["lost", "silent", "stopped"])
def test_only_quit_removes(setup: Setup, end: str) -> None:
    connection, wire = setup.client(LOGIN + b"DELE 1\r\nDELE 2\r\n")
    wire.said()
    if end == "silent":
        setup.reactor.advance(TIMEOUT - 0.1)
        assert not wire.disconnecting
        setup.reactor.advance(0.1)
        assert wire.disconnecting
    elif end == "stopped":
        setup.factory.stop(5.0)
        assert not wire.disconnecting
        setup.reactor.advance(5.0)
        assert wire.disconnecting
    connection.connectionLost(LOST)
    assert wire.said() == b""
    assert (setup.maildrop.removed, setup.maildrop.released) == ([], 1)


def test_ten_minutes_of_silence_are_allowed() -> None:
    assert Pop3Section().command_timeout > 600


def test_stop_drops_those_who_have_not_logged_in(setup: Setup) -> None:
    _, wire = setup.client(b"USER alice\r\n")
    setup.factory.stop(5.0)
    assert wire.disconnecting


def test_a_client_gone_while_quit_removes_keeps_the_lock_until_it_is_done(setup: Setup) -> None:
    setup.maildrop.removing = Deferred()
    connection, wire = setup.client(LOGIN + b"DELE 1\r\nQUIT\r\n")
    wire.said()
    connection.connectionLost(LOST)
    assert setup.maildrop.released == 0
    setup.maildrop.removing.callback(frozenset())
    assert setup.maildrop.released == 1


def test_a_quit_that_partly_fails_says_so(setup: Setup) -> None:
    setup.maildrop.removing = Deferred()
    _, wire = setup.client(LOGIN + b"DELE 1\r\nDELE 2\r\nQUIT\r\n")
    wire.said()
    setup.maildrop.removing.callback(frozenset({1}))
    assert wire.said().startswith(b"-ERR some deleted messages not removed")
    assert wire.disconnecting


def test_a_quit_that_breaks_names_all(setup: Setup) -> None:
    setup.maildrop.removing = Deferred()
    _, wire = setup.client(LOGIN + b"DELE 1\r\nDELE 2\r\nQUIT\r\n")
    wire.said()
    setup.maildrop.removing.errback(ZeroDivisionError("a mistake in the store"))
    said = wire.said()
    assert said.startswith(b"-ERR some deleted messages not removed") and b"1" in said and b"2" in said
    assert setup.maildrop.released == 1
