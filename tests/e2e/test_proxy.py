"""Clients behind a proxy: the address that its PROXY header tells is theirs everywhere."""

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.e2e.dialogue import HOSTNAME, SECONDS
from tests.support.e2e.limited import PORT, LimitedServer
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import need, run
from tests.support.tls_material import Authority, make_ca

PROXY, OTHER = "127.0.0.2", "127.0.0.3"  # one that is trusted, and one that is not
V2 = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_ca(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[LimitedServer]:
    issued = authority.issue(HOSTNAME, "127.0.0.1")
    tables = [f'[tls]\ncertificate = "{issued.certificate}"\nprivate_key = "{issued.private_key}"']
    for protocol, tls in (("smtp", "none"), ("pop3", "none"), ("smtp", "implicit")):
        tables.append(f'[[listen]]\nprotocol = "{protocol}"\nendpoint = "{PORT}"\ntls = "{tls}"')
        tables.append(f'proxies = ["{PROXY}", "192.0.2.0/24"]')
    server = LimitedServer(tmp_path_factory.mktemp("proxied"), listen=(), tables="\n".join(tables))
    yield from server.serve()


def v1(source: str) -> bytes:
    """The header for a client; it may have an address of any kind."""
    family, here = ("TCP6", "2001:db8::25") if ":" in source else ("TCP4", "192.0.2.25")
    return f"PROXY {family} {source} {here} 40000 25\r\n".encode()


def v2(source: str) -> bytes:
    """The same in the second version."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    here = "2001:db8::25" if ":" in source else "192.0.2.25"
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, here) + b"\x9c\x40\x00\x19"
    kind = b"\x21" if family == socket.AF_INET6 else b"\x11"
    return V2 + b"\x21" + kind + len(addresses).to_bytes(2, "big") + addresses


def connect(address: tuple[str, int], host: str = PROXY) -> socket.socket:
    return socket.create_connection(address, SECONDS, (host, 0))


def said(client: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    octets = b""
    try:
        while data := client.recv(65536):
            octets += data
    except ConnectionResetError:
        pass
    return octets


def conversation(server: LimitedServer, header: bytes, commands: bytes, host: str = PROXY) -> list[bytes]:
    """The lines that a client of the SMTP port is told."""
    with connect(server.address("smtp", "none"), host) as client:
        client.sendall(header + commands)
        return said(client).splitlines()


# ------------------------------------------------------------ programs


def test_curl(proxied: LimitedServer, tmp_path: Path, authority: Authority) -> None:
    """It tells its own address, in front of TLS, too."""
    proxied.limit()
    for scheme, tls, protocol in (("smtp", "none", b"ESMTP"), ("smtps", "implicit", b"ESMTPS")):
        host, port = proxied.address("smtp", tls)
        command = [
            need("curl"),
            "-sS",
            f"{scheme}://{host}:{port}",
            "--haproxy-protocol",
            "--interface",
            PROXY,
        ]
        mail = ["--mail-from", "a@b.example", "--mail-rcpt", "alice@example.org", "--upload-file", "-"]
        run(tmp_path, *command, "--cacert", authority.path, *mail, input=b"Subject: by curl\r\n\r\nhello\r\n")
        stored = Mailbox(proxied, "alice").messages()[-1]
        assert f" ([{PROXY}])\r\n\tby mail.example.org with ".encode() + protocol + b" id " in stored
    assert [event["client"] for event in proxied.events() if "recipients" in event] == [PROXY] * 2


@pytest.mark.parametrize(("version", "family"), [("1", "TCP4"), ("2", "AF_INET")])
def test_swaks(proxied: LimitedServer, tmp_path: Path, version: str, family: str) -> None:
    proxied.limit()
    host, port = proxied.address("smtp", "none")
    client = f"198.51.100.{version}"
    command = [need("swaks"), "--server", host, "--port", str(port), "--local-interface", PROXY]
    command += ["--proxy-version", version, "--proxy-family", family]
    command += ["--proxy-source", client, "--proxy-source-port", "40000"]
    command += ["--proxy-dest", "192.0.2.25", "--proxy-dest-port", "25"]
    run(tmp_path, *command, "--from", "a@b.example", "--to", "bob@example.org")
    stored = Mailbox(proxied, "bob").messages()[-1]
    assert f" ([{client}])\r\n\tby mail.example.org with ESMTP id ".encode() in stored
    assert [event["client"] for event in proxied.events() if "recipients" in event] == [client]


# ------------------------------------------------------------ the address counts


@pytest.mark.parametrize("header", [v1, v2])
@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ("198.51.100.7", "198.51.100.7", "198.51.100.8"),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"),
    ],
)
def test_limits_are_those_of_the_client(
    proxied: LimitedServer, header: Callable[[str], bytes], one: str, same: str, other: str
) -> None:
    proxied.limit("connections_per_address = 1")
    with connect(proxied.address("smtp", "none")) as first, connect(proxied.pop3) as second:
        first.sendall(header(one))
        assert first.recv(100).startswith(b"220 ")
        second.sendall(header(same))
        assert said(second).startswith(b"-ERR [SYS/TEMP] too many connections from your address; ")
        assert conversation(proxied, header(other), b"QUIT\r\n")[-1].startswith(b"221 ")
    assert [event["client"] for event in proxied.events("limits.connections_per_address")] == [same]


# ------------------------------------------------------------ TLS


@pytest.mark.parametrize("header", [v1, v2])
@pytest.mark.parametrize("together", [True, False])
def test_tls_from_the_first_octet(
    proxied: LimitedServer, authority: Authority, header: Callable[[str], bytes], together: bool
) -> None:
    """It begins behind the header, in the same segment or in a later one."""
    proxied.limit()
    client = "198.51.100.11"
    context = ssl.create_default_context(cafile=authority.path)
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, to_send, server_hostname=HOSTNAME)
    with connect(proxied.address("smtp", "implicit")) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pending = header(client)
        if not together:
            wire.sendall(pending)
            pending = b""

        def through(step: Callable[[], bytes | None]) -> bytes:
            nonlocal pending
            while True:
                try:
                    return step() or b""
                except ssl.SSLWantReadError:
                    wire.sendall(pending + to_send.read())
                    pending = b""
                    received.write(wire.recv(65536))

        through(tls.do_handshake)
        assert through(tls.read).startswith(b"220 ")
        tls.write(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@example.org>\r\nQUIT\r\n")
        answers = b""
        while b"\r\n221 " not in answers:
            answers += through(tls.read)
    assert [event["client"] for event in proxied.events("routing")] == [client]


def test_a_header_from_anybody_else(proxied: LimitedServer) -> None:
    """It is a command that there is not; the client stays who it is."""
    proxied.limit()
    mail = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@example.org>\r\nQUIT\r\n"
    greeting, refusal, *_, last, _ = conversation(proxied, v1("192.0.2.99"), mail, OTHER)
    assert greeting.startswith(b"220 ")
    assert refusal.startswith(b"500 5.5.2 ")
    assert last.startswith(b"550 ")
    assert [event["client"] for event in proxied.events("routing")] == [OTHER]
