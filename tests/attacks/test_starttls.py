"""STARTTLS and STLS with something behind them; TLS and HTTP to a plain port."""

import ssl
from collections.abc import Callable

import pytest
from twisted.internet.ssl import CertificateOptions

from mailserver.smtp.states import SMTPState
from tests.support.attacks.ways import HELLO, MAIL, RCPT, pop3, smtp
from tests.support.net.fakes import Journal, POP3Port, SMTPPort
from tests.support.net.handshakes import client_context
from tests.support.net.loop import Client, Loop
from tests.support.pop3 import FakeServer as Pop3Server
from tests.support.tls_material import Authority

# ------------------------------------------------------------ behind the command (row 4)


@pytest.mark.parametrize("kind", [SMTPPort, POP3Port])
def test_what_is_injected_behind_the_command_is_never_run(
    kind: type[SMTPPort] | type[POP3Port],
    loop: Loop,
    tls: Callable[[], CertificateOptions],
    trusted: Authority,
    journal: Journal,
) -> None:
    """In one write, octet by octet, and cut in two at every offset.

    The one answer in the clear is that to the command. Then TLS works and nothing was said before, or the
    octets were too late to be thrown away and have spoilt the handshake.
    """
    command = b"STARTTLS\r\n" if kind is SMTPPort else b"STLS\r\n"
    attack = command + (b"EHLO evil.example\r\n" if kind is SMTPPort else b"USER alice\r\n")
    context: ssl.SSLContext = client_context(trusted.path)
    context.check_hostname = False
    ways = [[attack[:cut], attack[cut:]] for cut in range(1, len(attack) + 1)]
    for pieces in [*ways, [attack[i : i + 1] for i in range(len(attack))]]:
        port = kind(loop, settings={"starttls": True}, tls=tls)
        client = Client(loop, port.factory)
        client.read()
        for piece in filter(None, pieces):
            if not client.lost:
                client.send(piece)
        whole = len(pieces[0]) == len(attack)
        answer = client.read_raw()
        assert answer.startswith((b"220 2.0.0 begin TLS\r\n", b"+OK begin TLS\r\n")), pieces
        assert answer.count(b"\r\n") == 1 and b"evil" not in answer and b"password" not in answer
        if not client.lost and whole:
            client.shake_hands(context)
            after = client.ask(b"MAIL FROM:<>\r\n" if kind is SMTPPort else b"PASS secret\r\n")
            assert after.startswith((b"503 ", b"-ERR send USER first")), pieces
        client.close()
        assert port.is_clean and loop.idle


# ------------------------------------------------------------ who has come to the wrong port (row 28)

CLIENT_HELLO = (
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(32)) + b"\x20" + bytes(range(32))
    + b"\x00\x08\x13\x02\x13\x03\x13\x01\x00\xff\x01\x00\x00\x50\x00\x0b\x00\x04\x03\x00\x01\x02"
    + b"\x0d\x0aMAIL FROM:<evil@b.example>\r\n" + bytes(40)
)  # fmt: skip


def test_a_client_hello_to_a_plain_port() -> None:
    """Nothing in it is a command that works; when the client ends its line, that is a 500."""
    outcome = smtp(CLIENT_HELLO + b"\r\n")
    assert outcome.codes and {code[:1] for code in outcome.codes} == {"5"}
    assert outcome.kept == [] and outcome.phase is not SMTPState.SENDER
    said, removed = pop3(CLIENT_HELLO + b"\r\n", Pop3Server)
    assert said and {line[:4] for line in said} == {b"-ERR"} and removed is None


# What a browser can be made to send to any port by a page somewhere.
EMBEDDED = HELLO + MAIL + RCPT + b"DATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n"
REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: mail.example.org:25\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: mail.example.org:25\r\nContent-Length: 150\r\n\r\n" + EMBEDDED,
    b"post / HTTP/1.0\r\n\r\n" + EMBEDDED,
    b"OPTIONS * HTTP/1.1\r\n" + EMBEDDED,
    b"PUT /x HTTP/1.1\r\n" + EMBEDDED,
    b"DELETE /x HTTP/1.1\r\n" + EMBEDDED,
    b"CONNECT mail.example.org:25 HTTP/1.1\r\n\r\n" + EMBEDDED,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EMBEDDED,
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda octets: octets[:12].decode())
def test_http(request_: bytes) -> None:
    """One error, and the end: what stands in the body is not even looked at."""
    outcome = smtp(request_)
    assert outcome.codes == ["500 5.5.2"]
    assert outcome.phase is SMTPState.CLOSED and outcome.kept == []
    body = b"USER mrose\r\nPASS secret\r\nDELE 1\r\nQUIT\r\n"
    said, removed = pop3(request_.replace(EMBEDDED, body), Pop3Server)
    assert len(said) == 1 and said[0].startswith(b"-ERR ") and removed is None
