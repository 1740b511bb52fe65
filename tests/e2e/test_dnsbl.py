"""Lists of client addresses, in a zone on loopback; the clients have public addresses by XCLIENT."""

import signal
import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mailserver.policy.reputation.lookup import MAX_TIME
from tests.support.dns_zone import DnsZone
from tests.support.e2e.commands import begin, end
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import PASSWORD, Makes, Server, configuration, wait_until

TABLES = """
[smtp]
xclient_networks = ["127.0.0.1"]
plaintext_auth = true
[policy]
exempt = ["198.51.100.0/24"]
score_threshold = 5
reverse_dns_weight = 1
[[dnsbl]]
zone = "strict.example"
[[dnsbl]]
zone = "later.example"
action = "defer"
[[dnsbl]]
zone = "points.example"
action = "mark"
weight = 3
[[dnsbl]]
zone = "points.example"
action = "mark"
weight = 2
codes = ["127.0.0.20"]
[[dnsbl]]
zone = "good.example"
action = "accept"
[dns]
servers = ["%s"]
"""
RECORDS = (
    *(f"{number}.2.0.192.in-addr.arpa PTR host.sender.example" for number in range(1, 8)),
    *(f"host.sender.example A 192.0.2.{number}" for number in range(1, 8)),
    "1.2.0.192.strict.example A 127.0.0.2",
    '1.2.0.192.strict.example TXT "see https://strict.example/192.0.2.1"',
    "2.2.0.192.later.example A 127.0.0.4",
    "3.2.0.192.points.example A 127.0.0.2",
    "4.2.0.192.points.example A 127.0.0.2",
    "4.2.0.192.points.example A 127.0.0.20",
    "5.2.0.192.strict.example A 127.255.255.254",
    "6.2.0.192.later.example A 203.0.113.80",
    "7.2.0.192.strict.example A 127.0.0.2",
    "7.2.0.192.good.example A 127.0.0.2",
    "7.100.51.198.strict.example A 127.0.0.2",
    f"1.{'0.' * 23}8.b.d.0.1.0.0.2.strict.example A 127.0.0.2",
)
REFUSED = (
    550,
    b"5.7.1 client host [192.0.2.1] is listed in strict.example; see https://strict.example/192.0.2.1",
)
OK = (250, b"2.1.5 Ok")
REPLIES: dict[str, Any] = {
    "192.0.2.1": REFUSED,
    "192.0.2.2": (451, b"4.7.1 client host [192.0.2.2] is listed in later.example"),
    "192.0.2.3": OK,
    "192.0.2.4": (
        550,
        b"5.7.1 client host [192.0.2.4] has a bad reputation: score 5 (points.example)",
    ),
    "192.0.2.5": OK,
    "192.0.2.6": OK,
    "192.0.2.7": OK,
    "192.0.2.8": OK,
    "192.0.2.9": OK,
    "198.51.100.7": OK,
    "IPV6:2001:db8::1": (550, b"5.7.1 client host [2001:db8::1] is listed in strict.example"),
}
RULES = {"192.0.2.2": "dnsbl[2]", "192.0.2.4": "policy.score_threshold"}
ANSWERS = {  # that explain shows
    "192.0.2.4": ("4.2.0.192.points.example A: 127.0.0.2",),
    "192.0.2.5": ("5.2.0.192.strict.example A: 127.255.255.254",),
    "192.0.2.6": ("6.2.0.192.later.example A: 203.0.113.80",),
    "192.0.2.9": ("9.2.0.192.strict.example A: no answer: ",),
    "192.0.2.7": ("7.2.0.192.strict.example A: 127.0.0.2", "7.2.0.192.good.example A: 127.0.0.2"),
}


@pytest.fixture
def zone() -> Iterator[DnsZone]:
    with DnsZone(*RECORDS) as zone:
        zone.faults["9.2.0.192.strict.example"] = "servfail"
        yield zone


@pytest.fixture
def server(make_server: Makes, zone: DnsZone) -> Server:
    return make_server(configuration(tables=TABLES % zone.address)).start()


def connected(server: Server, ip: str) -> smtplib.SMTP:
    """A session of a client at this address."""
    client = smtplib.SMTP(*server.smtp)
    client.ehlo("proxy.example")
    assert client.docmd(f"XCLIENT ADDR={ip}")[0] == 220
    client.ehlo("client.example")
    return client


def attempt(server: Server, ip: str, recipient: str = "alice@example.org") -> tuple[int, bytes]:
    """The reply to RCPT; a message is sent if it is accepted."""
    with connected(server, ip) as client:
        assert client.mail("someone@sender.example")[0] == 250
        reply = client.rcpt(recipient)
        if reply[0] == 250:
            assert client.data(f"Subject: from {ip}\r\n\r\nHello\r\n")[0] == 250
    return reply


