"""getmail6 as the reader, with its SimplePOP3Retriever and a Maildir of its own."""

import os
import shutil
from pathlib import Path

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import need, run

SETTINGS = """
[retriever]
type = SimplePOP3Retriever
server = {host}
port = {port}
username = {user}
password = {password}
timeout = 15
[destination]
type = Maildir
path = {folder}/
[options]
delete = {delete}
read_all = false
delivered_to = false
received = false
verbose = 2
"""


def getmail(home: Path, mailbox: Mailbox, delete: bool) -> list[bytes]:
    """Run it; all messages in its Maildir, sorted. It refuses to deliver as root."""
    user = "nobody" if os.geteuid() == 0 else None
    host, port = mailbox.server.pop3
    folder = home / "Maildir"
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        if user:
            shutil.chown(folder / part, user)
    (home / "getmailrc").write_text(
        SETTINGS.format(
            host=host,
            port=port,
            user=mailbox.address,
            password=mailbox.password,
            folder=folder,
            delete=str(delete).lower(),
        )
    )
    run(home, need("getmail"), f"--getmaildir={home}", "--rcfile=getmailrc", user=user)
    return sorted(file.read_bytes() for file in (folder / "new").iterdir())


def test_to_maildir(nobodys_folder: Path, mailbox: Mailbox) -> None:
    mailbox.fill(*MESSAGES.values())
    stored = sorted(unix(octets) for octets in mailbox.messages())
    assert getmail(nobodys_folder, mailbox, delete=False) == stored
    assert getmail(nobodys_folder, mailbox, delete=False) == stored, "known unique-ids are not fetched again"
    mailbox.fill(MESSAGES["plain"])
    assert len(getmail(nobodys_folder, mailbox, delete=True)) == len(stored) + 1
    assert mailbox.messages() == []
