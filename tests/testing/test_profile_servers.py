"""Servers with a profile: what real clients see and get."""

import poplib
import smtplib
import socket

import pytest

from mailserver.faults.restyle import Restyler
from mailserver.testing.profile import PROFILES, load_profile
from mailserver.testing.server import MailServer
from tests.support import pop3, smtp
from tests.support.scripted import greeting, put_joint_in_front, script_of

MESSAGE = b"Subject: hi\r\n\r\nhi\r\n"


@pytest.mark.parametrize("name", PROFILES)
def test_clients_send_and_fetch_mail(name):
    with MailServer(profile=name, seed=1) as server:
        with smtplib.SMTP(server.smtp.host, server.smtp.port) as client:
            client.ehlo()
            client.sendmail("a@elsewhere.example", ["bob@example.test"], MESSAGE)
        mail = server.wait_for(to="bob@example.test")
        fetcher = poplib.POP3(server.pop3.host, server.pop3.port)
        fetcher.user("bob@example.test")
        fetcher.pass_("secret")
        number = fetcher.stat()[0]
        assert (number, b"\r\n".join(fetcher.retr(1)[1]) + b"\r\n") == (1, mail.raw)
        assert len(fetcher.list()[1]) == len(fetcher.uidl()[1]) == 1
        fetcher.dele(1)
        fetcher.quit()
        assert not server.mailboxes


def test_the_size_of_the_profile_is_the_limit_and_a_setting_goes_before_it():
    with (
        MailServer(profile="gmail") as server,
        MailServer(profile="gmail", smtp={"max_message_size": 70000}) as small,
    ):
        for each, size in ((server, "35882577"), (small, "70000")):
            with smtplib.SMTP(each.smtp.host, each.smtp.port) as client:
                assert client.ehlo()[0] == 250
                assert client.esmtp_features["size"] == size


def test_what_a_test_hides_and_invents_is_stronger():
    with MailServer(profile="postfix") as server:
        server.smtp.hide("PIPELINING", "SIZE")
        server.smtp.invent("XFOO 1")
        with smtplib.SMTP(server.smtp.host, server.smtp.port) as client:
            client.ehlo("client.example")
            assert client.has_extn("etrn") and client.has_extn("xfoo")
            assert not client.has_extn("pipelining") and not client.has_extn("size")


def test_an_unknown_profile():
    with pytest.raises(ValueError, match=r'no profile "gmial".*did you mean "gmail"\?'):
        MailServer(profile="gmial")


def talk(server, protocol, profile, lines):
    script = script_of(protocol)
    script.restyle = Restyler(getattr(load_profile(profile), protocol), "mail.example.org")
    put_joint_in_front(server, script)
    return [greeting(server), *(server.feed(line) for line in lines)]


def test_a_dialogue_with_sendmail():
    lines = [
        b"EHLO c.example\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"BDAT 3 LAST\r\n",
        b"RCPT TO:<no@example.org>\r\n",
    ]
    said = talk(smtp.FakeServer(), "smtp", "sendmail", lines)
    assert said[0].startswith(b"220 mail.example.org ESMTP Sendmail 8.17.1/8.17.1; Thu, ")
    assert said[1].startswith(b"250-mail.example.org Hello c.example [127.0.0.1], pleased to meet you\r\n")
    assert said[2:] == [
        b"250 2.1.0 <a@b.example>... Sender ok\r\n",
        b'500 5.5.1 Command unrecognized: "BDAT"\r\n',
        b"550 5.1.1 <no@example.org>... User unknown\r\n",
    ]


def test_a_dialogue_with_qmail():
    server = pop3.FakeServer(pop3.maildrop_of([MESSAGE]))
    lines = [b"CAPA\r\n", b"USER mrose\r\nPASS secret\r\n", b"CAPA\r\n", b"RETR 1\r\n", b"DELE 1\r\nQUIT\r\n"]
    assert talk(server, "pop3", "qmail", lines) == [
        b"+OK \r\n",
        b"-ERR authorization first\r\n",
        b"+OK \r\n+OK \r\n",
        b"-ERR unimplemented\r\n",
        b"+OK \r\n" + MESSAGE + b".\r\n",
        b"+OK \r\n+OK \r\n",
    ]
    assert server.removed == (0,)


def test_courier_says_goodbye_in_two_ways():
    for lines, farewell in (
        ([], b"+OK Better luck next time.\r\n"),
        ([b"USER mrose\r\nPASS secret\r\n"], b"+OK Bye-bye.\r\n"),
    ):
        assert talk(pop3.FakeServer(), "pop3", "courier", [*lines, b"QUIT\r\n"])[-1] == farewell


def test_a_login_may_need_tls():
    with MailServer(profile="gmail") as server:
        with smtplib.SMTP(server.submission.host, server.submission.port) as client:
            client.ehlo()
            assert not client.has_extn("auth")
            client.starttls(context=server.ssl_context())
            client.login("bob@example.test", "secret")
            client.sendmail("bob@example.test", ["bob@example.test"], MESSAGE)
        server.wait_for(to="bob@example.test")
        assert server.sessions[0].account == "bob@example.test"


def test_a_reply_that_echoes_a_secret():
    """A client that does not wait sends its secret where the server expects a command."""
    with MailServer(profile="sendmail") as server:
        with socket.create_connection((server.smtp.host, server.smtp.port)) as client:
            client.sendall(b"XFOO\r\nAUTH X\r\nc2VjcmV0\r\nQUIT\r\n")
            while client.recv(1000):
                pass
        told = str(server.wait_for_session())
    assert '"XFOO"' in told and "C2VJCMV0" not in told.upper()
