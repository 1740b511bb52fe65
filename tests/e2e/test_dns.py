"""The whole server asks the DNS servers that its configuration names, before it sends mail anywhere."""

import smtplib

from tests.support.dns_zone import DnsZone
from tests.support.e2e.server import Makes, configuration, wait_until

RECORDS = (
    "null.example MX 0 .",
    "loop.example MX 10 mail.example.org",
    "inside.example MX 10 host.inside.example",
    "host.inside.example A 10.0.0.1",
)
REASONS = {
    "null.example": "does not accept mail (null MX)",
    "loop.example": "the best mail exchanger of loop.example is this server",
    "inside.example": "have no public address, only 10.0.0.1",
    "missing.example": "the domain missing.example does not exist",
    "broken.example": "answered SERVFAIL",
}


def test_what_dns_says_decides(make_server: Makes) -> None:
    with DnsZone(*RECORDS) as zone:
        zone.faults["broken.example"] = "servfail"
        tables = f'[relay]\nnetworks = ["127.0.0.0/8"]\n[dns]\nservers = ["{zone.address}"]\n'
        server = make_server(configuration(tables=tables)).start()
        with smtplib.SMTP(*server.smtp) as client:
            for domain in REASONS:
                client.sendmail("alice@example.org", f"someone@{domain}", "Subject: away\r\n\r\nHello\r\n")
        for reason in REASONS.values():
            wait_until(lambda reason=reason: reason in server.log, reason)  # type: ignore[misc]
        assert {name for name, _, _ in zone.asked} == {*REASONS, "mail.example.org", "host.inside.example"}
        server.stop()