def test_what_lists_decide(server: Server, zone: DnsZone) -> None:
    assert {ip: attempt(server, ip) for ip in REPLIES} == REPLIES
    assert attempt(server, "192.0.2.1", "postmaster@example.org") == OK
    marks = {
        message.split(b"Subject: from ")[1].split(b"\r\n")[0].decode(): [
            line.decode() for line in message.splitlines() if line.startswith(b"X-DNSBL")
        ]
        for message in Mailbox(server, "alice").messages()
    }
    expected = {ip: [] for ip, reply in REPLIES.items() if reply == OK}
    expected |= {
        "192.0.2.1": ["X-DNSBL: strict.example 127.0.0.2"],  # to the postmaster
        "192.0.2.3": ["X-DNSBL: points.example 127.0.0.2"],
        "192.0.2.7": ["X-DNSBL: strict.example 127.0.0.2"],
    }
    assert marks == expected
    results = {
        message.split(b"Subject: from ")[1].split(b"\r\n")[0].decode(): " ".join(message.decode().split())
        for message in Mailbox(server, "alice").messages()
    }
    praise = "iprev=pass policy.iprev=192.0.2.7 (host.sender.example); dnswl=pass dns.zone=good.example "
    assert f"{praise}policy.ip=127.0.0.2 " in results["192.0.2.7"]
    assert "iprev=permerror policy.iprev=192.0.2.8 " in results["192.0.2.8"]
    assert "iprev" not in results["198.51.100.7"]
    for text in (
        "DNSBL strict.example refused the query or is dead: it answered 127.255.255.254 (dnsbl[1])",
        "DNSBL later.example refused the query or is dead: it answered 203.0.113.80 (dnsbl[2])",
        "client 192.0.2.4 is listed in points.example (score 5)",
        "no answer from DNSBL strict.example: ",
    ):
        assert text in server.log
    assert not any(name.startswith("7.100.51.198") for name, _, _ in zone.asked)


def explained(server: Server, ip: str) -> tuple[int, str, str]:
    """The exit status of ``explain``, its last line and all of them."""
    words = ["--from", "someone@sender.example", "--to", "alice@example.org", "--helo", "client.example"]
    status, lines, errors = end(begin(server, "explain", *words, "--ip", ip.removeprefix("IPV6:")))
    assert errors == []
    return status, lines[-1], "\n".join(lines)


@pytest.mark.slow
def test_explain_agrees(make_server: Makes, zone: DnsZone) -> None:
    server = make_server(configuration(tables=TABLES % zone.address))
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(REPLIES, pool.map(lambda ip: explained(server, ip), REPLIES), strict=True))
    for ip, (code, text) in REPLIES.items():
        status, last, lines = found[ip]
        word = "deferred" if code == 451 else "rejected"
        rejection = f"the message would be {word}: {code} {text.decode()} ({RULES.get(ip, 'dnsbl[1]')})"
        expected = (0, "the message would be accepted") if code == 250 else (1, rejection)
        assert (status, last) == expected, lines
        assert all(f"    DNS {answer}" in lines for answer in ANSWERS.get(ip, ())), lines


def test_who_has_logged_in_is_not_listed(server: Server, zone: DnsZone) -> None:
    with connected(server, "192.0.2.1") as client:
        client.login("alice@example.org", PASSWORD)
        client.sendmail("alice@example.org", "bob@example.org", "Subject: hello\r\n\r\nHello\r\n")
    assert len(Mailbox(server, "bob").messages()) == 1
    assert zone.asked == []


def test_a_reload_changes_the_lists(server: Server) -> None:
    assert attempt(server, "192.0.2.1") == REFUSED
    server.configure(server.config.read_text().replace("strict.example", "other.example"))
    server.signal(signal.SIGHUP)
    wait_until(lambda: "configuration reloaded" in server.log, "the reload")
    assert attempt(server, "192.0.2.1") == OK


@pytest.mark.slow
def test_dead_dns_lets_mail_in_on_time(server: Server, zone: DnsZone) -> None:
    """All zones are silent; the mail waits for the deadline once, and not for each zone."""
    names = ("strict", "later", "points", "good")
    zone.faults |= {f"1.2.0.192.{name}.example": "silence" for name in names}
    with connected(server, "192.0.2.1") as client:
        client.sock.settimeout(4 * MAX_TIME)  # type: ignore[union-attr]
        assert client.mail("someone@sender.example")[0] == 250
        assert client.rcpt("alice@example.org") == OK
    assert "no answer from DNSBL strict.example: no answer within 5 seconds (dnsbl[1])" in server.log
