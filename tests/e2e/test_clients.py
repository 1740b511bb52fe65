"""Client programs without TLS: octets, what stays on the server, and unknown recipients."""

import mailbox as python_mailbox
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, UNENDED, original, unix
from tests.support.e2e.clients import (
    READERS,
    curl,
    curl_login,
    fetchmail,
    message_file,
    mpop,
    msmtp,
    swaks,
)
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.programs import Ran, client, need


def upload(home: Path, mailbox: Mailbox, octets: bytes, *options: str) -> Ran:
    file = home / "message"
    file.write_bytes(octets)
    mail: list[str | Path] = ["--mail-from", SENDER, "--upload-file", file, "--mail-rcpt", mailbox.address]
    return curl(home, mailbox, "smtp", "", "client.example", *mail, *options)


def by_msmtp(home: Path, mailbox: Mailbox, octets: bytes) -> Ran:
    return msmtp(home, mailbox, "", "", sender=SENDER, octets=octets)


def by_swaks(home: Path, mailbox: Mailbox, octets: bytes) -> Ran:
    return swaks(home, mailbox, "", "", "--data", message_file(home, octets), sender=SENDER)


@pytest.mark.parametrize("send", [upload, by_msmtp, by_swaks])
@pytest.mark.parametrize("name", MESSAGES)
def test_octets(tmp_path: Path, mailbox: Mailbox, send: Callable[..., Ran], name: str) -> None:
    send(tmp_path, mailbox, MESSAGES[name]).check(0)
    [stored] = mailbox.messages()
    assert original(stored) == MESSAGES[name]
    assert read_by_curl(tmp_path, mailbox, "1") == stored


@pytest.mark.parametrize("send", [upload, by_msmtp])
def test_last_line_without_an_end_gets_one(
    tmp_path: Path, mailbox: Mailbox, send: Callable[..., Ran]
) -> None:
    send(tmp_path, mailbox, UNENDED).check(0)
    assert [original(stored) for stored in mailbox.messages()] == [UNENDED + b"\r\n"]


# ------------------------------------------------------------ readers that keep or remove


@pytest.mark.parametrize(
    ("reader", "keep", "remove"),
    [
        ("fetchmail", {"options": ("--keep",)}, {"options": ("--nokeep",)}),
        ("getmail", {"delete": False}, {"delete": True}),
        ("mpop", {"options": ("--keep=on",)}, {"options": ("--keep=off",)}),
    ],
)
def test_what_was_fetched_is_not_fetched_again(
    nobodys_folder: Path, mailbox: Mailbox, reader: str, keep: dict[str, object], remove: dict[str, object]
) -> None:
    """By the unique-ids; only those that are told to remove messages do."""
    read, home = READERS[reader], nobodys_folder
    mailbox.fill(*MESSAGES.values())
    stored = [unix(octets) for octets in mailbox.messages()]
    got = read(home, mailbox, "", "user", **keep).check(0).got
    assert sorted(got) == sorted(stored)
    assert reader != "fetchmail" or got == stored, "in their order"
    nothing_new = 1 if reader == "fetchmail" else 0
    assert len(read(home, mailbox, "", "user", **keep).check(nothing_new).got) == len(stored)
    mailbox.fill(MESSAGES["plain"])
    assert len(mailbox.messages()) == len(stored) + 1
    assert len(read(home, mailbox, "", "user", **remove).check(0).got) == len(stored) + 1
    assert mailbox.messages() == [] or reader == "fetchmail"


