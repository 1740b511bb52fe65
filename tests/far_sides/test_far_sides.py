"""The scripted far sides do what their scripts say, as a client of the standard library sees it."""

import smtplib
import socket
import ssl

import pytest

from tests.support.e2e.dialogue import Smtp
from tests.support.far_sides.beside import FarSides, far_sides
from tests.support.far_sides.scripts import (
    TLS_FAILURES,
    Drop,
    Keep,
    Rule,
    Say,
    at,
    greylisting,
    most_messages,
    most_recipients,
    reply,
)
from tests.support.net.handshakes import client_context

CONTENT = b"Subject: x\r\n\r\n.one\r\n..two\r\n"


@pytest.fixture
def sides():
    with far_sides() as sides:
        yield sides


def send(port: int, *to: str, hello: str = "client.example") -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", port, hello, timeout=10) as client:
        return client.sendmail("a@b.example", to, CONTENT)


def test_a_message_is_recorded(sides: FarSides) -> None:
    far, port = sides.listen()
    assert send(port, "x@far.example", "y@far.example") == {}
    [message] = far.kept
    assert message.content == CONTENT
    assert (message.sender, message.accepted) == ("a@b.example", ["x@far.example", "y@far.example"])
    assert message.answers[0].startswith("250 2.0.0 Ok")
    assert (message.session.hello, message.session.client, message.session.tls) == (
        "EHLO client.example", "127.0.0.1", None,
    )  # fmt: skip
    assert message.session.quit


def test_rules_count(sides: FarSides) -> None:
    far, port = sides.listen(script=greylisting())
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(port, "x@far.example")
    assert send(port, "x@far.example") == {}
    far.script = most_recipients(2)
    assert set(send(port, "a@x", "b@x", "c@x")) == {"c@x"}
    assert set(send(port, "a@x", "b@x", "c@x")) == {"c@x"}
    far.script = most_messages(2, 3600)
    for _ in range(2):
        send(port, "a@x")
    with pytest.raises(smtplib.SMTPException, match="421"):
        send(port, "a@x")
    far.script = (Rule("RCPT", reply("550 5.1.1 no"), where="BAD"),)
    assert set(send(port, "bad@x", "good@x")) == {"bad@x"}


@pytest.mark.parametrize("step", ["connect", "MAIL", "RCPT", "DATA", "."])
def test_a_step_is_refused(sides: FarSides, step: str) -> None:
    far, port = sides.listen(script=at(step, "554 5.7.1 no"))
    with pytest.raises(smtplib.SMTPException, match="554"):
        send(port, "x@far.example")
    assert not far.kept
    assert [one.answers for one in far.transactions if one.complete] == (
        [["554 5.7.1 no"]] if step == "." else []
    )


def test_a_message_is_kept_and_its_answer_lost(sides: FarSides) -> None:
    far, port = sides.listen(script=(Rule(".", (Keep(), Drop())),))
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(port, "x@far.example")
    [message] = far.kept
    assert message.answers == []
    far.script = (Rule("MAIL", (Say(b"250 ok\r\n", pause=0.001),)),)
    assert send(port, "x@far.example") == {}
    assert far.copies("x@far.example") == 2


def test_tls_is_recorded(sides: FarSides, trusted, tls) -> None:
    far, port = sides.listen(tls=tls())
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client._host = "mail.example.org"  # type: ignore[attr-defined]
        client.starttls(context=client_context(trusted.path))
        client.sendmail("a@b.example", ["x@far.example"], CONTENT)
    [message] = far.kept
    assert message.session.tls is not None
    assert (message.session.tls.version, message.session.tls.name) == ("TLSv1.3", "mail.example.org")


@pytest.mark.parametrize("kind", [*TLS_FAILURES, "untrusted"])
def test_tls_fails(sides: FarSides, trusted, tls, kind: str) -> None:
    _, port = sides.listen(script=TLS_FAILURES.get(kind, ()), tls=tls())
    context = ssl.create_default_context() if kind == "untrusted" else client_context(trusted.path)
    with (
        socket.create_connection(("127.0.0.1", port), 0.3 if kind == "silence" else 10) as raw,
        raw.makefile("rb") as file,
    ):
        file.readline()
        raw.sendall(b"STARTTLS\r\n")
        assert file.readline().startswith(b"220 ")
        with pytest.raises(OSError):
            context.wrap_socket(raw, server_hostname="mail.example.org")


def test_lmtp_answers_for_each_recipient(sides: FarSides) -> None:
    far, port = sides.listen(lmtp=True, script=(Rule(".", reply("452 4.2.2 full"), where="full"),))
    with Smtp(("127.0.0.1", port)) as client:
        client.expect(b"LHLO client.example", b"250")
        client.expect(b"MAIL FROM:<a@b.example>", b"250")
        for name in (b"full", b"y"):
            client.expect(b"RCPT TO:<%s@x>" % name, b"250")
        client.expect(b"DATA", b"354")
        client.expect(b".", b"452 4.2.2 full")
        assert client.reply().startswith(b"250 ")
    [message] = far.kept
    assert message.accepted == ["y@x"]
    assert [answer[:3] for answer in message.answers] == ["452", "250"]


def test_a_client_that_may_not_do_that_is_found_out() -> None:
    sides = FarSides()
    far, port = sides.listen(extensions=("8BITMIME",))
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.ehlo()
        client.send(b"MAIL FROM:<a@b> BODY=8BITMIME RET=HDRS\r\nRCPT TO:<x@y>\r\n")
        for _ in range(2):
            assert client.getreply()[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(b"a\nb\r\n.\r\n")
        assert client.getreply()[0] == 250
    sides.close()
    assert [fault.partition(" (")[0] for fault in far.faults] == [
        "far.example: commands at once where PIPELINING is not offered",
        "far.example: RET, which is not offered",
        "far.example: CR, LF or NUL by itself in the content",
    ]
