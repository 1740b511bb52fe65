"""Dovecot and mutt on the Maildirs of a running server: both do the same things, each in its own way.

Each is given a configuration of its own and no daemon: ``doveadm`` opens the Maildir by itself, and
mutt is driven by a ``push`` command in a pseudo-terminal. Neither may be root, and files are for their
owner alone, so the server must run as the user that they run as.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.support.corpus.messages import unix
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.mutt import Mutt
from tests.support.e2e.programs import need, run
from tests.support.e2e.server import DOMAIN

DOVECOT_POP3 = "/usr/lib/dovecot/pop3"


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
        command: list[str | Path] = [need("doveadm"), "-c", self.config, *arguments]
        done = run(self.home, *command, input=input, env={"USER": "owner"}, user=self.user)
        complaints = [line for line in done.stderr.splitlines() if b": Info: " not in line]
        assert not complaints, complaints
        return done.stdout

    def pop3(self) -> list[tuple[int, bytes]]:
        """Every message as its POP3 server sends it, with the size that it lists."""
        listing, _ = self._pop3("LIST")
        sizes = [int(line.split(b" ")[1]) for line in listing.splitlines()]
        numbers = range(1, len(sizes) + 1)
        found = self._pop3(*(f"RETR {number}" for number in numbers))[:-1]
        return list(zip(sizes, found, strict=True))

    def _pop3(self, *commands: str) -> list[bytes]:
        """The texts that follow the first lines of multi-line answers; an empty one for that to QUIT."""
        said = self.doveadm("exec", "pop3", input="\r\n".join([*commands, "QUIT", ""]).encode())
        texts = []
        for answer in said.split(b"\r\n.\r\n"):
            assert answer.startswith(b"+OK"), answer
            _, line_end, text = answer.partition(b"\r\n")
            texts.append(re.sub(rb"(?m)^\.", b"", text) + line_end)
        return texts

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