def test_fetchmail_removes_all(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(*MESSAGES.values())
    stored = [unix(octets) for octets in mailbox.messages()]
    every = ("--nokeep", "--fetchall")
    assert fetchmail(tmp_path, mailbox, "", "user", options=every).check(0).got == stored
    assert mailbox.messages() == []


def test_mpop_to_an_mbox(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(MESSAGES["dots"], MESSAGES["eight-bit"], MESSAGES["attachment"])
    stored = [unix(octets) for octets in mailbox.messages()]
    file = tmp_path / "mbox"
    mpop(tmp_path, mailbox, "", "user", delivery=f"mbox {file}", options=("--keep=off",)).check(0)
    found = python_mailbox.mbox(file)
    assert [found.get_bytes(key).rstrip(b"\n") for key in found.iterkeys()] == [
        octets.rstrip(b"\n") for octets in stored
    ]
    found.close()
    assert mailbox.messages() == []


def test_mpop_reads_only_headers_of_messages_over_a_limit(tmp_path: Path, mailbox: Mailbox) -> None:
    """``--killsize`` removes what is too large without reading more than TOP gives."""
    mailbox.fill(MESSAGES["plain"], MESSAGES["attachment"])
    ran = mpop(tmp_path, mailbox, "", "user", options=("--keep=off", "--killsize=100000")).check(0)
    assert len(ran.got) == 1
    assert mailbox.messages() == []


# ------------------------------------------------------------ curl


def read_by_curl(home: Path, mailbox: Mailbox, path: str, *options: str) -> bytes:
    [got] = curl(home, mailbox, "pop3", "", path, *curl_login(mailbox, "on"), *options).check(0).got
    return got


def test_curl_sends_unix_line_ends(tmp_path: Path, mailbox: Mailbox) -> None:
    upload(tmp_path, mailbox, unix(MESSAGES["dots"]), "--crlf").check(0)
    assert [original(stored) for stored in mailbox.messages()] == [MESSAGES["dots"]]


def test_curl_and_an_unknown_recipient_among_good_ones(tmp_path: Path, mailbox: Mailbox) -> None:
    options = ("--mail-rcpt", "nobody@example.org", "--mail-rcpt-allowfails")
    upload(tmp_path, mailbox, MESSAGES["plain"], *options).check(0)
    assert [original(stored) for stored in mailbox.messages()] == [MESSAGES["plain"]]


def test_smtp_commands_of_curl(tmp_path: Path, mailbox: Mailbox) -> None:
    def ask(*options: str) -> bytes:
        [answer] = curl(tmp_path, mailbox, "smtp", "", "client.example", *options).check(0).got
        return answer

    assert b"MAIL" in ask()  # HELP, as nothing else is asked for
    assert ask("--mail-rcpt", mailbox.address).startswith(b"252")  # VRFY
    assert ask("-X", "NOOP").startswith(b"250")


def test_pop3_commands_of_curl(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(MESSAGES["plain"], MESSAGES["dots"])
    stored = mailbox.messages()
    uids = mailbox.uids()
    listed = [b"%d %d\r\n" % (number, len(octets)) for number, octets in enumerate(stored, 1)]
    assert read_by_curl(tmp_path, mailbox, "") == b"".join(listed)
    named = [b"%d %s\r\n" % (number, uid) for number, uid in enumerate(uids, 1)]
    assert read_by_curl(tmp_path, mailbox, "", "-X", "UIDL") == b"".join(named)
    assert read_by_curl(tmp_path, mailbox, "2") == stored[1]
    head = stored[0][: stored[0].index(b"\r\n\r\n") + 4]
    assert read_by_curl(tmp_path, mailbox, "", "-X", "TOP 1 0") == head
    read_by_curl(tmp_path, mailbox, "1", "-X", "DELE", "--list-only")
    assert mailbox.uids() == uids[1:]


def test_a_wrong_password_is_curls_login_denied(tmp_path: Path, mailbox: Mailbox) -> None:
    curl(tmp_path, mailbox, "pop3", "", "", *curl_login(mailbox, "on", "wrong")).check(67)


# ------------------------------------------------------------ msmtp


def test_an_unknown_recipient_of_msmtp(tmp_path: Path, mailbox: Mailbox) -> None:
    """msmtp gives a message up if one recipient is refused, with EX_DATAERR of sysexits.h."""
    to = (mailbox.address, "nobody@example.org")
    msmtp(tmp_path, mailbox, "", "", sender=SENDER, to=to).check(65, "550 5.1.1")
    assert mailbox.messages() == []


def test_server_information_of_msmtp(tmp_path: Path, mailbox: Mailbox) -> None:
    where = ["--host=127.0.0.1", f"--port={mailbox.port('smtp')}", "--tls=off"]
    client(tmp_path, need("msmtp"), "--serverinfo", *where).check(0, "SIZE", "52428800", "PIPELINING")


# ------------------------------------------------------------ swaks


def test_a_message_of_swaks_with_an_attachment(tmp_path: Path, mailbox: Mailbox) -> None:
    file = tmp_path / "note.txt"
    file.write_bytes(b"attached\n")
    own = ["--body", "hello", "--attach", f"@{file}", "--header", "Subject: swaks"]
    swaks(tmp_path, mailbox, "", "", *own, sender=SENDER).check(0)
    [stored] = mailbox.messages()
    assert b"Subject: swaks\r\n" in stored
    assert b"note.txt" in stored


def test_pipelining_of_swaks(tmp_path: Path, mailbox: Mailbox) -> None:
    options = ["--pipeline", "--body", "pipelined"]
    ran = swaks(
        tmp_path, mailbox, "", "", *options, sender=SENDER, to=f"{mailbox.address},nobody@example.org"
    )
    ran.check(0, "550 5.1.1", "250 2.0.0 Ok: queued as ")
    assert len(mailbox.messages()) == 1


def test_an_unknown_recipient_of_swaks_is_refused_at_rcpt(tmp_path: Path, mailbox: Mailbox) -> None:
    swaks(tmp_path, mailbox, "", "", sender=SENDER, to="nobody@example.org").check(24, "550 5.1.1")


@pytest.mark.parametrize("step", ["CONNECT", "FIRST-HELO", "MAIL", "RCPT", "DATA", "DOT"])
def test_leaving_early(tmp_path: Path, mailbox: Mailbox, step: str) -> None:
    """``--drop-after-send`` goes away without QUIT and without waiting for the answer."""
    swaks(tmp_path, mailbox, "", "", "--body", "gone", "--drop-after", step, sender=SENDER).check(0)
    assert len(mailbox.messages()) == (1 if step == "DOT" else 0)
