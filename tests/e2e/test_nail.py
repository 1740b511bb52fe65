"""s-nail, which writes, sends and reads mail."""

import email
import email.policy
from pathlib import Path
from urllib.parse import quote

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.programs import need, run

QUIET = ("-:/", "-S", "v15-compat")  # no start-up files


def test_composes_and_sends(tmp_path: Path, mailbox: Mailbox) -> None:
    host, port = mailbox.server.smtp
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(range(256)) * 4096)
    text = "Grüße\n.\n..dots\n\n" + "long " * 1000 + "\nend\n"
    options = ["-S", f"mta=smtp://{host}:{port}", "-S", "smtp-auth=none", "-S", f"from={SENDER}"]
    command: list[str | Path] = [
        need("s-nail"),
        *QUIET,
        *options,
        "-s",
        "from s-nail",
        "-a",
        file,
        mailbox.address,
    ]
    run(tmp_path, *command, input=text.encode())
    [stored] = mailbox.messages()
    got = email.message_from_bytes(stored, policy=email.policy.default)
    assert got["Subject"] == "from s-nail"
    assert got["Return-Path"] == f"<{SENDER}>"
    body = got.get_body()
    assert body is not None
    assert unix(body.get_payload(decode=True)) == text.encode()  # type: ignore[arg-type]
    [attached] = got.iter_attachments()
    assert attached.get_filename() == "data.bin"
    assert attached.get_payload(decode=True) == file.read_bytes()


def test_reads_pop3(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(*MESSAGES.values())
    stored = mailbox.messages()
    host, port = mailbox.server.pop3
    url = f"pop3://{quote(mailbox.address, safe='')}:{quote(mailbox.password)}@{host}:{port}"
    copy = "".join(f"copy {number} {tmp_path}/copy{number}\n" for number in range(1, len(stored) + 1))
    command = [need("s-nail"), *QUIET, "-S", "pop3-auth=plain", "-R", "-f", url]
    run(tmp_path, *command, input=copy.encode() + b"exit\n")
    for number, octets in enumerate(stored, 1):
        separator, kept = (tmp_path / f"copy{number}").read_bytes().split(b"\n", 1)
        assert separator.startswith(b"From ")
        assert kept.rstrip(b"\n") == unix(octets).rstrip(b"\n")
    assert len(mailbox.messages()) == len(stored)


def test_deletes_by_quit(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(MESSAGES["plain"], MESSAGES["dots"], MESSAGES["plain"])
    uids = mailbox.uids()
    host, port = mailbox.server.pop3
    url = f"pop3://{quote(mailbox.address, safe='')}:{quote(mailbox.password)}@{host}:{port}"
    command = [need("s-nail"), *QUIET, "-S", "pop3-auth=plain", "-f", url]
    run(tmp_path, *command, input=b"delete 2\nquit\n")
    assert mailbox.uids() == [uids[0], uids[2]]
