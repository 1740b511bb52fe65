"""The log of what a session was refused: the first by each rule at once, the others as a count."""

import pytest

from mailserver.mail.rate import Rate
from mailserver.net.rejection_log import LOG_INTERVAL, MAX_NAMED, RejectionLog
from tests.support.net.fakes import LOST, Journal, POP3Port, SMTPPort
from tests.support.net.limits import only_limits
from tests.support.reactor import FakeReactor
from tests.support.sasl.client import one_line

MAIL = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n"
RCPT = b"RCPT TO:<nobody@example.org>\r\n"
OWN = b"MAIL FROM:<a@b.example>\r\n"
NOW = {"client": "192.0.2.1", "rule": "r"}


def test_the_first_at_once_and_the_others_at_the_end(journal: Journal) -> None:
    reactor = FakeReactor()
    refusals = RejectionLog("01A", "192.0.2.1", reactor.seconds)
    refusals.add("no such mailbox", "routing", "<a@x.example>", "alice")
    refusals.add("no progress within the time limit", "smtp.command_timeout")
    for name in ("b", "c", "c", "c"):
        refusals.add("no such mailbox", "routing", f"<{name}@x.example>")
    assert journal.lines() == [
        "rejected <a@x.example> from 192.0.2.1: no such mailbox",
        "rejected 192.0.2.1: no progress within the time limit",
    ]
    assert journal.events[0]["what"] == "<a@x.example>" and journal.events[0]["account"] == "alice"
    refusals.end()
    refusals.end()
    assert journal.lines("routing")[1:] == [
        "rejected 192.0.2.1 again (count: 4): <b@x.example>: no such mailbox; <c@x.example>: no such mailbox"
    ]
    assert (journal.events[-1]["count"], journal.events[-1]["client"]) == (4, "192.0.2.1")
    assert len(journal.lines()) == 3


def test_a_long_session_is_logged_once_a_minute(journal: Journal) -> None:
    reactor = FakeReactor()
    refusals = RejectionLog("01A", "192.0.2.1", reactor.seconds)
    for _ in range(3 * int(LOG_INTERVAL)):
        refusals.add("no", "routing")
        reactor.advance(1)
    refusals.end()
    again = f"rejected 192.0.2.1 again (count: {int(LOG_INTERVAL) - 1}): no"
    assert journal.lines() == ["rejected 192.0.2.1: no", again] * 3


def test_a_line_names_some_and_counts_all(journal: Journal) -> None:
    refusals = RejectionLog("01A", "192.0.2.1", FakeReactor().seconds)
    for number in range(1000):
        refusals.add("no", "routing", str(number))
    refusals.end()
    _, line = journal.lines()
    assert line.startswith("rejected 192.0.2.1 again (count: 999): 1: no; 2: no; ") and line.endswith(
        " 10: no; …"
    )
    assert line.count(": no") == MAX_NAMED


REFUSED: dict[str, tuple[type[SMTPPort] | type[POP3Port], bytes, bytes, str]] = {
    "RCPT": (SMTPPort, MAIL, RCPT, "routing"),
    "VRFY": (SMTPPort, MAIL, b"VRFY nobody\r\n", "routing"),
    "EXPN": (SMTPPort, MAIL, b"EXPN nobody\r\n", "routing"),
    "too many recipients": (
        SMTPPort, MAIL + b"RCPT TO:<bob@example.org>\r\n",
        b"RCPT TO:<eve@example.org>\r\n", "smtp.max_recipients",
    ),
    "sender": (SMTPPort, b"EHLO c.example\r\n" + one_line(b"alice", b"secret"), OWN, "submission.senders"),
    "too many messages": (SMTPPort, MAIL + b"RSET\r\n", OWN + b"RSET\r\n", "limits.messages_per_address"),
    "login without TLS": (SMTPPort, MAIL + b"RSET\r\n", b"AUTH PLAIN\r\n", "smtp.plaintext_auth"),
    "USER without TLS": (POP3Port, b"", b"USER alice\r\n", "pop3.plaintext_auth"),
    "maildrop in use": (POP3Port, b"", b"USER alice\r\nPASS secret\r\n", "maildrop"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_50_refusals_of_a_session_are_two_lines(what: str, journal: Journal) -> None:
    kind, before, command, rule = REFUSED[what]
    settings: dict[str, object] = {"plaintext_auth": "without TLS" not in what, "max_errors": 0}
    if kind is SMTPPort:
        settings |= {"max_recipients": 1, "verify": "always"}
    port = kind(
        limits=only_limits(messages_per_address=Rate(1, 60) if "messages" in what else Rate()),
        settings=settings,
    )
    port.authenticator.in_use = kind is POP3Port
    connection, wire = port.client(before)
    wire.said()
    for _ in range(50):
        connection.dataReceived(command)
    assert wire.said().count(b"\r\n") >= 50
    assert len(journal.lines(rule)) == 1
    connection.connectionLost(LOST)
    lines = journal.lines(rule)
    assert len(lines) == 2 and lines[1].startswith("rejected 192.0.2.1 again (count: 49): ")
    connection, _ = port.client(before + command)
    connection.connectionLost(LOST)
    assert journal.lines(rule)[2] == lines[0], "another session begins anew"
    assert port.is_clean
