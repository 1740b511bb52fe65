"""Dovecot and mutt on the Maildirs of a running server: both do the same things, each in its own way.

Each is given a configuration of its own and no daemon: ``doveadm`` opens the Maildir by itself, and
mutt is driven by a ``push`` command in a pseudo-terminal. Neither may be root, and files are for their
owner alone, so the server must run as the user that they run as.
"""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from socket import socketpair
from subprocess import Popen
from tempfile import TemporaryFile
from typing import Protocol

from tests.support.corpus.messages import unix
from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.mutt import Mutt
from tests.support.e2e.programs import need, run, surroundings
from tests.support.e2e.server import DOMAIN

DOVECOT_POP3 = "/usr/lib/dovecot/pop3"
DOVECOT_SECONDS = 60.0
ENVIRONMENT = {"USER": "owner"}


class Neighbour(Protocol):
    """Another program on the Maildir of one mailbox. Messages are named by their subject."""

    def read(self) -> list[bytes]:
        """Every message with LF line ends, in any order."""

    def mark(self, subject: str) -> None:
        """Flag a message as important, and move what is in ``new`` to ``cur``."""

    def remove(self, subject: str) -> None:
        """Remove a message at once."""

    def add(self, octets: bytes) -> None:
        """Put a message with LF line ends into the Maildir."""


def maildir_of(mailbox: Mailbox) -> Path:
    return mailbox.server.data / "mail" / DOMAIN / mailbox.name


def files_of(mailbox: Mailbox) -> list[str]:
    """Folder and name of every message file, sorted."""
    box = maildir_of(mailbox)
    return sorted(str(path.relative_to(box)) for path in box.glob("[nc][eu][wr]/*"))


class Dovecot:
    """Dovecot's own code for Maildirs and its POP3 server, both on standard input and output."""

    def __init__(self, mailbox: Mailbox, home: Path, user: str | None) -> None:
        need(DOVECOT_POP3)
        self.home = home
        self.user = user
        self.config = home / "dovecot.conf"
        self.config.write_text(
            f"mail_location = maildir:{maildir_of(mailbox)}\nmail_home = {home}\nbase_dir = {home}\n"
            "log_path = /dev/stderr\ninfo_log_path = /dev/null\n"
        )

    def doveadm(self, *arguments: str, input: bytes = b"") -> bytes:
        """Its standard output; a word on standard error is a complaint."""
        done = run(self.home, *self._command(*arguments), input=input, env=ENVIRONMENT, user=self.user)
        self._check(done.stderr)
        return done.stdout

    def pop3(self) -> list[tuple[int, bytes]]:
        """Every message as its POP3 server sends it, with the size that it lists.

        A command is sent after the answer to the one before: the process ends at QUIT or at the end of its
        input, and what waits behind a full pipe or socket is then lost.
        """
        ours, theirs = socketpair()
        with TemporaryFile() as complaints, closing(Pop3(ours, DOVECOT_SECONDS)) as session:
            with theirs:
                process = Popen(
                    self._command("exec", "pop3"),
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=complaints,
                    **surroundings(self.home, ENVIRONMENT, self.user),
                )
            try:
                sizes = [int(line.split(b" ")[1]) for line in session.multi(b"LIST").splitlines()]
                found = [session.multi(b"RETR %d" % number) for number in range(1, len(sizes) + 1)]
                session.expect(b"QUIT", b"+OK")
                assert process.wait(DOVECOT_SECONDS) == 0
            except EOFError as error:
                error.add_note(os.pread(complaints.fileno(), 1 << 16, 0).decode())
                raise
            finally:
                process.kill()
                process.wait()
            self._check(os.pread(complaints.fileno(), 1 << 16, 0))
        return list(zip(sizes, found, strict=True))

    def _command(self, *arguments: str) -> list[str | Path]:
        return [need("doveadm"), "-c", self.config, *arguments]

    def _check(self, said: bytes) -> None:
        complaints = [line for line in said.splitlines() if b": Info: " not in line]
        assert not complaints, complaints

    def read(self) -> list[bytes]:
        return [unix(octets) for _, octets in self.pop3()]

    def mark(self, subject: str) -> None:
        self.doveadm("flags", "add", r"\Flagged", "mailbox", "INBOX", "subject", subject)
        self.pop3()  # doveadm leaves files in new/; its POP3 server does not

    def remove(self, subject: str) -> None:
        self.doveadm("expunge", "mailbox", "INBOX", "subject", subject)

    def add(self, octets: bytes) -> None:
        self.doveadm("save", input=octets)


NEIGHBOURS: dict[str, Callable[[Mailbox, Path, str | None], Neighbour]] = {
    "dovecot": Dovecot,
    "mutt": lambda mailbox, home, user: Mutt(maildir_of(mailbox), home, user),
}
