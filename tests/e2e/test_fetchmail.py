"""fetchmail as the reader, handing each message to a delivery agent."""

from pathlib import Path

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import need, run

NO_MAIL = 1  # its exit status when there is nothing to fetch


def fetchmail(home: Path, mailbox: Mailbox, *options: str, status: int = 0) -> list[bytes]:
    """Run it; the messages it has handed over so far, by their order."""
    host, port = mailbox.server.pop3
    got = home / "got"
    got.mkdir(exist_ok=True)
    agent = home / "agent"
    agent.write_text('#!/bin/sh\nnumber=$(ls "$1" | wc -l)\ncat > "$1/$((number + 1000))"\n')
    agent.chmod(0o700)
    settings = home / "fetchmailrc"
    settings.write_text(
        f'poll {host} service {port} protocol pop3 uidl user "{mailbox.address}" '
        f'password "{mailbox.password}" sslproto "" mda "{agent} {got}"\n'
    )
    settings.chmod(0o600)
    command = [need("fetchmail"), "-f", settings, "--pidfile", home / "pid", "--invisible", "--norewrite"]
    run(home, *command, "--nosyslog", *options, env={"FETCHMAILHOME": str(home)}, status=status)
    return [file.read_bytes() for file in sorted(got.iterdir())]


def test_keep(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(*MESSAGES.values())
    stored = [unix(octets) for octets in mailbox.messages()]
    assert fetchmail(tmp_path, mailbox, "--keep") == stored
    fetchmail(tmp_path, mailbox, "--keep", status=NO_MAIL)
    mailbox.fill(MESSAGES["plain"])
    assert len(fetchmail(tmp_path, mailbox, "--keep")) == len(stored) + 1
    assert len(mailbox.messages()) == len(stored) + 1


def test_no_keep(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(*MESSAGES.values())
    stored = [unix(octets) for octets in mailbox.messages()]
    assert fetchmail(tmp_path, mailbox, "--nokeep", "--fetchall") == stored
    assert mailbox.messages() == []
