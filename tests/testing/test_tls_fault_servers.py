"""Faults of TLS by name, on all ports: what clients of the standard library meet."""

import contextlib
import poplib
import smtplib
import ssl

import pytest

from mailserver.testing.server import MailServer
from mailserver.testing.tls_faults import TLS_FAULTS

CERTIFICATES = [name for name, fault in TLS_FAULTS.items() if fault.verify_code]
HANDSHAKES = ["old-protocol", "cut"]
TIMEOUT = 5.0


def trusting(server):
    context = server.ssl_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=2")
    return context


def closed(client):
    """Close a client of poplib. A handshake that failed has detached its socket."""
    client.file.close()
    with contextlib.suppress(OSError):
        client.sock.close()


def by_starttls(server):
    client = smtplib.SMTP(server.smtp.host, server.smtp.port, timeout=TIMEOUT)
    try:
        client.ehlo()
        client.starttls(context=trusting(server))
        return client.noop()
    finally:
        client.close()


def by_stls(server):
    client = poplib.POP3(server.pop3.host, server.pop3.port, timeout=TIMEOUT)
    try:
        client.stls(context=trusting(server))
        return client.capa()
    finally:
        closed(client)


def by_smtps(server):
    port = server.smtps
    with smtplib.SMTP_SSL(port.host, port.port, context=trusting(server), timeout=TIMEOUT) as client:
        return client.noop()


def by_pop3s(server):
    port = server.pop3s
    client = poplib.POP3_SSL(port.host, port.port, context=trusting(server), timeout=TIMEOUT)
    try:
        return client.capa()
    finally:
        closed(client)


WAYS = [by_starttls, by_stls, by_smtps, by_pop3s]


@pytest.mark.parametrize("way", WAYS)
def test_without_a_fault(way):
    with MailServer() as server:
        assert way(server)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_certificate(name, way):
    with MailServer(tls=name) as server, pytest.raises(ssl.SSLCertVerificationError) as caught:
        way(server)
    # the client asks for 127.0.0.1, which is an address and no name
    assert caught.value.verify_code == (64 if name == "wrong-host" else TLS_FAULTS[name].verify_code)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_handshake(name, way):
    with MailServer(tls=name) as server, pytest.raises((ssl.SSLError, ConnectionError)) as caught:
        way(server)
    assert not isinstance(caught.value, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("way", WAYS)
def test_a_stalled_handshake(way, monkeypatch):
    with MailServer(tls="stalled") as server, pytest.raises(TimeoutError):
        monkeypatch.setattr(f"{__name__}.TIMEOUT", 0.3)
        way(server)


@pytest.mark.parametrize(
    ("name", "error", "code"),
    [
        ("refused", smtplib.SMTPResponseException, 454),
        ("not-advertised", smtplib.SMTPNotSupportedError, 220),
        ("stripped", smtplib.SMTPNotSupportedError, 502),
    ],
)
def test_starttls(name, error, code):
    with MailServer(tls=name) as server:
        with pytest.raises(error):
            by_starttls(server)
        with smtplib.SMTP(server.smtp.host, server.smtp.port) as client:
            assert client.docmd("STARTTLS")[0] == code
            client.close()


@pytest.mark.parametrize(
    ("name", "reply"), [("refused", b"-ERR"), ("not-advertised", b"+OK"), ("stripped", b"-ERR")]
)
def test_stls(name, reply):
    with MailServer(tls=name) as server:
        client = poplib.POP3(server.pop3.host, server.pop3.port)
        try:
            assert ("STLS" in client.capa()) == (name == "refused")
            client._putcmd("STLS")  # type: ignore[attr-defined]
            assert client._getline()[0].startswith(reply)  # type: ignore[attr-defined]
        finally:
            closed(client)
