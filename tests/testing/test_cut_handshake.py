"""A TLS handshake that is cut: the client sees a reset, and the server knows that the session is over."""

import smtplib

import pytest

from mailserver.testing.server import MailServer


def test_the_session_ends() -> None:
    with MailServer() as server:
        server.smtp.on("tls").cut()
        client = smtplib.SMTP(server.smtp.host, server.smtp.port, timeout=5)
        with client, pytest.raises(OSError, match="reset"):
            client.starttls(context=server.ssl_context())
        assert server.wait_for_session(protocol="smtp").closed
