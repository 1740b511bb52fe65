"""The server of the soak: its configuration, mailboxes of very many messages, and a log that gets stuck."""

import os
import subprocess
import threading
import time
from pathlib import Path

from mailserver.accounts.passwords import hash_password
from tests.support.e2e.server import PASSWORD, Server, configuration, launch_twistd

HONEST, TARGET, OWNER, FULL = "honest", "target", "owner", "full"
LARGE = ("large0", "large1", "large2", "large3")  # mailboxes, each of
LARGE_COUNT = 100_000  # messages
MANY_NAMES = 2_000
STUCK = 5.0  # seconds that the log is not read, of every four times as many

PORT = "tcp:0:interface=127.0.0.1"

TABLES = """
[smtp]
plaintext_auth = true
[limits]
exempt = ["127.0.0.1"]
[storage]
reserve = "1 GiB"
quota = "1 GiB"
[[list]]
address = "club@example.org"
members = ["honest@example.org", "full@example.org"]
"""


class StuckLog(Server):
    """A server whose standard output is a pipe. Its reader stops again and again."""

    def spawn(self) -> None:
        assert self.process is None
        self.ready.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            self.command(), **self.surroundings(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        began = time.monotonic()
        with process.stdout, self.log_file.open("ab", buffering=0) as log:
            while piece := os.read(process.stdout.fileno(), 1 << 16):
                log.write(piece)
                # The end of the log is read at once: what the server says when it stops must be seen.
                if (time.monotonic() - began) % (4 * STUCK) > 3 * STUCK and process.poll() is None:
                    time.sleep(STUCK)


def make_server(directory: Path) -> Server:
    """The server, not yet started, with its large mailboxes."""
    names = [HONEST, TARGET, OWNER, *LARGE, *(f"n{number}" for number in range(MANY_NAMES))]
    text = configuration(
        top='allow_root = true\nstop_grace = "5s"',
        accounts=names,
        passwords={OWNER: hash_password(PASSWORD)},
        tables=TABLES,
    )
    text += f'\n[[account]]\naddress = "{FULL}@example.org"\npassword = "{PASSWORD}"\nquota_messages = 1\n'
    server = StuckLog(directory, text, launch_twistd)
    for name in LARGE:
        fill(server.data / "mail" / "example.org" / name)
    return server


def fill(mailbox: Path) -> None:
    """Make a Maildir of :data:`LARGE_COUNT` messages, named as by the server: links to a few files."""
    octets = b"Subject: one of many\r\n\r\nshort\r\n"
    for folder in (*reversed(mailbox.parents), mailbox, *(mailbox / name for name in ("cur", "new", "tmp"))):
        if not folder.exists():  # with parents=True the mode would be that of the last one alone
            folder.mkdir(mode=0o700)
    source = mailbox / "tmp" / "source"
    for number in range(LARGE_COUNT):
        if number % 30_000 == 0:  # ext4 allows 65,000 links to one file
            source.unlink(missing_ok=True)
            source.write_bytes(octets)
            source.chmod(0o600)
        name = (
            f"1700000000.M000001P1Q{number}R0123456789ab.mail.example.org,S={len(octets)},W={len(octets)}:2,"
        )
        os.link(source, mailbox / "cur" / name)
    source.unlink()
