"""TLS on a transport: what it begins with, what it forgets, what it is cut off by, and what it leaves."""

import ssl
import warnings
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from OpenSSL import SSL
from twisted.internet.ssl import CertificateOptions

from mailserver.net.connection import Connection
from mailserver.net.pairs import PairFiles, read_pair
from mailserver.net.tls import server_options
from tests.support.net.fakes import FakeMaildrop, Journal, POP3Port, Port, SMTPPort
from tests.support.net.handshakes import TLS12, TLS13, client_context
from tests.support.net.loop import Client, Loop
from tests.support.tls_material import Authority

TLS = Callable[[], CertificateOptions]
VERSIONS = pytest.mark.parametrize("version", [TLS12, TLS13])
BEGIN = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"x." * 16_000 + b"\r\n"


@attrs.frozen
class Kind:
    """A protocol, and the command that begins TLS in it."""

    port: type[SMTPPort] | type[POP3Port]
    command: bytes
    begins: bytes
    noop: bytes

    def open(self, loop: Loop, tls: TLS, implicit: bool) -> Port:
        return self.port(loop, tls=tls, implicit=implicit, settings={"starttls": not implicit})


SMTP = Kind(SMTPPort, b"STARTTLS\r\n", b"220 2.0.0 begin TLS\r\n", b"250 2.0.0 Ok\r\n")
POP3 = Kind(POP3Port, b"STLS\r\n", b"+OK begin TLS\r\n", b"-ERR ")
KINDS = pytest.mark.parametrize("kind", [SMTP, POP3], ids=["smtp", "pop3"])
IMPLICIT = pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])


@pytest.fixture
def context(trusted: Authority) -> ssl.SSLContext:
    context = client_context(trusted.path)
    context.check_hostname = False
    return context


def to_handshake(kind: Kind, port: Port, loop: Loop, implicit: bool) -> Client:
    """A client whose next octets are those of a handshake."""
    client = Client(loop, port.factory)
    if not implicit:
        assert client.read() == port.greeting
        assert client.ask(kind.command) == kind.begins
    return client


def only(port: Port) -> Connection:
    [connection] = port.factory.connections
    return connection


# ------------------------------------------------------------ how it begins


@KINDS
@VERSIONS
def test_on_request(
    kind: Kind, version: ssl.TLSVersion, loop: Loop, tls: TLS, context: ssl.SSLContext, journal: Journal
) -> None:
    port = kind.open(loop, tls, implicit=False)
    context.maximum_version = version
    client = to_handshake(kind, port, loop, implicit=False)
    assert client.shake_hands(context) == b"", "there is no second greeting"
    assert client.ask(b"NOOP\r\n").startswith(kind.noop)
    assert only(port).tls.startswith(f"TLSv1.{version - TLS12 + 2} with ")
    client.close()
    assert port.is_clean and loop.idle
    assert journal.lines() == []


@KINDS
@VERSIONS
def test_from_the_first_octet(
    kind: Kind, version: ssl.TLSVersion, loop: Loop, tls: TLS, context: ssl.SSLContext
) -> None:
    port = kind.open(loop, tls, implicit=True)
    context.maximum_version = version
    client = Client(loop, port.factory)
    assert client.read_raw() == b"", "nothing is said in the clear"
    assert client.shake_hands(context) == port.greeting
    assert client.ask(b"NOOP\r\n").startswith(kind.noop)
    assert client.ask(kind.command)[:4] in (b"503 ", b"-ERR")
    client.close()
    assert port.is_clean and loop.idle


def test_a_greeting_may_wait_after_the_handshake(loop: Loop, tls: TLS, context: ssl.SSLContext) -> None:
    port = SMTPPort(loop, settings={"greeting_delay": 5.0}, tls=tls, implicit=True)
    client = Client(loop, port.factory)
    assert client.shake_hands(context) == b""
    loop.wait(5)
    assert client.read() == port.greeting
    client.close()
    assert port.is_clean and loop.idle


