"""SMTP on a transport: order, back-pressure, failures, and the ends of connections."""

import pytest
from twisted.internet.error import ConnectionLost
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from mailserver.errors import MailboxFull, StorageError, StorageFull
from mailserver.net.connection import Connection
from mailserver.net.smtp import SMTPFactory
from mailserver.reception.reception import Reception
from mailserver.smtp.options import SMTPOptions
from tests.support.fakes import stand_in
from tests.support.net.fakes import FakeAuthenticator, FakeRouter, FakeSpool, Journal, Wire, connect, context
from tests.support.reactor import FakeReactor

TIMEOUT = 300.0
TRANSACTION = 7200.0
OPTIONS = SMTPOptions(
    hostname="mail.example.org",
    domain="example.org",
    command_timeout=TIMEOUT,
    transaction_timeout=TRANSACTION,
)
BEGIN = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
LOST = Failure(ConnectionLost())


class Setup:
    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.router = FakeRouter()
        self.spool = FakeSpool()
        reception = Reception(stand_in(self.router), stand_in(self.spool), hostname=OPTIONS.hostname)
        self.factory = SMTPFactory(
            context(self.reactor),
            lambda ip: OPTIONS,
            lambda: reception,
            stand_in(FakeAuthenticator()),
            stand_in(self.reactor),
        )

    def client(self, first: bytes = b"") -> tuple[Connection, Wire]:
        connection, wire = connect(self.factory)
        assert wire.said() == b"220 mail.example.org ESMTP mailserver ready\r\n"
        if first:
            connection.dataReceived(first)
        return connection, wire


@pytest.fixture
def setup() -> Setup:
    return Setup()


def test_the_250_waits_for_the_commit_and_what_follows_waits_too(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    assert wire.said().endswith(b"354 End data with <CR><LF>.<CR><LF>\r\n")
    connection.dataReceived(b"Subject: x\r\n\r\n..\r\n.\r\nNOOP\r\n")
    message = setup.spool.messages[0]
    assert b"".join(message.chunks) == b"Subject: x\r\n\r\n.\r\n"
    assert message.state == "committing"
    assert wire.producerState == "producing"
    connection.dataReceived(b"QUIT\r\n")
    assert wire.said() == b""
    assert wire.producerState == "paused"
    message.commits.callback(None)
    first, second, third = wire.said().splitlines()
    assert first == b"250 2.0.0 Ok: queued as " + message.envelope.id.encode()
    assert second == b"250 2.0.0 Ok"
    assert third.startswith(b"221 ")
    assert wire.disconnecting


def test_the_envelope_and_the_trace(setup: Setup) -> None:
    setup.client(BEGIN)
    message = setup.spool.messages[0]
    assert str(message.envelope.reverse_path) == "a@b.example"
    assert [str(recipient) for recipient in message.envelope.recipients] == ["bob@example.org"]
    assert message.trace.startswith(
        b"Received: from c.example ([192.0.2.1])\r\n\tby mail.example.org with ESMTP id "
    )
    assert f"id {message.envelope.id}\r\n\tfor <bob@example.org>;" in message.trace.decode()


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (StorageFull("full"), b"452 4.3.1 "),
        (StorageError("broken"), b"451 4.3.0 "),
        (MailboxFull("full"), b"552 5.2.2 "),
    ],
)
def test_a_failed_commit(setup: Setup, error: Exception, answer: bytes) -> None:
    connection, wire = setup.client(BEGIN)
    connection.dataReceived(b".\r\n")
    wire.said()
    setup.spool.messages[0].commits.errback(error)
    assert wire.said().startswith(answer)
    connection.dataReceived(b"NOOP\r\n")
    assert wire.said() == b"250 2.0.0 Ok\r\n"


