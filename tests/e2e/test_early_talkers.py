"""Clients out of step: they speak before the greeting, or another protocol; they begin TLS and do not go
on; they begin messages and do not end them.

What the sessions make of such octets is in tests/dialogues; here they come over real sockets.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Makes
from .dialogue import HOSTNAME, SECONDS, Smtp
from .mailbox import Mailbox
from .server import Server, configuration, wait_until
from .test_limits import LimitedServer, Pop3From, SmtpFrom

MIB = 1 << 20
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


# ------------------------------------------------------------ a handshake that stalls


@pytest.fixture
def impatient(make_server: Makes) -> Server:
    """With TLS on request and from the first octet, and a second for everything."""
    listen = [("smtp", "tcp:0:interface=127.0.0.1", tls) for tls in ("starttls", "implicit")]
    tables = '[tls]\ngenerate = true\n[smtp]\ncommand_timeout = "1s"\n'
    return make_server(configuration(listen=listen, tables=tables)).start()


def test_handshakes_that_stall(impatient: Server) -> None:
    """In silence, after half of a ClientHello, or octet by octet: all are cut, and nobody else waits."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(400)
    clients = [connect(impatient.address("smtp", "implicit")) for _ in range(3)]
    for _ in range(3):
        session = Smtp(impatient.address("smtp", "starttls"))
        session.expect(b"STARTTLS", b"220 ")
        clients.append(session.socket)
    began = time.monotonic()
    for client in clients:
        client.settimeout(0.05)
    try:
        for client in clients[1::3]:
            client.sendall(hello[:200])
        sent = 0
        waiting = list(clients)
        while waiting and time.monotonic() - began < 10:
            for number, client in enumerate(clients):
                if client in waiting and _is_over(client, hello[sent : sent + 1] if number % 3 == 2 else b""):
                    waiting.remove(client)
            sent += 1
        assert not waiting, [clients.index(client) for client in waiting]
        assert 0.9 < time.monotonic() - began < 5
    finally:
        for client in clients:
            client.close()
    with Smtp(impatient.address("smtp", "starttls")) as session:
        session.expect(b"EHLO client.example", b"250")
    impatient.check_log()


def _is_over(client: socket.socket, octets: bytes) -> bool:
    try:
        client.sendall(octets)
        return client.recv(100) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


# ------------------------------------------------------------ a message that does not end


def memory(server: Server) -> int:
    """The most octets that the process has had so far (proc(5), VmHWM)."""
    status = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    [line] = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def test_200_messages_that_do_not_end(waiting: LimitedServer) -> None:
    """10 MiB each, and the last six of them over the limit."""
    waiting.limit(smtp="max_message_size = 4194304")
    lines = (b"x" * 998 + b"\r\n") * 263  # 256 KiB and a little
    before = memory(waiting)
    sessions = [Smtp(waiting.smtp) for _ in range(200)]
    try:
        for session in sessions:
            session.begin("a@b.example", "carol@example.org")
        for _ in range(40):
            for session in sessions:
                session.send(lines)
        # 64 MiB are for all messages that arrive; and what each has on its way to the disk
        grown = memory(waiting) - before
        assert grown < 64 * MIB + 200 * 600 * 1024, f"{grown >> 20} MiB"
        for session in sessions[:100]:
            session.send(b".\r\n")
        for session in sessions[:100]:
            assert session.reply().startswith(b"552 5.3.4 ")
    finally:
        for session in sessions:
            session.close()
    wait_until(lambda: not files_without_a_name(waiting), "an end of the messages that have none")
    assert Mailbox(waiting, "carol").messages() == []


def files_without_a_name(server: Server) -> list[str]:
    """What the server has open below its data, and has removed already."""
    found = []
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return [name for name in found if name.startswith(str(server.data)) and name.endswith(" (deleted)")]