def test_a_certificate_is_asked_for_anew_for_each_connection(
    loop: Loop, tls: TLS, context: ssl.SSLContext
) -> None:
    asked: list[CertificateOptions] = []

    def counted() -> CertificateOptions:
        asked.append(tls())
        return asked[-1]

    port = SMTPPort(loop, tls=counted, implicit=True)
    for _ in range(3):
        Client(loop, port.factory).shake_hands(context)
    assert len(asked) == 3


# ------------------------------------------------------------ what is forgotten


@KINDS
@pytest.mark.parametrize("pieces", [1, 2])
def test_what_comes_behind_the_command_in_the_clear_is_never_run(
    kind: Kind, pieces: int, loop: Loop, tls: TLS, context: ssl.SSLContext, journal: Journal
) -> None:
    """CVE-2011-0411, CVE-2021-33515: thrown away and noted, or taken for a bad handshake."""
    port = kind.open(loop, tls, implicit=False)
    client = Client(loop, port.factory)
    client.read()
    behind = b"EHLO evil.example\r\nUSER alice\r\n"
    if pieces == 1:
        assert client.ask(kind.command + behind) == kind.begins
        assert client.shake_hands(context) == b""
        [line] = journal.lines()
        assert line == "rejected 192.0.2.1: 31 octets sent in the clear after STARTTLS; discarded"
        answer = b"503 " if kind is SMTP else b"-ERR"
        assert client.ask(b"MAIL FROM:<>\r\n" if kind is SMTP else b"PASS secret\r\n").startswith(answer)
    else:
        client.send(kind.command)
        client.send(behind)
        assert client.read().startswith(kind.begins) and client.lost
        [line] = journal.lines()
        assert line.startswith("TLS handshake with 192.0.2.1 failed: ")
        assert port.is_clean and loop.idle


def test_nothing_that_was_said_before_counts(loop: Loop, tls: TLS, context: ssl.SSLContext) -> None:
    """RFC 3207 section 4.2: neither EHLO, nor who has logged in, nor under which names that one may send."""
    port = SMTPPort(loop, settings={"starttls": True}, tls=tls)
    client = Client(loop, port.factory)
    client.read()
    assert b"235 " in client.ask(b"EHLO c.example\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n")
    assert client.ask(b"MAIL FROM:<a@b.example>\r\n").startswith(b"553 ")
    client.ask(b"STARTTLS\r\n")
    client.shake_hands(context)
    assert client.ask(b"MAIL FROM:<a@b.example>\r\n").startswith(b"503 ")
    assert b" AUTH " in client.ask(b"EHLO c.example\r\n").replace(b"-", b" ")
    assert client.ask(b"MAIL FROM:<a@b.example>\r\n").startswith(b"250 ")
    client.ask(b"RCPT TO:<bob@example.org>\r\nDATA\r\n")
    assert b"with ESMTPS id" in port.spool.messages[0].trace


# ------------------------------------------------------------ handshakes that fail


@KINDS
@IMPLICIT
@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"EHLO c.example\r\nMAIL FROM:<>\r\n",
        b"\x16\x03\x01\x00\x05xxxxx",
        bytes(100),
    ],
    ids=ascii,
)
def test_what_is_no_handshake_is_one_line_of_the_log(
    kind: Kind, implicit: bool, octets: bytes, loop: Loop, tls: TLS, journal: Journal
) -> None:
    port = kind.open(loop, tls, implicit)
    client = to_handshake(kind, port, loop, implicit)
    client.raw(octets)
    said = client.read_raw()
    assert said == b"" or said[0] == 21, "an alert at most"
    client.read_raw()
    assert client.lost
    [line] = journal.lines()
    assert line.startswith("TLS handshake with 192.0.2.1 failed: ")
    assert port.is_clean and loop.idle


