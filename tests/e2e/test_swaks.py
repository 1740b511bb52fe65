"""swaks as the sender."""

from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, original, unix
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.programs import need, run


def swaks(home: Path, mailbox: Mailbox, *options: str | Path, to: str = "", status: int = 0) -> str:
    """Run it; its transcript."""
    host, port = mailbox.server.smtp
    command = [need("swaks"), "--server", host, "--port", str(port), "--from", SENDER]
    done = run(home, *command, "--to", to or mailbox.address, *options, status=status)
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


@pytest.mark.parametrize("name", MESSAGES)
def test_octets(tmp_path: Path, mailbox: Mailbox, name: str) -> None:
    file = tmp_path / "message"
    # it replaces a dot on the last line by its own, which ends the message
    file.write_bytes(unix(MESSAGES[name]) + b".\n")
    swaks(tmp_path, mailbox, "--data", f"@{file}", "--output-file", tmp_path / "transcript")
    assert [original(stored) for stored in mailbox.messages()] == [MESSAGES[name]]


def test_its_own_message_with_an_attachment(tmp_path: Path, mailbox: Mailbox) -> None:
    file = tmp_path / "note.txt"
    file.write_bytes(b"attached\n")
    swaks(tmp_path, mailbox, "--body", "hello", "--attach", f"@{file}", "--header", "Subject: swaks")
    [stored] = mailbox.messages()
    assert b"Subject: swaks\r\n" in stored
    assert b"note.txt" in stored


def test_pipelining(tmp_path: Path, mailbox: Mailbox) -> None:
    to = f"{mailbox.address},nobody@example.org"
    said = swaks(tmp_path, mailbox, "--pipeline", "--body", "pipelined", to=to)
    assert "550 5.1.1" in said
    assert "250 2.0.0 Ok: queued as " in said
    assert len(mailbox.messages()) == 1


def test_unknown_recipient_is_refused_at_rcpt(tmp_path: Path, mailbox: Mailbox) -> None:
    assert "550 5.1.1" in swaks(tmp_path, mailbox, to="nobody@example.org", status=24)


@pytest.mark.parametrize("step", ["CONNECT", "FIRST-HELO", "MAIL", "RCPT", "DATA", "DOT"])
def test_leaving_early(tmp_path: Path, mailbox: Mailbox, step: str) -> None:
    """``--drop-after-send`` goes away without QUIT and without waiting for the answer."""
    swaks(tmp_path, mailbox, "--body", "gone", "--drop-after", step)
    assert len(mailbox.messages()) == (1 if step == "DOT" else 0)
