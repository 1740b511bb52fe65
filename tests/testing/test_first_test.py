"""The first test that README shows, as it stands."""

import smtplib
from urllib.parse import urlsplit

import pytest


def send_reset(url: str) -> None:
    """A program under test."""
    where = urlsplit(url)
    with smtplib.SMTP(where.hostname or "", where.port or 0) as smtp:
        smtp.sendmail(
            "shop@example.test",
            ["bob@example.test"],
            "Subject: Reset your password\r\n\r\nGo to https://shop.example.test/reset/abc123 now.\r\n",
        )


def test_client_survives_a_busy_server(mailserver):
    mailserver.smtp.on("RCPT").reply(451, "4.2.1", "busy").times(1)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send_reset(mailserver.smtp_url)
    send_reset(mailserver.smtp_url)
    mail = mailserver.wait_for(to="bob@example.test", subject="Reset")
    assert mail.link("/reset/") and mail.session.transcript.count("RCPT") == 1
