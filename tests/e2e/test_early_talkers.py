"""Clients out of step: they speak before the greeting, or another protocol.

What the sessions make of such octets is in tests/dialogues; here they come over real sockets.
"""

import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from tests.support.e2e.dialogue import HOSTNAME, SECONDS
from tests.support.e2e.limited import LimitedServer, Pop3From, SmtpFrom
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import wait_until

RULE = "smtp.early_talkers"
HELLO = b"EHLO client.example\r\n"
GREETING = b"220 mail.example.org ESMTP"


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    yield from LimitedServer(tmp_path_factory.mktemp("waiting")).serve()


def connect(address: tuple[str, int], host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(address, SECONDS, (host, 0))


def everything(client: socket.socket) -> bytes:
    """What the server says until it hangs up; a reset counts as that."""
    said = b""
    try:
        while data := client.recv(65536):
            said += data
    except ConnectionResetError:
        pass
    return said


# ------------------------------------------------------------ before the greeting


@pytest.mark.parametrize("early_talkers", ["log", "refuse"])
def test_before_the_greeting(waiting: LimitedServer, early_talkers: str) -> None:
    waiting.limit(smtp=f'greeting_delay = "300ms"\nearly_talkers = "{early_talkers}"')
    early, polite = waiting.hosts(2)
    began = time.monotonic()
    with connect(waiting.smtp, early) as client, connect(waiting.smtp, polite) as other:
        client.sendall(HELLO + b"MAIL FROM:<a@b.example>\r\nQUIT\r\n")
        # the polite one is greeted, after the same time
        assert other.recv(100).startswith(GREETING)
        other.sendall(b"QUIT\r\n")
        assert everything(other).startswith(b"221 ")
        said = everything(client).splitlines()
        assert time.monotonic() - began >= 0.3
    codes = [line[:4] for line in said if line[3:4] != b"-"]
    if early_talkers == "refuse":
        assert said == [b"554 5.5.1 the client spoke before it was greeted"]
    else:
        assert codes == [b"220 ", b"250 ", b"250 ", b"221 "], said
    [event] = waiting.events(RULE)
    assert event["client"] == early
    assert event["event"].startswith("refused" if early_talkers == "refuse" else "noticed")
    assert event["reason"] == "it spoke before it was greeted"


def test_exempt_clients_are_greeted_at_once(waiting: LimitedServer) -> None:
    waiting.limit(smtp='greeting_delay = "1m"\nearly_talkers = "refuse"')
    with connect(waiting.smtp) as client:
        client.sendall(HELLO + b"QUIT\r\n")
        assert everything(client).startswith(GREETING)
    with Pop3From(waiting.pop3, *waiting.hosts(1)) as session:  # a matter of SMTP alone
        assert session.greeting.startswith(b"+OK")


def test_who_leaves_before_the_greeting(waiting: LimitedServer) -> None:
    """It is counted as there for no longer than it would have waited."""
    waiting.limit("connections_per_address = 1", smtp='greeting_delay = "500ms"')
    (host,) = waiting.hosts(1)
    connect(waiting.smtp, host).close()

    def greeted() -> bool:
        with SmtpFrom(waiting.smtp, host) as session:
            return session.greeting.startswith(GREETING)

    wait_until(greeted, "the place of the one who has left", 5)


# ------------------------------------------------------------ another protocol

MAIL = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"
LOGIN = b"USER alice\r\nPASS correct horse\r\nSTAT\r\n"
POST = b"POST / HTTP/1.1\r\nHost: mail.example.org:25\r\nContent-Length: %d\r\n\r\n%s"


@pytest.mark.parametrize("protocol", ["smtp", "submission", "pop3"])
def test_a_form_of_a_browser_is_no_mail(waiting: LimitedServer, protocol: str) -> None:
    waiting.limit()
    body = LOGIN if protocol == "pop3" else MAIL
    refusal = b"-ERR this is POP3, and" if protocol == "pop3" else b"500 5.5.2 this is SMTP, and"
    with connect(waiting.address(protocol)) as client:
        client.sendall(POST % (len(body), body))
        said = everything(client).splitlines()
    assert len(said) == 2
    assert said[1].startswith(refusal + b" no web server")
    with connect(waiting.address(protocol)) as client:  # one line at a time
        for line in (POST % (len(body), body)).splitlines(keepends=True):
            try:
                client.sendall(line)
            except ConnectionError:
                break
            time.sleep(0.005)
        assert everything(client).splitlines() == said
    assert Mailbox(waiting, "alice").messages() == []


@pytest.mark.parametrize("protocol", ["smtp", "pop3"])
def test_tls_to_a_plain_port(waiting: LimitedServer, protocol: str) -> None:
    waiting.limit('error_delay = "0s"')
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=HOSTNAME)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with connect(waiting.address(protocol)) as client:
        client.sendall(outgoing.read())
        client.shutdown(socket.SHUT_WR)
        replies = everything(client).splitlines()[1:]
    assert all(reply.startswith((b"500 ", b"-ERR")) for reply in replies), replies
    context = ssl.create_default_context()
    with connect(waiting.address(protocol)) as client, pytest.raises(ssl.SSLError):
        context.wrap_socket(client, server_hostname=HOSTNAME)
