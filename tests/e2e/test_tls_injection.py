"""What comes in the clear behind STARTTLS or STLS may be anybody's, and is never heeded."""

import pytest

from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.secured import Account

SMTP_INJECTED = {
    "a command": b"EHLO injected.example\r\n",
    "many": b"EHLO injected.example\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@example.org>\r\nDATA\r\n",
    "the beginning of one": b"NOOP ",
    "nothing": b"",
}
POP3_INJECTED = {
    "a command": b"CAPA\r\n",
    "many": b"USER injected\r\nPASS injected\r\nSTAT\r\nQUIT\r\n",
    "the beginning of one": b"USER ",
    "nothing": b"",
}


@pytest.mark.parametrize("protocol", ["smtp", "submission"])
@pytest.mark.parametrize("injected", SMTP_INJECTED)
def test_smtp(account: Account, protocol: str, injected: str) -> None:
    with Smtp(account.server.address(protocol, "starttls")) as session:
        session.expect(b"EHLO client.example", b"250")
        session.send(b"STARTTLS\r\n" + SMTP_INJECTED[injected])
        assert session.reply().startswith(b"220 ")
        session.begin_tls(account.context)
        # nothing is answered that was not asked, and nothing of before is known
        assert session.ask(b"NOOP") == b"250 2.0.0 Ok"
        assert session.ask(b"RSET") == b"250 2.0.0 Ok"
        session.expect(b"MAIL FROM:<%s>" % account.address.encode(), b"5")
        session.expect(b"EHLO client.example", b"250-mail.example.org\r\n")
        session.expect(b"QUIT", b"221")
        assert session.rest() == b""


@pytest.mark.parametrize("injected", POP3_INJECTED)
def test_pop3(account: Account, injected: str) -> None:
    with Pop3(account.server.address("pop3", "starttls")) as session:
        session.send(b"STLS\r\n" + POP3_INJECTED[injected])
        assert session.reply().startswith(b"+OK ")
        session.begin_tls(account.context)
        session.expect(b"PASS " + account.password.encode(), b"-ERR")
        assert session.login(account.address, account.password).startswith(b"+OK")
        session.expect(b"QUIT", b"+OK")
        assert session.rest() == b""
