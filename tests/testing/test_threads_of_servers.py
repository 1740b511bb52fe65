"""All servers of a process share one thread."""

import smtplib
import threading

import pytest

from mailserver.testing.server import MailServer


@pytest.mark.parametrize("accept", ["any", "relay"])
def test_a_server_starts_no_thread_of_its_own(accept: str) -> None:
    with MailServer(), MailServer(accept=accept) as server:
        threads = set(threading.enumerate())
        with smtplib.SMTP(server.smtp.host, server.smtp.port) as client:
            client.sendmail("alice@example.test", ["bob@example.test"], "Subject: x\r\n\r\n")
        assert server.wait_for(to="bob@example.test")
        assert set(threading.enumerate()) == threads
    assert set(threading.enumerate()) <= threads
