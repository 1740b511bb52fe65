"""Python's poplib as the reader: every command, and what a session that is cut leaves behind."""

import poplib
import smtplib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.corpus.messages import MESSAGES, message, original
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import wait_until

SENT = [message(f"m{number}", b"body %d\r\n.dot\r\n\r\nend\r\n" % number) for number in range(1, 4)]


def connect(mailbox: Mailbox) -> Any:
    client: Any = poplib.POP3(*mailbox.server.pop3, timeout=15)
    client.user(mailbox.address)
    client.pass_(mailbox.password)
    return client


@pytest.fixture
def filled(mailbox: Mailbox) -> Mailbox:
    mailbox.fill(*SENT)
    return mailbox


@pytest.fixture
def client(filled: Mailbox) -> Iterator[Any]:
    client = connect(filled)
    yield client
    client.close()


def joined(answer: Any) -> bytes:
    """The octets of what RETR and TOP return."""
    return b"".join(line + b"\r\n" for line in answer[1])


def test_octets(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poplib, "_MAXLINE", 1 << 16)
    mailbox.fill(*MESSAGES.values())
    client = connect(mailbox)
    got = [joined(client.retr(number)) for number in range(1, len(MESSAGES) + 1)]
    client.quit()
    assert [original(stored) for stored in got] == list(MESSAGES.values())


def test_greeting_and_capabilities(mailbox: Mailbox) -> None:
    client: Any = poplib.POP3(*mailbox.server.pop3)
    assert client.getwelcome().startswith(b"+OK")
    before = client.capa()
    assert {"USER", "TOP", "UIDL"} <= set(before)
    client.user(mailbox.address)
    client.pass_(mailbox.password)
    assert {"TOP", "UIDL"} <= set(client.capa())
    client.quit()


def test_stat_and_list(client: Any) -> None:
    sizes = [len(joined(client.retr(number))) for number in (1, 2, 3)]
    assert client.stat() == (3, sum(sizes))
    assert client.list()[1] == [b"%d %d" % (number + 1, size) for number, size in enumerate(sizes)]
    assert client.list(2).startswith(b"+OK 2 %d" % sizes[1])


def test_top(client: Any) -> None:
    whole = joined(client.retr(1))
    head = whole[: whole.index(b"\r\n\r\n") + 4]
    assert joined(client.top(1, 0)) == head
    assert joined(client.top(1, 2)) == head + b"body 1\r\n.dot\r\n"
    assert joined(client.top(1, 1000)) == whole


def test_uidl_is_the_same_in_every_session(filled: Mailbox, client: Any) -> None:
    listed = client.uidl()[1]
    assert [line.split()[0] for line in listed] == [b"1", b"2", b"3"]
    uids = [line.split()[1] for line in listed]
    assert len(set(uids)) == 3
    assert client.uidl(3).split()[1:3] == [b"3", uids[2]]
    client.quit()
    assert filled.uids() == uids


def test_only_quit_removes(filled: Mailbox, client: Any) -> None:
    client.dele(1)
    client.dele(3)
    assert client.stat()[0] == 1
    for command in (client.retr, client.dele, client.list, client.uidl):
        with pytest.raises(poplib.error_proto):
            command(1)
    assert client.rset().startswith(b"+OK")
    assert client.stat()[0] == 3
    client.dele(2)
    client.quit()
    assert [original(stored) for stored in filled.messages()] == [SENT[0], SENT[2]]


def test_noop_and_last(client: Any) -> None:
    assert client.noop().startswith(b"+OK")
    assert client._shortcmd("LAST").startswith(b"+OK 0")
    client.retr(2)
    assert client._shortcmd("LAST").startswith(b"+OK 2")


@pytest.mark.parametrize("number", ["0", "-1", "4", "99999999999999999999999", "x", ""])
def test_no_such_message(client: Any, number: str) -> None:
    for command in ("RETR", "DELE"):
        with pytest.raises(poplib.error_proto):
            client._shortcmd(f"{command} {number}".strip())
    assert client.stat()[0] == 3


def test_session_cut_before_quit_removes_nothing(filled: Mailbox, client: Any) -> None:
    uids = [line.split()[1] for line in client.uidl()[1]]
    client.dele(1)
    client.dele(2)
    client.close()
    assert wait_until(lambda: logs_in(filled), "the lock to be released")
    assert filled.uids() == uids


def logs_in(mailbox: Mailbox) -> bool:
    try:
        connect(mailbox).quit()
    except poplib.error_proto as error:
        assert b"[IN-USE]" in error.args[0]
        return False
    return True


def test_second_login_is_told_in_use(filled: Mailbox, client: Any) -> None:
    with pytest.raises(poplib.error_proto, match=r"-ERR \[IN-USE\]"):
        connect(filled)
    assert client.stat()[0] == 3
    client.quit()
    assert logs_in(filled)


def test_mail_that_arrives_during_a_session_waits_for_the_next(filled: Mailbox, client: Any) -> None:
    with smtplib.SMTP(*filled.server.smtp) as sender:
        sender.sendmail(SENDER, [filled.address], MESSAGES["plain"])
    assert client.stat()[0] == 3
    client.quit()
    assert [original(stored) for stored in filled.messages()] == [*SENT, MESSAGES["plain"]]


@pytest.mark.parametrize("known", [True, False])
def test_wrong_password(mailbox: Mailbox, known: bool) -> None:
    client: Any = poplib.POP3(*mailbox.server.pop3)
    client.user(mailbox.address if known else "nobody@example.org")
    with pytest.raises(poplib.error_proto, match=r"-ERR \[AUTH\]"):
        client.pass_("not the password")
    client.quit()


def test_bare_local_part_is_a_user_name(filled: Mailbox) -> None:
    client: Any = poplib.POP3(*filled.server.pop3)
    client.user(filled.name)
    client.pass_(filled.password)
    assert client.stat()[0] == 3
    client.quit()


def test_many_mailboxes_at_once(make_mailbox: Callable[[], Mailbox]) -> None:
    boxes = [make_mailbox() for _ in range(20)]
    with smtplib.SMTP(*boxes[0].server.smtp) as sender:
        sender.sendmail(SENDER, [box.address for box in boxes], MESSAGES["dots"])
    clients = [connect(box) for box in boxes]
    for client in clients:
        assert client.stat()[0] == 1
        assert original(joined(client.retr(1))) == MESSAGES["dots"]
        client.quit()
