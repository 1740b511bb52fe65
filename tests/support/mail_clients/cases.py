"""One client meets one fault: it runs, runs again as its user or cron would, and the outcome is judged."""

import email
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from mailserver.testing import MailServer
from tests.support.mail_clients.clients import ONWARD, ClientOutcome, MailClient, Place, run_client
from tests.support.mail_clients.faults import BAD, ClientFault
from tests.support.mail_clients.fetchers import kept
from tests.support.mail_clients.verdicts import Fetched, Sent, Verdict, judge_fetching, judge_sending

ADDRESS = "alice@example.test"
PASSWORD = "secret"
LINES = 400
"""Lines of a message, of 50 octets each."""
ADDED = re.compile(rb"\A(?:(?:Return-Path|Delivered-To|Received|X-[\w-]+):.*\n(?:[ \t].*\n)*)*")
SUBJECT = b"Subject: Number %d\n"
SETTLE_SECONDS = 1.0


@attrs.frozen
class CaseResult:
    """The verdict and the runs that led to it."""

    client: str
    fault: str
    verdict: Verdict
    runs: list[ClientOutcome]

    @property
    def words(self) -> str:
        """The cell of the table."""
        prefix = "HANGS: " if any(run.hung for run in self.runs) else ""
        prefix = prefix or ("CRASHES: " if any(run.crashed for run in self.runs) else "")
        return prefix + self.verdict.value


def message(number: int, dotted: bool = False) -> bytes:
    """A message with CRLF line ends that no other has."""
    line = b"%s%d of the message, and some more text to fill it" % (b"." if dotted else b"Line ", number)
    body = b"".join(b"%s %03d\r\n" % (line, count) for count in range(LINES))
    head = (
        b"From: Bob <bob@client.example>\r\nTo: Alice <alice@example.test>\r\nSubject: Number %d\r\n" % number
    )
    date = b"Date: Mon, 30 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%d@client.example>\r\n" % number
    return head + date + b"\r\n" + body


def text_of(octets: bytes) -> bytes:
    """A message without the fields that others add on top, with LF line ends and none at its end."""
    text = octets.replace(b"\r\n", b"\n").rstrip(b"\n")
    return ADDED.sub(b"", text)


def body_of(octets: bytes) -> list[bytes]:
    """The decoded lines of a message that its sender may have encoded."""
    decoded = email.message_from_bytes(octets).get_payload(decode=True)
    assert isinstance(decoded, bytes)
    return decoded.rstrip().splitlines()


@contextmanager
def stage(fault: ClientFault) -> Iterator[tuple[MailServer, Path]]:
    """A server with the fault, and an empty folder that every user can reach."""
    server = MailServer(**fault.settings).start()
    try:
        with tempfile.TemporaryDirectory(prefix="mail-client-") as name:
            home = Path(name)
            home.chmod(0o755)
            yield server, home
    finally:
        server.stop()


def follow(script: str, server: MailServer) -> None:
    """Do what a line of the table says."""
    exec(script, {"server": server, "ADDRESS": ADDRESS})


def aim(server: MailServer, client: MailClient) -> None:
    """Let the rules meet a client that fetches by another command, or deletes in another session."""
    for rule in server.instance.rules:
        if rule.moment == "RETR":
            rule.moment = client.retrieves_by
        if rule.moment in ("QUIT", "removed"):
            rule.session = client.removes_in


def settle(server: MailServer) -> None:
    """Wait until the server has seen the end of the sessions. One that hangs may never see it."""
    server.inbox.wait(lambda: all(session.closed for session in server.sessions) or None, SETTLE_SECONDS)


def seen(server: MailServer, fault: ClientFault) -> Verdict | None:
    """The verdict on a client that sent its password in the clear, or never met the fault."""
    for session in server.sessions if fault.tls else ():
        if not session.tls and (session.transcript.count("AUTH") or session.transcript.count("PASS")):
            return Verdict.CLEAR
    return Verdict.UNMET if server.never_fired() else None


def send(client: MailClient, fault: ClientFault) -> CaseResult:
    """Run a client that sends."""
    with stage(fault) as (server, home):
        address = server.smtp
        place = Place(address.host, address.port, fault.tls, server.ca_file, ADDRESS, PASSWORD, fault.login)
        file = home / "message"
        octets = message(1, fault.dotted)
        file.write_bytes(octets)
        recipients = [ADDRESS, BAD][: fault.recipients]
        follow(fault.script, server)
        aim(server, client)
        runs = [run_client(home, client.invoke(home, place, file, *recipients))]
        settle(server)
        follow(fault.between, server)
        if not runs[0].ok and fault.again:
            runs.append(run_client(home, client.invoke(home, place, file, *recipients)))
        settle(server)
        arrived = [body_of(one.raw) == body_of(octets) for one in server.mailboxes.get(ADDRESS, [])]
        sent = Sent((arrived.count(True),), arrived.count(False), fault.recipients - 1)
        verdict = seen(server, fault) or judge_sending(sent, runs)
        return CaseResult(client.name, fault.name, verdict, runs)


def fetch(client: MailClient, fault: ClientFault) -> CaseResult:
    """Run a client that fetches and deletes three messages."""
    with stage(fault) as (server, home):
        address = server.pop3s if fault.tls == "implicit" else server.pop3
        place = Place(
            address.host,
            address.port,
            fault.tls,
            server.ca_file,
            ADDRESS,
            PASSWORD,
            onward=server.smtp.port,
        )
        server.add_account(ADDRESS, PASSWORD)
        messages = [message(number, fault.dotted) for number in (1, 2, 3)]
        for octets in messages:
            server.deliver(octets, to=ADDRESS)
        follow(fault.script, server)
        aim(server, client)
        runs = [run_client(home, client.invoke(home, place))]
        first = hands(home, server)
        settle(server)
        follow(fault.between, server)
        runs.append(run_client(home, client.invoke(home, place)))
        last = hands(home, server)
        settle(server)
        left = {text_of(one.raw) for one in server.mailboxes.get(ADDRESS, [])}
        states = []
        for number, octets in enumerate(messages, 1):
            text = text_of(octets)
            pieces = sum(
                count for other, count in last.items() if other != text and SUBJECT % number in other
            )
            states.append(Fetched(last[text], pieces, text in left, first[text] > 0))
        verdict = seen(server, fault) or judge_fetching(states, runs)
        return CaseResult(client.name, fault.name, verdict, runs)


def hands(home: Path, server: MailServer) -> Counter[bytes]:
    """The texts in the client's hands or passed on by it, and how often it has each."""
    passed_on = [one.raw for one in server.mailboxes.get(ONWARD, [])]
    return Counter(text_of(octets) for octets in (*kept(home), *passed_on))
