"""A TLS handshake that is cut: the client sees a reset, and the server knows that the session is over."""

import smtplib
import socket

import pytest

from mailserver.testing.server import MailServer


def test_the_session_ends() -> None:
    with MailServer() as server:
        server.smtp.on("tls").cut()
        client = smtplib.SMTP(server.smtp.host, server.smtp.port, timeout=5)
        with client, pytest.raises(OSError, match="reset"):
            client.starttls(context=server.ssl_context())
        assert server.wait_for_session(protocol="smtp").closed


def test_a_client_that_leaves_within_its_own_part() -> None:
    """There is nobody to send the part of an answer to."""
    with MailServer(tls="cut") as server:
        with socket.create_connection((server.smtps.host, server.smtps.port)) as client:
            client.sendall(b"\x16\x03\x01")
            server.wait_for_session(closed=False)
        assert server.wait_for_session().closed


def test_a_client_that_stays_within_its_own_part() -> None:
    with MailServer(tls="cut") as server:
        client = socket.create_connection((server.smtps.host, server.smtps.port))
        client.sendall(b"\x16\x03\x01")
        server.wait_for_session(closed=False)
    with client:
        assert server.sessions[0].closed
