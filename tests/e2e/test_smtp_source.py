"""Postfix's load generator as the sender: many messages over several sessions at once."""

from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, original, unix
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.programs import need, run


def smtp_source(home: Path, mailbox: Mailbox, *options: str | Path) -> bytes:
    host, port = mailbox.server.smtp
    command = [need("smtp-source"), "-M", "client.example", "-f", SENDER, "-t", mailbox.address]
    return run(home, *command, *options, f"inet:{host}:{port}").stdout


@pytest.mark.parametrize("once", [(), ("-d",)], ids=["one-message-a-session", "many-messages-a-session"])
def test_many_messages(tmp_path: Path, mailbox: Mailbox, once: tuple[str, ...]) -> None:
    counted = smtp_source(tmp_path, mailbox, "-c", "-m", "50", "-s", "5", "-l", "5000", *once)
    assert counted.replace(b"\r", b"\n").split()[-1] == b"50"
    stored = [original(octets) for octets in mailbox.messages()]
    assert len(stored) == 50
    assert all(b"XXXXXXXX" in octets for octets in stored)
    assert len({len(octets) for octets in stored}) <= 2  # the counter in the Message-ID


@pytest.mark.parametrize("name", MESSAGES)
def test_octets(tmp_path: Path, mailbox: Mailbox, name: str) -> None:
    """``-F`` ends what is in the file with an empty line."""
    file = tmp_path / "message"
    file.write_bytes(unix(MESSAGES[name]))
    smtp_source(tmp_path, mailbox, "-m", "4", "-s", "2", "-F", file)
    assert [original(stored) for stored in mailbox.messages()] == [MESSAGES[name] + b"\r\n"] * 4