def test_an_unexpected_failure_is_451_logged_and_survived(setup: Setup) -> None:
    events: list[dict[str, object]] = []
    globalLogPublisher.addObserver(stand_in(events.append))
    try:
        setup.router.broken = True
        connection, wire = setup.client(b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n")
        assert wire.said().splitlines()[-1].startswith(b"451 4.3.0 ")
        setup.router.broken = False
        connection.dataReceived(b"RCPT TO:<bob@example.org>\r\nDATA\r\n.\r\n")
        setup.spool.messages[0].commits.errback(ZeroDivisionError("a mistake in the spool"))
        assert wire.said().splitlines()[-1].startswith(b"451 4.3.0 ")
        connection.dataReceived(b"NOOP\r\n")
        assert wire.said() == b"250 2.0.0 Ok\r\n"
    finally:
        globalLogPublisher.removeObserver(stand_in(events.append))
    logged = [event["log_failure"] for event in events if "log_failure" in event]
    assert [failure.type for failure in logged] == [ZeroDivisionError, ZeroDivisionError]  # type: ignore[attr-defined]


def test_the_log_says_why_a_command_with_a_bare_newline_is_refused(setup: Setup, journal: Journal) -> None:
    connection, wire = setup.client()
    wire.said()
    connection.dataReceived(b"EHLO c.example\n")
    assert wire.said().startswith(b"500 5.5.2 ")
    [line] = journal.lines("smtp.bare_newline")
    assert "192.0.2.1" in line and "lines must end with CR LF" in line


def test_a_failure_that_is_there_at_once_is_451(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    wire.said()
    setup.spool.messages[0].commits.errback(ZeroDivisionError("a mistake in the spool"))
    connection.dataReceived(b".\r\nNOOP\r\n")
    first, second = wire.said().splitlines()
    assert first.startswith(b"451 4.3.0 ") and second == b"250 2.0.0 Ok"


def test_a_slow_router_holds_the_pipeline(setup: Setup) -> None:
    setup.router.slow = True
    connection, wire = setup.client(BEGIN[: -len(b"DATA\r\n")] + b"RCPT TO:<nobody@example.org>\r\n")
    assert wire.said().endswith(b"250 2.1.0 Ok\r\n")
    setup.router.answer()
    assert wire.said() == b"250 2.1.5 Ok\r\n"
    connection.dataReceived(b"NOOP\r\n")
    assert wire.said() == b""
    assert wire.producerState == "paused"
    setup.router.answer()
    assert wire.said() == b"550 5.1.1 not here\r\n250 2.0.0 Ok\r\n"
    assert wire.producerState == "producing"


def test_reading_pauses_while_content_is_written_out(setup: Setup) -> None:
    setup.spool.slow_writes = True
    connection, wire = setup.client(BEGIN)
    connection.dataReceived(b"Subject: x\r\n")
    connection.dataReceived(b" more\r\n")
    message = setup.spool.messages[0]
    assert message.chunks == [b"Subject: x"]
    assert wire.producerState == "paused"
    writing, message.writing = message.writing, None
    assert writing is not None
    writing.callback(None)
    assert message.chunks == [b"Subject: x", b"\r\n more"]
    assert wire.producerState == "producing"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (b"UPS on battery\r\n", b"\r\nUPS on battery\r\n"),
        (b" indented\r\n", b"\r\n indented\r\n"),
        (b">From a\r\nSubject: x\r\n", b"\r\n>From a\r\nSubject: x\r\n"),
        (b"", b""),
        (b"Return-Path: <x@y.example>\r\nSubject: x\r\n\r\nbody\r\n", b"Subject: x\r\n\r\nbody\r\n"),
    ],
)
def test_what_stands_behind_the_trace_fields(setup: Setup, text: bytes, stored: bytes) -> None:
    for cut in range(len(text) + 1):
        connection, _ = setup.client(BEGIN + text[:cut])
        connection.dataReceived(text[cut:] + b".\r\n")
        assert b"".join(setup.spool.messages[-1].chunks) == stored


def test_a_message_cut_off_is_abandoned(setup: Setup) -> None:
    connection, _ = setup.client(BEGIN)
    connection.dataReceived(b"half of it")
    connection.connectionLost(LOST)
    assert setup.spool.messages[0].state == "abandoned"
    assert setup.factory.connections == set()
    assert setup.reactor.getDelayedCalls() == []