@KINDS
@IMPLICIT
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_end_with_an_alert(
    kind: Kind,
    implicit: bool,
    version: ssl.TLSVersion,
    loop: Loop,
    tls: TLS,
    context: ssl.SSLContext,
    journal: Journal,
) -> None:
    port = kind.open(loop, tls, implicit)
    client = to_handshake(kind, port, loop, implicit)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match="protocol version"):
        client.shake_hands(context)
    client.read_raw()
    assert client.lost
    [line] = journal.lines()
    assert line.startswith("TLS handshake with 192.0.2.1 failed: ") and "unsupported protocol" in line
    assert port.is_clean and loop.idle


def test_the_floor_is_ours_and_not_that_of_the_openssl_of_this_machine(trusted: Authority) -> None:
    """Many a distribution refuses TLS 1.1 by itself, and would hide that we do not."""
    issued = trusted.issue("mail.example.org")
    pair = read_pair(PairFiles("tls", issued.certificate, issued.private_key))
    options = server_options([pair]).getContext().set_options(0)
    older = SSL.OP_NO_SSLv2 | SSL.OP_NO_SSLv3 | SSL.OP_NO_TLSv1 | SSL.OP_NO_TLSv1_1
    assert options & older == older
    assert options & SSL.OP_NO_RENEGOTIATION and options & SSL.OP_NO_COMPRESSION


@KINDS
@IMPLICIT
@pytest.mark.parametrize("sent", [0, 1, 60])
def test_a_handshake_that_stalls_is_cut_off(
    kind: Kind, implicit: bool, sent: int, loop: Loop, tls: TLS, context: ssl.SSLContext, journal: Journal
) -> None:
    """However it drips: octets of a handshake give no more time."""
    port = kind.open(loop, tls, implicit)
    client = to_handshake(kind, port, loop, implicit)
    hello = client.hello(context)
    timeout = only(port).options.command_timeout
    for number in range(sent):
        client.raw(hello[number : number + 1])
        loop.wait(timeout / (sent + 1))
    assert port.factory.connections
    loop.wait(timeout)
    assert client.read_raw() == b"" and client.lost
    assert port.is_clean and loop.idle


@KINDS
@IMPLICIT
@pytest.mark.parametrize("sent", [0, 100])
def test_a_client_that_hangs_up_in_the_handshake_leaves_nothing(
    kind: Kind, implicit: bool, sent: int, loop: Loop, tls: TLS, context: ssl.SSLContext, journal: Journal
) -> None:
    port = kind.open(loop, tls, implicit)
    client = to_handshake(kind, port, loop, implicit)
    assert port.limits.connections.total == 1
    client.raw(client.hello(context)[:sent])
    client.close()
    assert port.is_clean and loop.idle
    assert len(journal.lines()) <= 1


@KINDS
@IMPLICIT
def test_a_stop_ends_handshakes_within_the_grace(
    kind: Kind, implicit: bool, loop: Loop, tls: TLS, context: ssl.SSLContext, journal: Journal
) -> None:
    port = kind.open(loop, tls, implicit)
    client = to_handshake(kind, port, loop, implicit)
    client.raw(client.hello(context)[:50])
    done = port.stop(5.0)
    for _ in range(7):
        loop.wait(1)
    assert done == [None]
    assert port.is_clean and loop.idle


def test_a_port_whose_certificates_are_broken_says_so_and_hangs_up(loop: Loop, journal: Journal) -> None:
    def broken() -> CertificateOptions:
        raise ZeroDivisionError("a mistake in the certificates")

    port = SMTPPort(loop, tls=broken, implicit=True)
    client = Client(loop, port.factory)
    assert client.read_raw() == b"" and client.lost
    assert port.is_clean and loop.idle
    assert [failure.type for failure in journal.failures] == [ZeroDivisionError]
    journal.events.clear()


# ------------------------------------------------------------ the flow of octets


