"""Messages with UTF-8 in their headers, sent with SMTPUTF8: programs read them with and without UTF8."""

import email
import poplib
import smtplib
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.support.corpus.messages import unix
from tests.support.e2e.clients import READERS
from tests.support.e2e.mailbox import SENDER, Mailbox

SUBJECT = "привет, мир"
FILE = "отчёт.txt"
LANGUAGES = [b"en English", "ru Русский".encode()]


def made() -> bytes:
    message = EmailMessage(policy=policy.SMTPUTF8)
    message["From"], message["Subject"] = "Оля <оля@пример.рф>", SUBJECT
    message["To"], message["Comments"] = "alice@example.org", "ы"
    message.set_content("тело\n", cte="8bit")
    message.add_attachment("x\n", filename=FILE)
    return message.as_bytes()


SENT = made()


@pytest.fixture
def filled(mailbox: Mailbox) -> Mailbox:
    with smtplib.SMTP(*mailbox.server.smtp) as client:
        client.ehlo()
        client.sendmail(SENDER, [mailbox.address], SENT, ["SMTPUTF8", "BODY=8BITMIME"])
        client.sendmail(SENDER, [mailbox.address], b"Subject: plain\r\n\r\nplain\r\n")
    return mailbox


def session(mailbox: Mailbox, *, utf8: bool) -> Any:
    client: Any = poplib.POP3(*mailbox.server.pop3, timeout=15)
    assert client.capa()["UTF8"] == ["USER"]
    if utf8:
        assert client.utf8().startswith(b"+OK")
    client.user(mailbox.address)
    client.pass_(mailbox.password)
    return client


def read(client: Any, number: int) -> bytes:
    """One message, of the size that LIST, STAT and RETR tell."""
    reply, lines, octets = client.retr(number)
    assert octets == int(reply.split()[1]) == int(client.list(number).split()[2])
    assert client.stat()[1] == sum(int(line.split()[1]) for line in client.list()[1])
    top = client.top(number, 10**6)[1]
    assert top == lines and client.top(number, 0)[1] == lines[: lines.index(b"") + 1]
    return b"".join(line + b"\r\n" for line in lines)


def test_poplib(filled: Mailbox) -> None:
    utf8, plain = session(filled, utf8=True), None
    stored = read(utf8, 1)
    assert stored.endswith(SENT)
    assert SUBJECT.encode() in stored and FILE.encode() in stored
    uids, other = utf8.uidl()[1], read(utf8, 2)
    utf8.quit()
    plain = session(filled, utf8=False)
    surrogate = read(plain, 1)
    assert plain.uidl()[1] == uids and read(plain, 2) == other
    plain.quit()
    message = email.message_from_bytes(surrogate, policy=policy.default)
    assert message["Subject"] == SUBJECT and message["Comments"] is None
    [author] = message["From"].addresses
    assert author.addr_spec == "invalid@internationalized-address.invalid"
    assert author.display_name == "Оля оля@пример.рф"
    text, file = message.iter_parts()
    assert text.get_content().strip() == "тело" and file.get_content().strip() == "x"
    assert file.get_content_disposition() == "attachment"
    heads = [part.partition(b"\r\n\r\n")[0] for part in surrogate.split(b"\r\n--")]
    assert all(head.isascii() for head in heads)


@pytest.mark.parametrize("reader", ["fetchmail", "mpop", "curl"])
def test_a_reader_without_utf8(nobodys_folder: Path, filled: Mailbox, reader: str) -> None:
    """They know nothing of UTF8, and get the surrogate as it is."""
    client = session(filled, utf8=False)
    expected = [read(client, 1), read(client, 2)]
    client.quit()
    way = "on" if reader == "curl" else "user"
    got = READERS[reader](nobodys_folder, filled, "", way).check(0).got
    if reader == "curl":
        assert expected[0] in got or unix(expected[0]) in got
    else:
        assert sorted(got) == sorted(map(unix, expected))


def test_languages(filled: Mailbox) -> None:
    client = session(filled, utf8=True)
    client.encoding = "utf-8"
    assert client._longcmd("LANG")[1] == LANGUAGES
    assert client._shortcmd("LANG ru-RU").decode() == "+OK ru язык изменён"
    assert client.dele(2).decode() == "+OK сообщение 2 удалено"
    with pytest.raises(poplib.error_proto) as error:
        client.retr(2)
    assert error.value.args[0].decode() == "-ERR сообщение 2 уже удалено"
    assert client.rset().decode().startswith("+OK в ящике сообщений: 2 ")
    client.quit()
