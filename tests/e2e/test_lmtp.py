"""LMTP from other programs and from ourselves: by a unix socket and by TCP, a reply for each recipient."""

import re
import smtplib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import need, run
from tests.support.e2e.server import BOTH, PASSWORD, Makes, Server, configuration, wait_until
from tests.support.real_servers.postfix import Postfix

# The message has all header fields that Postfix would add.
HEAD = b"From: chris@far.example\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@far.example>\r\n"
MESSAGE = HEAD + b"Subject: by LMTP\r\n\r\n.\r\n..\r\n" + (b"0123456789" * 7 + b"\r\n") * 60
TIGHT = f"""
[[account]]
address = "tight@example.org"
password = "{PASSWORD}"
quota = 2000
[relay]
networks = []
"""
TCP = ("lmtp", "tcp:0:interface=127.0.0.1")


@pytest.fixture
def folder(nobodys_folder: Path) -> Path:
    """A folder for sockets, in which other users find them."""
    nobodys_folder.chmod(0o755)
    return nobodys_folder


@pytest.fixture
def server(make_server: Makes, folder: Path) -> Server:
    listen = [*BOTH, TCP, ("lmtp", f"unix:{folder}/lmtp.sock")]
    return make_server(configuration(listen=listen, tables=TIGHT)).start()


@pytest.fixture(params=["tcp", "unix"])
def client(request: pytest.FixtureRequest, server: Server, folder: Path) -> Iterator[smtplib.LMTP]:
    host, port = server.address("lmtp") if request.param == "tcp" else (f"{folder}/lmtp.sock", 0)
    with smtplib.LMTP(host, port) as client:
        yield client


def stored(server: Server, name: str) -> bytes:
    [message] = Mailbox(server, name).messages()
    return message


def test_smtplib(server: Server, client: smtplib.LMTP) -> None:
    client.sendmail("chris@far.example", ["bob@example.org"], MESSAGE)
    message = stored(server, "bob")
    assert message.endswith(MESSAGE)
    assert re.search(rb"by mail\.example\.org with LMTP id \S+\r\n\tfor <bob@example\.org>;", message)
    # Local recipients only, even for a client on this machine.
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        client.sendmail("chris@far.example", ["dave@far.example"], MESSAGE)
    assert caught.value.recipients["dave@far.example"][0] == 550


def test_a_reply_for_each_recipient(server: Server, client: smtplib.LMTP) -> None:
    client.ehlo_or_helo_if_needed()
    client.mail("chris@far.example")
    for name in ("bob", "tight", "nobody", "carol"):
        client.rcpt(f"{name}@example.org")
    code, text = client.data(MESSAGE)
    replies = [(code, text), client.getreply(), client.getreply()]
    assert [(code, text[:5]) for code, text in replies] == [(250, b"2.0.0"), (552, b"5.2.2"), (250, b"2.0.0")]
    assert client.noop()[0] == 250
    assert stored(server, "bob").endswith(MESSAGE) and stored(server, "carol").endswith(MESSAGE)
    assert Mailbox(server, "tight").messages() == []
    assert re.search(
        r"rejected: <chris@far\.example> to <tight@example\.org>: the mailbox is full", server.log
    )


