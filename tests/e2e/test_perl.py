"""Perl's Net::SMTP and Net::POP3, which come with Perl; the scripts are in ``clients``."""

from pathlib import Path

from tests.support.corpus.messages import MESSAGES, UNENDED, original, unix
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.programs import SCRIPTS, need, run


def test_net_smtp(tmp_path: Path, mailbox: Mailbox) -> None:
    sent = [*MESSAGES.values(), UNENDED]
    files = [tmp_path / str(number) for number in range(len(sent))]
    for file, octets in zip(files, sent, strict=True):
        file.write_bytes(unix(octets))
    script = SCRIPTS / "net_smtp.pl"
    port = str(mailbox.server.smtp[1])
    run(tmp_path, need("perl"), script, port, SENDER, mailbox.address, "nobody@example.org", *files)
    assert [original(stored) for stored in mailbox.messages()] == [*MESSAGES.values(), UNENDED + b"\r\n"]


def test_net_pop3(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(*MESSAGES.values())
    stored = mailbox.messages()
    uids = mailbox.uids()
    folder = tmp_path / "got"
    folder.mkdir()
    script = SCRIPTS / "net_pop3.pl"
    port = str(mailbox.server.pop3[1])
    done = run(tmp_path, need("perl"), script, port, mailbox.address, mailbox.password, folder)
    got = [(folder / str(number)).read_bytes() for number in range(1, len(stored) + 1)]
    assert got == [unix(octets) for octets in stored]
    assert done.stdout.split() == uids[1:]
