"""Alerts of a real server: a mail to the postmaster, a POST to a webhook, held mail."""

import json
import poplib
import queue
import smtplib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mailserver.app.alerts import Alert, alert_of
from mailserver.events.base import Event
from mailserver.events.connections import CommandRejected, LoginRejected
from tests.support.e2e.server import PASSWORD, Makes, Server, configuration, wait_until

TOP = 'allow_root = true\npostmaster = "carol@example.org"'
Posted = queue.Queue[dict[str, object]]


@pytest.fixture
def webhook() -> Iterator[tuple[str, Posted]]:
    posted: Posted = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Nothing is printed."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook?token=sesame", posted
        server.shutdown()
        thread.join()


def mails(server: Server, name: str) -> list[bytes]:
    pop3 = poplib.POP3(*server.address("pop3"))
    pop3.user(name)
    pop3.pass_(PASSWORD)
    found = [b"\n".join(pop3.retr(number + 1)[1]) for number in range(pop3.stat()[0])]
    pop3.quit()
    return found


def test_a_stolen_password(make_server: Makes, webhook: tuple[str, Posted]) -> None:
    url, posted = webhook
    tables = f"""
        [smtp]
        plaintext_auth = true
        [limits]
        recipients_per_account = "2/1h"
        [relay]
        routes = {{ "far.example" = "127.0.0.1:1" }}
        [alerts]
        webhook = "{url}"
        hold = true
    """
    server = make_server(
        configuration(tables=tables, top='allow_root = true\npostmaster = "carol@example.org"')
    )
    server.start()
    with smtplib.SMTP(*server.address("smtp")) as smtp:
        smtp.login("alice@example.org", PASSWORD)
        for number in range(5):
            try:
                smtp.sendmail("alice@example.org", [f"{number}@far.example"], "Subject: spam\r\n\r\n")
            except smtplib.SMTPRecipientsRefused:
                assert number >= 2
    alert = posted.get(timeout=20)
    assert (alert["kind"], alert["subject"]) == (
        "account-limit",
        "alice@example.org exceeds its sending limit",
    )
    wait_until(lambda: mails(server, "carol"), "the mail")
    [mail] = mails(server, "carol")
    assert b"Subject: alice@example.org exceeds its sending limit" in mail and b"Auto-Submitted" in mail
    wait_until(lambda: "held the mail of alice@example.org in the queue" in server.log, "the hold")
    assert posted.empty()  # once for all three
    assert "sesame" not in server.log


def test_password_guessing(make_server: Makes, webhook: tuple[str, Posted]) -> None:
    url, posted = webhook
    limits = '[limits]\nauth_block_after = 3\nauth_failure_delay = "0s"\nexempt = []'
    server = make_server(configuration(tables=f'{limits}\n[alerts]\nmail = false\nwebhook = "{url}"'))
    server.start()
    for _ in range(6):
        pop3 = poplib.POP3(*server.address("pop3"))
        pop3.user("alice")
        with pytest.raises(poplib.error_proto):
            pop3.pass_("guess")
        pop3.close()
    alert = posted.get(timeout=20)
    assert alert["kind"] == "password-guessing" and "alice@example.org" in str(alert["subject"])


def test_a_webhook_that_fails(make_server: Makes) -> None:
    """The error is logged without the URL, and the mail is sent all the same."""
    tables = """
        [smtp]
        plaintext_auth = true
        [limits]
        messages_per_account = "1/1h"
        [alerts]
        webhook = "http://127.0.0.1:1/sesame"
    """
    server = make_server(
        configuration(tables=tables, top='allow_root = true\npostmaster = "carol@example.org"')
    )
    server.start()
    with smtplib.SMTP(*server.address("smtp")) as smtp:
        smtp.login("alice@example.org", PASSWORD)
        smtp.sendmail("alice@example.org", ["bob@example.org"], "Subject: x\r\n\r\n")
        with pytest.raises(smtplib.SMTPException):
            smtp.sendmail("alice@example.org", ["bob@example.org"], "Subject: x\r\n\r\n")
    wait_until(lambda: "alert account-limit not sent: ConnectionRefusedError" in server.log, "the event")
    wait_until(lambda: mails(server, "carol"), "the mail")
    assert "sesame" not in server.log


REJECTED = {"client": "192.0.2.1", "session": "s", "what": "x", "reason": "too many"}
LOGIN = {"client": "192.0.2.1", "session": "s", "protocol": "smtp", "mechanism": "PLAIN", "reason": "wrong"}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (CommandRejected(account="a@b", rule="limits.messages_per_account", **REJECTED), "account-limit"),
        (CommandRejected(account="a@b", rule="limits.recipients_per_account", **REJECTED), "account-limit"),
        (CommandRejected(account="", rule="limits.messages_per_account", **REJECTED), None),
        (CommandRejected(account="a@b", rule="limits.messages_per_address", **REJECTED), None),
        (LoginRejected(user="a@b", rule="limits.auth_block", **LOGIN), "password-guessing"),
        (LoginRejected(user="a@b", rule="accounts", **LOGIN), None),
        (None, None),
    ],
)
def test_which_events_raise_alerts(event: Event | None, kind: str | None) -> None:
    found = alert_of(event)
    assert (found.kind if isinstance(found, Alert) else None) == kind
