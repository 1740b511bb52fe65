"""Mail from a fake internet: what the server makes of each situation, in the header, the reply and the log.

The clients name their addresses with XCLIENT. A parser that nobody here has written reads the results.
"""

import re
import smtplib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import attrs
import authres
import pytest

from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.server import Makes, Server, configuration, wait_until
from tests.support.senders.internet import internet
from tests.support.senders.situations import SITUATIONS, SPF_FAILS, Situation

TABLES = """
[smtp]
xclient_networks = ["127.0.0.1"]
[policy]
trusted_forwarders = ["lists.example"]
deadline = "2s"
"""
USUAL = "accepted (policy)"
SAID = {  # by the log, of what is accepted with dmarc = "enforce"
    "quarantine": "kept aside (policy.dmarc)",
    "policy in a test": "kept aside (policy.dmarc)",
    "trusted seal": "accepted (policy.trusted_forwarders)",
}
_CODES = re.compile(r"(\d{3})[ -](\d\.\d+\.\d+)")
_CHECKED = re.compile(r"\] (\S+): sender checks: (.*)")


@attrs.frozen
class Outcome:
    """The reply, the stored message from Authentication-Results on, and the line of the log."""

    id: str
    reply: str
    stored: bytes
    log: str

    @property
    def code(self) -> str:
        found = _CODES.match(self.reply)
        assert found is not None
        return "250" if found[1] == "250" else f"{found[1]} {found[2]}"

    @property
    def field(self) -> str:
        """Authentication-Results, unfolded."""
        first = re.split(rb"\r\n(?![ \t])", self.stored, maxsplit=1)[0]
        return b" ".join(line.strip() for line in first.split(b"\r\n")).decode()


def send(server: Server, one: Situation) -> str:
    with smtplib.SMTP(*server.smtp, timeout=60) as client:
        address = f"IPV6:{one.ip}" if ":" in one.ip else one.ip
        assert client.docmd("XCLIENT", f"ADDR={address}")[0] == 220
        client.ehlo(one.helo)
        steps = (
            lambda: client.mail(one.sender),
            lambda: client.rcpt(one.to),
            lambda: client.data(one.message),
        )
        for step in steps:
            code, text = step()
            if code != 250:
                break
        return f"{code} {text.decode()}"


@contextmanager
def sent(make_server: Makes, policy: str = "") -> Iterator[tuple[Server, Mapping[str, Outcome]]]:
    """The server after all situations, and their outcomes."""
    with internet() as zone:
        dns = f'[dns]\nservers = ["{zone.address}"]\n'
        server = make_server(configuration(tables=f"{TABLES}{policy}\n{dns}")).start()
        replies = [send(server, one) for one in SITUATIONS]
        lines = wait_until(
            lambda: len(found := _CHECKED.findall(server.log)) == len(SITUATIONS) and found, "the log"
        )
        stored = [path.read_bytes() for path in (server.data / "mail").glob("example.org/*/new/*")]
        outcomes = {}
        for one, reply, (id_, line) in zip(SITUATIONS, replies, lines, strict=True):
            octets = next((each for each in stored if f" id {id_}".encode() in each), b"")
            outcomes[one.name] = Outcome(id_, reply, octets[octets.find(b"Authentication-") :], line)
        yield server, outcomes


def problems(one: Situation, outcome: Outcome, code: str, said: str = "accepted (policy") -> Iterator[str]:
    """What is not as it should be. ``said`` is in the log if the message is accepted."""
    if outcome.code != code:
        yield f"the reply is {outcome.reply}"
    elif code == "250":
        yield from problems_of_header(one, outcome)
        if said not in outcome.log:
            yield outcome.log
    else:
        verdict = "deferred" if code.startswith("4") else "rejected"
        rule = "spf" if code == SPF_FAILS else "dmarc"
        if not outcome.log.endswith(f"{verdict} (policy.{rule})") or outcome.stored:
            yield outcome.log


