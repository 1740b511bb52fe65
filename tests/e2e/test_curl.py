"""curl, as the sender and as the reader."""

from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, UNENDED, original, unix
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.programs import need, run


def upload(home: Path, mailbox: Mailbox, octets: bytes, *options: str) -> None:
    host, port = mailbox.server.smtp
    file = home / "message"
    file.write_bytes(octets)
    url = f"smtp://{host}:{port}/client.example"
    command = [need("curl"), "-sS", url, "--mail-from", SENDER, "--upload-file", file, *options]
    run(home, *command, "--mail-rcpt", mailbox.address)


def ask_smtp(home: Path, mailbox: Mailbox, *options: str) -> bytes:
    host, port = mailbox.server.smtp
    return run(home, need("curl"), "-sS", f"smtp://{host}:{port}/client.example", *options).stdout


def fetch(home: Path, mailbox: Mailbox, path: str = "", *options: str) -> bytes:
    host, port = mailbox.server.pop3
    user = f"{mailbox.address}:{mailbox.password}"
    return run(home, need("curl"), "-sS", f"pop3://{host}:{port}/{path}", "-u", user, *options).stdout


@pytest.mark.parametrize("name", MESSAGES)
def test_round_trip(tmp_path: Path, mailbox: Mailbox, name: str) -> None:
    upload(tmp_path, mailbox, MESSAGES[name])
    assert original(fetch(tmp_path, mailbox, "1")) == MESSAGES[name]


def test_last_line_without_an_end_gets_one(tmp_path: Path, mailbox: Mailbox) -> None:
    upload(tmp_path, mailbox, UNENDED)
    assert original(fetch(tmp_path, mailbox, "1")) == UNENDED + b"\r\n"


def test_unix_line_ends_with_crlf_option(tmp_path: Path, mailbox: Mailbox) -> None:
    upload(tmp_path, mailbox, unix(MESSAGES["dots"]), "--crlf")
    assert original(fetch(tmp_path, mailbox, "1")) == MESSAGES["dots"]


def test_unknown_recipient_among_good_ones(tmp_path: Path, mailbox: Mailbox) -> None:
    options = ("--mail-rcpt", "nobody@example.org", "--mail-rcpt-allowfails")
    upload(tmp_path, mailbox, MESSAGES["plain"], *options)
    assert [original(stored) for stored in mailbox.messages()] == [MESSAGES["plain"]]


def test_smtp_commands(tmp_path: Path, mailbox: Mailbox) -> None:
    assert b"MAIL" in ask_smtp(tmp_path, mailbox)  # HELP, as nothing else is asked for
    assert ask_smtp(tmp_path, mailbox, "--mail-rcpt", mailbox.address).startswith(b"252")  # VRFY
    assert ask_smtp(tmp_path, mailbox, "-X", "NOOP").startswith(b"250")


def test_pop3_commands(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(MESSAGES["plain"], MESSAGES["dots"])
    stored = mailbox.messages()
    uids = mailbox.uids()
    assert fetch(tmp_path, mailbox) == b"".join(
        b"%d %d\r\n" % (number, len(octets)) for number, octets in enumerate(stored, 1)
    )
    assert fetch(tmp_path, mailbox, "", "-X", "UIDL") == b"".join(
        b"%d %s\r\n" % (number, uid) for number, uid in enumerate(uids, 1)
    )
    assert fetch(tmp_path, mailbox, "2") == stored[1]
    head = stored[0][: stored[0].index(b"\r\n\r\n") + 4]
    assert fetch(tmp_path, mailbox, "", "-X", "TOP 1 0") == head
    fetch(tmp_path, mailbox, "1", "-X", "DELE", "--list-only")
    assert mailbox.uids() == uids[1:]


def test_wrong_password_is_curls_login_denied(tmp_path: Path, mailbox: Mailbox) -> None:
    host, port = mailbox.server.pop3
    url = f"pop3://{host}:{port}/"
    run(tmp_path, need("curl"), "-sS", url, "-u", f"{mailbox.address}:wrong", status=67)