def test_a_client_of_another_machine_must_log_in(make_server: Makes) -> None:
    """The PROXY header makes one here."""
    port = '[[listen]]\nprotocol = "lmtp"\nendpoint = "tcp:0:interface=127.0.0.1"\nproxies = ["127.0.0.1"]'
    tables = f"{port}\n[relay]\nnetworks = ['192.0.2.0/28']\n[smtp]\nplaintext_auth = true"
    server = make_server(configuration(listen=BOTH, tables=tables)).start()
    for source, code in (("127.0.0.1", b"250"), ("192.0.2.1", b"250"), ("192.0.2.99", b"530")):
        with socket.create_connection(server.address("lmtp")) as client, client.makefile("rb") as file:
            client.sendall(f"PROXY TCP4 {source} 192.0.2.25 40000 24\r\nLHLO x\r\n".encode())
            while not file.readline().startswith(b"250 "):
                pass
            client.sendall(b"MAIL FROM:<a@b.example>\r\nAUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=\r\n")
            assert file.readline().startswith(code)
            assert file.readline()[:3] == (b"235" if code == b"530" else b"503")
            client.sendall(b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<x@far.example>\r\nQUIT\r\n")
            replies = [file.readline()[:3] for _ in range(4)]
            # A login may relay, wherever it comes from. The networks of relay.networks may not.
            assert replies == [b"250", b"250", b"250" if code == b"530" else b"550", b"221"]


def test_swaks(server: Server, folder: Path) -> None:
    swaks = [need("swaks"), "--protocol", "LMTP", "--from", "chris@far.example", "--body", "by swaks"]
    to = ["--to", "bob@example.org,carol@example.org"]
    for where in (
        ["--socket", f"{folder}/lmtp.sock"],
        ["--server", ":".join(map(str, server.address("lmtp")))],
    ):
        done = run(server.directory, *swaks, *to, *where)
        assert done.stdout.count(b"<-  250 2.0.0 Ok: queued as") == 2, done.stdout
        done = run(server.directory, *swaks, *to, *where, "--pipeline")
        assert done.stdout.count(b"<-  250 2.0.0 Ok: queued as") == 2, done.stdout
    assert [len(Mailbox(server, name).messages()) for name in ("bob", "carol")] == [4, 4]


def test_our_own_sender(server: Server, make_server: Makes, folder: Path) -> None:
    """Its pipelined session has one recipient whose mailbox is full, and gets a bounce for that one alone."""
    first = configuration(tables=f'[relay]\nroutes = {{ "example.org" = "lmtp:unix:{folder}/lmtp.sock" }}')
    sender = make_server(
        first.replace('["example.org"]', '["far.example"]').replace("@example.org", "@far.example")
    )
    sender.start()
    to = [f"{name}@example.org" for name in ("bob", "tight", "carol")]
    with smtplib.SMTP(*sender.smtp) as client:
        client.sendmail("alice@far.example", to, MESSAGE)
    box = sender.data / "mail" / "far.example" / "alice" / "new"
    wait_until(lambda: box.exists() and list(box.iterdir()), "the bounce", 30)
    [bounce] = [file.read_bytes() for file in box.iterdir()]
    assert bounce.count(b"Final-Recipient") == 1 and b"tight@example.org" in bounce and b"5.2.2" in bounce
    for name in ("bob", "carol"):
        wait_until(Mailbox(server, name).uids, name)
        assert b"with LMTP id" in stored(server, name)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_postfix(server: Server, folder: Path, make_real: Callable[..., Any], way: str) -> None:
    """Postfix bounces to the one whose mailbox is full, by LMTP again."""
    host, port = server.address("lmtp")
    where = f"inet:[{host}]:{port}" if way == "tcp" else f"unix:{folder}/lmtp.sock"
    postfix = make_real(Postfix, settings={"default_transport": f"lmtp:{where}", "relayhost": ""})
    postfix.start(port)
    to = [f"{name}@example.org" for name in ("bob", "tight", "carol", "nobody")]
    with smtplib.SMTP("127.0.0.1", postfix.port) as client:
        client.sendmail("alice@example.org", to, MESSAGE)
    for name in ("bob", "carol"):
        wait_until(Mailbox(server, name).uids, name, 30)
        message = stored(server, name)
        assert message.endswith(MESSAGE) and b"with LMTP id" in message
    [bounce] = wait_until(Mailbox(server, "alice").messages, "the bounce", 30)
    failed = re.findall(rb"Final-Recipient: rfc822; (\S+)@", bounce)
    assert sorted(failed) == [b"nobody", b"tight"]
    assert server.log.count("accepted: <alice@example.org>") == 1, "one transaction"
    server.check_log()