def problems_of_header(one: Situation, outcome: Outcome) -> Iterator[str]:
    found: dict[str, list[str]] = {"spf": [], "dkim": [], "dmarc": []}
    for result in authres.AuthenticationResultsHeader.parse(outcome.field).results:
        found.setdefault(result.method, []).append(result.result)
    if " ".join(map(",".join, found.values())) != one.results or one.has not in outcome.field:
        yield outcome.field
    if len(re.findall(rb"(?im)^authentication-results: *mail.example.org", outcome.stored)) != 1:
        yield "forged results"
    if not outcome.stored.endswith(b"\r\n\r\n" + one.message.partition(b"\r\n\r\n")[2]):
        yield "another body"


@pytest.mark.slow
def test_marked(make_server: Makes) -> None:
    with sent(make_server) as (_, outcomes):
        wrong = {one.name: [*problems(one, outcomes[one.name], "250")] for one in SITUATIONS}
    assert not {name: found for name, found in wrong.items() if found}


@pytest.mark.slow
def test_enforced(make_server: Makes) -> None:
    with sent(make_server, 'dmarc = "enforce"') as (server, outcomes):
        wrong = {
            one.name: [
                *problems(one, outcomes[one.name], one.enforced, SAID.get(one.name, "accepted (policy)"))
            ]
            for one in SITUATIONS
        }
        spoofed = outcomes["own envelope"]
        status, lines, _ = mailserver(server, "trace", spoofed.id)
    assert not {name: found for name, found in wrong.items() if found}
    assert (status, lines[0]) == (0, spoofed.id)
    assert lines[1].endswith(
        "sender checks: SPF pass evil.example (ip4:203.0.113.66); DKIM none; DMARC fail good.example, "
        "policy reject: rejected (policy.dmarc)"
    )


@pytest.mark.slow
def test_refused(make_server: Makes) -> None:
    with sent(make_server, 'spf = "refuse"') as (_, outcomes):
        wrong = {one.name: [*problems(one, outcomes[one.name], one.refused)] for one in SITUATIONS}
    assert not {name: found for name, found in wrong.items() if found}
    assert outcomes["explained"].reply.splitlines() == [
        "550 5.7.23 SPF check failed: explained.example does not permit 192.0.2.1 to send its mail",
        "5.7.23 The domain explained.example explains:",
        "5.7.23 192.0.2.1 is not one of our mail servers; see https://explained.example/explained.example",
    ]


def test_another_configuration(make_server: Makes) -> None:
    """A reload puts the keys in force. The client comes through a proxy."""
    spoofed = next(one for one in SITUATIONS if one.name == "own envelope")

    def text(policy: str) -> str:
        listener = '[[listen]]\nprotocol = "smtp"\nendpoint = "tcp:0:interface=127.0.0.1"\n'
        dns = f'proxies = ["127.0.0.1"]\n[dns]\nservers = ["{zone.address}"]\n'
        return configuration(listen=(), tables=f"{listener}{dns}[policy]\n{policy}")

    def reply() -> bytes:
        connection = socket.create_connection(server.smtp)
        connection.sendall(f"PROXY TCP4 {spoofed.ip} 192.0.2.25 40000 25\r\n".encode())
        with Smtp(connection) as session:
            assert session.reply().startswith(b"220")
            session.expect(b"EHLO evil.example", b"250")
            session.expect(b"MAIL FROM:<x@evil.example>", b"250")
            session.expect(b"RCPT TO:<alice@example.org>", b"250")
            session.expect(b"DATA", b"354")
            return session.ask(spoofed.message + b".")

    with internet() as zone:
        server = make_server(text("")).start()
        assert reply().startswith(b"250")
        server.configure(text('dmarc = "enforce"'))
        assert mailserver(server, "reload")[0] == 0
        assert reply().startswith(b"550 5.7.26")
        asked = len(zone.asked)
        server.configure(text('spf = "off"\ndkim = "off"\ndmarc = "off"'))
        assert mailserver(server, "reload")[0] == 0
        assert reply().startswith(b"250")
        assert len(zone.asked) == asked
    stored = [path.read_bytes() for path in (server.data / "mail").glob("example.org/alice/new/*")]
    assert sorted(b"Authentication-Results: mail.example.org;" in each for each in stored) == [False, True]
