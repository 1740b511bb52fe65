"""``pop3.expire`` and ``account.expire``: the line in CAPA, and the messages that QUIT removes (RFC 2449)."""

from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import PASSWORD, Makes, configuration

TABLES = f"""
[[account]]
address = "Zoë@example.org"
password = "{PASSWORD}"
expire = "0d"
"""


def expire(session: Pop3) -> bytes:
    [line] = [line for line in session.multi(b"CAPA").splitlines() if line.startswith(b"EXPIRE")]
    return line


def test_each_account_has_its_own(make_server: Makes) -> None:
    server = make_server(configuration(pop3='expire = "30d"', tables=TABLES))
    server.start()
    kept, left = Mailbox(server, "alice"), Mailbox(server, "zoë")
    for mailbox in (kept, left):
        with Pop3(server.pop3) as session:
            assert expire(session) == b"EXPIRE 0 USER"
            assert session.login(mailbox.address, PASSWORD).startswith(b"+OK")
            assert expire(session) == (b"EXPIRE 30" if mailbox is kept else b"EXPIRE 0")
            session.expect(b"QUIT", b"+OK")
    message = b"Subject: x\r\n\r\nx\r\n"
    kept.fill(message, message)
    assert len(kept.messages()) == len(kept.messages()) == 2


def test_what_is_read_is_removed(make_server: Makes) -> None:
    server = make_server(configuration(pop3='expire = "0d"'))
    server.start()
    mailbox = Mailbox(server, "alice")
    mailbox.fill(b"Subject: x\r\n\r\n1\r\n", b"Subject: x\r\n\r\n2\r\n")
    with mailbox.login() as session:
        session.multi(b"RETR 2")
        session.multi(b"TOP 1 5")
    with mailbox.login() as session:
        session.multi(b"RETR 1")
        assert session.ask(b"QUIT") == b"+OK mail.example.org POP3 server signing off (1 message left)"
    assert [octets[-3:] for octets in mailbox.messages()] == [b"2\r\n"]
    assert mailbox.messages() == []