@VERSIONS
def test_a_peer_that_does_not_read_under_tls(
    version: ssl.TLSVersion, loop: Loop, tls: TLS, context: ssl.SSLContext
) -> None:
    """It is given nothing more to do, gets all its replies in the end, and is cut off if it never reads."""
    port = SMTPPort(loop, tls=tls, implicit=True)
    context.maximum_version = version
    client = Client(loop, port.factory)
    client.shake_hands(context)
    connection = only(port)
    sent = 0
    while not connection._blocked:
        client.send(b"HELP\r\n" * 100)
        sent += 100
        assert sent < 100_000, "the server reads on while its replies are not read"
    said = client.read()
    assert said.count(b"\r\n214 ") == sent
    assert client.ask(b"NOOP\r\n").endswith(b"250 2.0.0 Ok\r\n")
    while not connection._blocked:
        client.send(b"HELP\r\n" * 100)
    loop.wait(port.options.command_timeout)
    assert port.is_clean and loop.idle


def test_a_large_message_under_tls_comes_as_it_is_read(loop: Loop, tls: TLS, context: ssl.SSLContext) -> None:
    port = POP3Port(loop, tls=tls, implicit=True)
    port.authenticator.maildrop = FakeMaildrop([LARGE] * 30)
    client = Client(loop, port.factory)
    client.shake_hands(context)
    client.ask(b"USER alice\r\nPASS secret\r\n")
    client.send(b"".join(b"RETR %d\r\n" % number for number in range(1, 31)))
    connection = only(port)
    assert connection._blocked
    transport: Any = connection.transport
    assert len(transport.dataBuffer) + transport._tempDataLen < 5 * len(LARGE)
    said = client.read()
    assert said == b"".join([b"+OK %d octets\r\n%s.\r\n" % (len(LARGE), LARGE)] * 30)


def test_nothing_goes_in_the_clear_after_the_handshake(loop: Loop, tls: TLS, context: ssl.SSLContext) -> None:
    port = SMTPPort(loop, settings={"starttls": True}, tls=tls)
    client = to_handshake(SMTP, port, loop, implicit=False)
    client.shake_hands(context)
    client.send(b"EHLO c.example\r\nNOOP\r\n")
    raw = client.read_raw()
    assert b"250" not in raw and b"example" not in raw
    assert raw[:3] == b"\x17\x03\x03", "application data"
    assert client._decrypted(raw).endswith(b"250 2.0.0 Ok\r\n")


def test_a_client_that_ends_tls_while_its_message_is_kept(
    loop: Loop, tls: TLS, context: ssl.SSLContext, journal: Journal
) -> None:
    """The message stays; the reply cannot be sent, as nothing is written after a close_notify."""
    port = SMTPPort(loop, tls=tls, implicit=True)
    client = Client(loop, port.factory)
    client.shake_hands(context)
    client.ask(BEGIN + b"Subject: x\r\n\r\n.\r\n")
    client.close_tls()
    assert port.spool.messages[0].state == "committing"
    port.spool.messages[0].commits.callback(None)
    loop.turn()
    client.close()
    assert port.is_clean and loop.idle


def test_a_client_that_sends_no_more_without_tls_is_answered(loop: Loop) -> None:
    port = SMTPPort(loop)
    client = Client(loop, port.factory)
    client.send(BEGIN + b"Subject: x\r\n\r\n.\r\n")
    client.end_input()
    client.read()
    assert not client.lost
    port.spool.messages[0].commits.callback(None)
    loop.turn()
    assert client.read().startswith(b"250 2.0.0 Ok: queued as ") and client.lost
    assert port.is_clean and loop.idle


@IMPLICIT
def test_quit_under_tls_ends_with_a_close_notify_and_then_the_connection(
    implicit: bool, loop: Loop, tls: TLS, context: ssl.SSLContext
) -> None:
    """A client that never answers the close_notify does not keep its place for ever."""
    port = SMTP.open(loop, tls, implicit)
    client = to_handshake(SMTP, port, loop, implicit)
    client.shake_hands(context)
    assert client.ask(b"QUIT\r\n").startswith(b"221 ")
    loop.wait(port.options.command_timeout)  # type: ignore[attr-defined]
    assert port.is_clean and loop.idle
