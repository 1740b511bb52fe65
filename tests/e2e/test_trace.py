"""``mailserver trace``: in a running server, after its end, and for mail submitted without a server."""

import json
import re
import smtplib

from tests.support.e2e.commands import begin, end, mailserver
from tests.support.e2e.server import Makes, configuration

TABLES = """
[storage]
quota = "1 KiB"
[[account]]
address = "bob"
password = "bob's secret"
quota = 1
[[list]]
address = "club"
members = ["alice", "bob"]
"""
TIME = r"    20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ "


def test_trace(make_server: Makes) -> None:
    server = make_server(configuration(accounts=["alice"], tables=TABLES)).start()
    assert mailserver(server, "trace", "x") == (1, [], ["mailserver: no event of x is in the journal"])
    with smtplib.SMTP(*server.smtp, timeout=20) as client:
        client.ehlo()
        client.mail("ann@example.org")
        client.rcpt("club@example.org")
        id_ = client.data(b"Subject: x\r\n\r\n")[1].split()[-1].decode()

    def check(what: str) -> None:
        status, lines, errors = mailserver(server, "trace", what)
        assert (status, lines[0], errors) == (0, id_, [])
        client = r"\(client 127.0.0.1, 14 octets\)"
        patterns = [
            f"{TIME}waiting: <ann@example.org> to <bob@example.org>: the mailbox is full .*",
            f"{TIME}accepted: <ann@example.org> to <club@example.org> {client}",
            "    waiting: bob@example.org: the mailbox is full; 1 attempt, next 20.*",
        ]
        assert len(lines) == 4
        for pattern, line in zip(patterns, lines[1:], strict=True):
            assert re.fullmatch(pattern, line)

    check(id_)
    check("Club@example.org")
    check("ann@example.org")
    status, lines, _ = mailserver(server, "trace", "--json", id_)
    first, second = map(json.loads, lines)
    assert status == 0 and second["event"].startswith(f"{id_}: accepted: ")
    assert (first["namespace"], second["recipients"]) == ("mailserver.MessageWaiting", ["club@example.org"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["time"])
    server.stop()
    check(id_)
    # without a server
    assert end(begin(server, "sendmail", "alice"), "Subject: y\n\n")[0] == 0
    status, lines, _ = mailserver(server, "trace", "alice@example.org")
    assert status == 0 and "accepted: " in lines[1] and len(lines) == 2
    status, _, [line] = mailserver(server, "trace", "--last", "0", "x")
    assert status == 2 and "--help" in line


def test_trace_is_off(make_server: Makes) -> None:
    server = make_server(configuration(tables="[log]\ntrace_days = 0")).start()
    with smtplib.SMTP(*server.smtp, timeout=20) as client:
        client.sendmail("ann@example.org", ["bob@example.org"], b"Subject: x\r\n\r\n")
    server.stop()
    assert not (server.data / "trace").exists()