def test_a_message_refused_is_abandoned_at_once(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    connection.dataReceived(b"bare\nnewline\r\n")
    assert setup.spool.messages[0].state == "abandoned"
    connection.dataReceived(b".\r\n")
    assert wire.said().splitlines()[-1].startswith(b"550 5.6.0 ")
    connection.connectionLost(LOST)


def test_a_client_gone_before_the_commit_keeps_its_message(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    connection.dataReceived(b".\r\n")
    wire.said()
    connection.connectionLost(LOST)
    setup.spool.messages[0].commits.callback(None)
    assert setup.spool.messages[0].state == "committing"
    assert wire.said() == b""


def test_silence_ends_with_421(setup: Setup) -> None:
    connection, wire = setup.client()
    setup.reactor.advance(TIMEOUT - 1)
    connection.dataReceived(b"NOOP\r\n")
    setup.reactor.advance(TIMEOUT - 1)
    assert wire.said() == b"250 2.0.0 Ok\r\n"
    setup.reactor.advance(1)
    assert wire.said().startswith(b"421 4.4.2 mail.example.org ")
    assert wire.disconnecting and not wire.aborted
    setup.reactor.advance(TIMEOUT)
    assert wire.aborted


def test_a_command_sent_octet_by_octet_takes_too_long(setup: Setup) -> None:
    connection, wire = setup.client()
    for _ in range(9):
        setup.reactor.advance(TIMEOUT / 10)
        connection.dataReceived(b"N")
    assert not wire.disconnecting
    setup.reactor.advance(TIMEOUT / 10)
    assert wire.said().startswith(b"421 4.4.2 ") and wire.disconnecting


def test_a_message_may_be_slow_but_not_that_slow(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    wire.said()
    for _ in range(40):
        setup.reactor.advance(TIMEOUT / 2)
        connection.dataReceived(b"x" * 20000 + b"\r\n")
    assert not wire.disconnecting
    for _ in range(20):
        setup.reactor.advance(TIMEOUT / 10)
        connection.dataReceived(b"x\r\n")
    assert wire.said().startswith(b"421 4.4.2 ") and wire.disconnecting
    connection.connectionLost(LOST)
    assert setup.spool.messages[0].state == "abandoned"


@pytest.mark.parametrize("line", [b"NOOP\r\n", b"RCPT TO:<bob@example.org>\r\n"])
def test_a_busy_client_may_not_keep_a_transaction_for_ever(setup: Setup, line: bytes) -> None:
    connection, wire = setup.client(BEGIN[: -len(b"DATA\r\n")])
    steps = 0
    while not wire.disconnecting:
        setup.reactor.advance(TIMEOUT - 1)
        connection.dataReceived(line)
        steps += 1
        assert steps < 100
    assert steps == TRANSACTION // (TIMEOUT - 1) + 1
    assert wire.said().splitlines()[-1].startswith(b"421 4.4.2 ")


def test_transactions_behind_each_other_are_not_one(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    for _ in range(100):
        setup.reactor.advance(TIMEOUT - 1)
        connection.dataReceived(b".\r\n")
        setup.spool.messages[-1].commits.callback(None)
        connection.dataReceived(BEGIN.partition(b"\r\n")[2])
    assert not wire.disconnecting


def test_a_reply_that_cannot_be_made_ends_the_connection(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, wire = setup.client(BEGIN)
    connection.dataReceived(b".\r\n")

    def broken() -> None:
        raise ZeroDivisionError("a mistake in the reply")

    monkeypatch.setattr(connection, "recover", broken)
    setup.spool.messages[0].commits.errback(ValueError("a mistake in the spool"))
    assert wire.aborted


@pytest.mark.parametrize(
    ("host", "traced"),
    [("::ffff:192.0.2.7", "([192.0.2.7])"), ("2001:db8::1", "([IPv6:2001:db8::1])"), ("", " by ")],
)
def test_the_address_of_the_client(setup: Setup, host: str, traced: str) -> None:
    connection, _ = connect(setup.factory, host)
    connection.dataReceived(BEGIN)
    assert traced in setup.spool.messages[0].trace.decode().replace("\r\n\t", " ")


def test_our_own_slowness_is_not_the_clients_silence(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    connection.dataReceived(b".\r\n")
    wire.said()
    setup.reactor.pump([TIMEOUT / 2] * 5)
    assert wire.said() == b"" and not wire.disconnecting
    setup.spool.messages[0].commits.callback(None)
    assert wire.said().startswith(b"250 ")
    setup.reactor.advance(TIMEOUT * 0.9)
    assert not wire.disconnecting
    setup.reactor.advance(TIMEOUT * 0.1)
    assert wire.said().startswith(b"421 4.4.2 ")


def test_a_peer_that_does_not_read_is_given_nothing_more_to_do(setup: Setup) -> None:
    connection, wire = setup.client()
    connection.pauseProducing()
    connection.dataReceived(b"NOOP\r\n")
    assert wire.said() == b"" and wire.producerState == "paused"
    connection.resumeProducing()
    assert wire.said() == b"250 2.0.0 Ok\r\n" and wire.producerState == "producing"
    for _ in range(2):  # its time begins anew whenever it reads
        connection.pauseProducing()
        setup.reactor.advance(TIMEOUT * 0.9)
        connection.resumeProducing()
    connection.pauseProducing()
    setup.reactor.advance(TIMEOUT)
    assert wire.aborted


def test_a_client_that_has_sent_all_gets_all_its_replies(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    connection.dataReceived(b"text\r\n.\r\n")
    connection.dataReceived(b"NOOP\r\n")
    wire.said()
    connection.readConnectionLost()
    assert not wire.disconnecting
    setup.spool.messages[0].commits.callback(None)
    first, second = wire.said().splitlines()
    assert first.startswith(b"250 2.0.0 Ok: queued as ") and second == b"250 2.0.0 Ok"
    assert wire.disconnecting
    assert wire.producerState == "paused"  # there is nothing more to read


def test_a_client_that_ends_within_its_message_has_sent_none(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    connection.dataReceived(b"half of it\r\n")
    connection.readConnectionLost()
    assert wire.disconnecting
    connection.connectionLost(LOST)
    assert setup.spool.messages[0].state == "abandoned"


def stopped(setup: Setup) -> list[None]:
    done: list[None] = []
    setup.factory.stop(5.0).addCallback(done.append)
    return done


def test_stop_with_nobody_there(setup: Setup) -> None:
    assert stopped(setup) == [None]


def test_stop_sends_the_idle_away_at_once(setup: Setup) -> None:
    connection, wire = setup.client(b"EHLO c.example\r\n")
    wire.said()
    done = stopped(setup)
    assert wire.said().startswith(b"421 4.3.2 mail.example.org is shutting down")
    assert wire.disconnecting and done == []
    connection.connectionLost(LOST)
    assert done == [None]
    assert setup.reactor.getDelayedCalls() == []


def test_stop_lets_a_transaction_finish(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    done = stopped(setup)
    wire.said()
    connection.dataReceived(b"text\r\n.\r\n")
    setup.spool.messages[0].commits.callback(None)
    first, second = wire.said().splitlines()
    assert first.startswith(b"250 ") and second.startswith(b"421 4.3.2 ")
    assert wire.disconnecting
    connection.connectionLost(LOST)
    assert done == [None]


def test_stop_ends_the_grace(setup: Setup) -> None:
    connection, wire = setup.client(BEGIN)
    stopped(setup)
    wire.said()
    setup.reactor.advance(4.9)
    assert not wire.disconnecting
    setup.reactor.advance(0.1)
    assert wire.said().startswith(b"421 4.3.2 ") and wire.disconnecting
    assert not wire.aborted
    setup.reactor.advance(1)
    assert wire.aborted
    connection.connectionLost(LOST)
    assert setup.spool.messages[0].state == "abandoned"
    assert setup.reactor.getDelayedCalls() == []
