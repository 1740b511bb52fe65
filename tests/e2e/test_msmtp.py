"""msmtp as the sender."""

from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, UNENDED, original, unix
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.programs import need, run


def msmtp(home: Path, mailbox: Mailbox, octets: bytes, *to: str, status: int = 0) -> str:
    """Run it on a message with LF line ends; what it says."""
    host, port = mailbox.server.smtp
    options = [f"--host={host}", f"--port={port}", f"--from={SENDER}", "--tls=off", "--auth=off"]
    recipients = to or (mailbox.address,)
    done = run(home, need("msmtp"), *options, "--", *recipients, input=unix(octets), status=status)
    return done.stderr.decode(errors="replace")


@pytest.mark.parametrize("name", MESSAGES)
def test_octets(tmp_path: Path, mailbox: Mailbox, name: str) -> None:
    msmtp(tmp_path, mailbox, MESSAGES[name])
    assert [original(stored) for stored in mailbox.messages()] == [MESSAGES[name]]


def test_last_line_without_an_end_gets_one(tmp_path: Path, mailbox: Mailbox) -> None:
    msmtp(tmp_path, mailbox, UNENDED)
    assert [original(stored) for stored in mailbox.messages()] == [UNENDED + b"\r\n"]


def test_unknown_recipient(tmp_path: Path, mailbox: Mailbox) -> None:
    """msmtp gives a message up if one recipient is refused, with EX_DATAERR of sysexits.h."""
    said = msmtp(tmp_path, mailbox, MESSAGES["plain"], mailbox.address, "nobody@example.org", status=65)
    assert "550 5.1.1" in said
    assert mailbox.messages() == []


def test_server_information(tmp_path: Path, mailbox: Mailbox) -> None:
    host, port = mailbox.server.smtp
    command = [need("msmtp"), "--serverinfo", f"--host={host}", f"--port={port}", "--tls=off"]
    said = run(tmp_path, *command).stdout
    for word in (b"SIZE", b"52428800", b"PIPELINING"):
        assert word in said
