"""Quotas and the reserve on the wire: who is told what, and that nobody else suffers from it."""

import contextlib
import poplib
import signal
import smtplib
from email import message_from_bytes, policy
from typing import Any

import pytest

from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import DOMAIN, PASSWORD, Makes, Server, configuration, wait_until

Reply = tuple[int, bytes]
KILO = b"Subject: kilo\r\n\r\n" + b"x" * 980 + b"\r\n"
TABLES = f"""
[[account]]
address = "small@{DOMAIN}"
password = "{PASSWORD}"
quota = 5000

[[account]]
address = "few@{DOMAIN}"
password = "{PASSWORD}"
quota_messages = 2

[[account]]
address = "free@{DOMAIN}"
password = "{PASSWORD}"
quota = 0

[storage]
quota = 100_000

[[alias]]
address = "both"
to = ["alice", "few"]

[[alias]]
address = "little"
to = ["small"]

[[list]]
address = "club"
members = ["alice", "few", "bob"]
owner = "carol"

[queue]
retry = ["300ms"]
expire_after = "60s"
"""
IMPATIENT = TABLES.replace("60s", "1s")


@pytest.fixture
def server(make_server: Makes) -> Server:
    return make_server(configuration(tables=TABLES)).start()


def box(server: Server, name: str) -> Mailbox:
    return Mailbox(server, name)


def answers(server: Server, recipients: list[str], octets: bytes = KILO) -> tuple[list[Reply], Reply]:
    """The answers to each RCPT, and to the end of data (of RSET, if nobody was taken)."""
    with smtplib.SMTP(*server.smtp) as smtp:
        smtp.ehlo()
        assert smtp.mail(SENDER)[0] == 250
        to = [smtp.rcpt(f"{name}@{DOMAIN}") for name in recipients]
        return to, smtp.data(octets) if any(code == 250 for code, _ in to) else smtp.rset()


def fill(server: Server) -> None:
    box(server, "few").fill(KILO, KILO)


def delete_all(server: Server, name: str) -> None:
    pop3 = poplib.POP3(*server.pop3)
    pop3.user(f"{name}@{DOMAIN}")
    pop3.pass_(PASSWORD)
    for number in range(1, pop3.stat()[0] + 1):
        pop3.dele(number)
    pop3.quit()


def test_known_to_be_full(server: Server) -> None:
    """By all names of the mailbox; and by all of them there is room again."""
    names = ["few", "FEW", "few+tag"]
    fill(server)
    *full, (other, _) = answers(server, [*names, "alice"])[0]
    assert [(code, text[:6]) for code, text in full] == [(552, b"5.2.2 ")] * 3
    assert other == 250
    assert len(box(server, "alice").messages()) == 1
    delete_all(server, "few")

    def taken() -> bool:
        return [code for code, _ in answers(server, names)[0]] == [250] * 3

    wait_until(taken, "room after messages were removed")


def test_too_large_for_the_rest(server: Server) -> None:
    """There is room for something, so RCPT is taken; the message itself is too much."""
    box(server, "small").fill(KILO)
    for number, name in enumerate(("small", "little"), 2):
        ((code, _),), (end, text) = answers(server, [name], KILO * 5)
        assert (code, end, text[:6]) == (250, 552, b"5.2.2 ")
        ((code, _),), (end, _) = answers(server, [name])
        assert (code, end) == (250, 250)
        assert len(box(server, "small").messages()) == number


def test_a_declared_size_that_does_not_fit(server: Server) -> None:
    """The recipient is rejected before the message is sent, and the others get it."""
    box(server, "small").fill(KILO)
    with smtplib.SMTP(*server.smtp) as smtp:
        refused = smtp.sendmail(SENDER, [f"small@{DOMAIN}", f"free@{DOMAIN}"], KILO * 5)
    assert {name: (code, text[:6]) for name, (code, text) in refused.items()} == {
        f"small@{DOMAIN}": (552, b"5.2.2 ")
    }
    assert [len(box(server, name).messages()) for name in ("small", "free")] == [1, 1]


def test_the_default_and_the_exception(server: Server) -> None:
    large = KILO * 150
    assert answers(server, ["alice"], large)[1][0] == 552
    assert answers(server, ["free"], large)[1][0] == 250
    assert answers(server, ["few"], large)[1][0] == 552
    assert answers(server, ["alice"], KILO * 50)[1][0] == 250


def test_one_full_member_costs_the_others_nothing(server: Server) -> None:
    fill(server)
    for name, counts in (("club", [1, 1, 2]), ("both", [2, 1, 2])):
        ((code, _),), (end, _) = answers(server, [name])
        assert (code, end) == (250, 250)
        assert [len(box(server, each).messages()) for each in ("alice", "bob", "few")] == counts


@pytest.mark.slow
def test_a_full_member_gets_it_when_there_is_room(server: Server) -> None:
    fill(server)
    assert answers(server, ["club"])[1][0] == 250
    assert [len(box(server, name).messages()) for name in ("alice", "bob", "few")] == [1, 1, 2]
    delete_all(server, "few")
    (message,) = wait_until(lambda: box(server, "few").messages(), "the message that waited")
    assert message.startswith(b"Return-Path: <club-bounces@example.org>\r\n")
    assert message.endswith(KILO)


def test_a_full_member_is_given_up_and_the_owner_told(make_server: Makes) -> None:
    server = make_server(configuration(tables=IMPATIENT)).start()
    fill(server)
    assert answers(server, ["club"])[1][0] == 250
    (data,) = wait_until(lambda: box(server, "carol").messages(), "the report")
    report = message_from_bytes(data, policy=policy.SMTP)
    assert report["Return-Path"] == "<>"
    _, status, _ = report.iter_parts()
    parts: Any = status.get_payload()
    recipient = parts[1]
    assert recipient["Final-Recipient"] == f"rfc822; few@{DOMAIN}"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.2.2")
    assert [len(box(server, name).messages()) for name in ("alice", "bob", "few")] == [1, 1, 2]


def test_who_waits_outlives_a_restart(server: Server) -> None:
    fill(server)
    assert answers(server, ["club"])[1][0] == 250
    server.kill()
    server.start()
    delete_all(server, "few")
    wait_until(lambda: box(server, "few").messages(), "the message that waited")
    assert [len(box(server, name).messages()) for name in ("alice", "bob", "few")] == [1, 1, 1]


def test_a_reload_changes_quotas(server: Server) -> None:
    fill(server)
    assert answers(server, ["few"])[0][0][0] == 552
    server.configure(configuration(tables=TABLES.replace("quota_messages = 2", "quota_messages = 3")))
    server.signal(signal.SIGHUP)
    wait_until(lambda: answers(server, ["few"])[0][0][0] == 250, "the new quota")


def test_the_reserve(make_server: Makes) -> None:
    """A reserve that is larger than the disk: nothing is taken in, and everything else goes on."""
    server = make_server().start()
    alice = box(server, "alice")
    alice.fill(KILO, KILO)
    server.stop()
    server.configure(configuration(tables="[storage]\nreserve = 1_000_000_000_000_000"))
    server.start()
    with Smtp(server.smtp) as session:
        for _ in range(2):
            session.begin(SENDER, alice.address)
            session.expect(KILO + b".", b"452 4.3.1 ")
        session.expect(b"DATA", b"503 ")
        session.expect(b"MAIL FROM:<>", b"250 ")
        session.expect(b"QUIT", b"221 ")
    with contextlib.closing(alice.login()) as session:
        session.expect(b"DELE 1", b"+OK")
        session.expect(b"QUIT", b"+OK")
    assert len(alice.messages()) == 1
