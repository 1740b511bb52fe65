"""Dovecot and mutt on the Maildirs of a running server: both do the same things, each in its own way.

Each is given a configuration of its own and no daemon: ``doveadm`` opens the Maildir by itself, and
mutt is driven by a ``push`` command in a pseudo-terminal. Neither may be root, and files are for their
owner alone, so the server must run as the user that they run as.
"""

import os
import pty
import pwd
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Protocol

from tests.support.corpus.messages import unix
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import SEARCH, need, run
from tests.support.e2e.server import DOMAIN

DOVECOT_POP3 = "/usr/lib/dovecot/pop3"
MUTT_SECONDS = 30.0
SETTINGS = """
set folder="~" mbox_type=Maildir copy=no move=no delete=yes quit=yes
set confirmappend=no confirmcreate=no wait_key=no sleep_time=0
set pipe_decode=no pipe_split=yes pipe_sep=""
"""


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


class Mutt:
    """mutt, with its keys pressed by ``push``."""

    def __init__(self, mailbox: Mailbox, home: Path, user: str | None) -> None:
        need("mutt")
        self.home = home
        self.user = user
        self.box = maildir_of(mailbox)
        self.settings = home / "muttrc"
        self.settings.write_text(SETTINGS)

    def press(self, keys: str, folder: Path | None = None) -> str:
        """What it shows, from start to end."""
        command = need("mutt"), "-n", "-F", self.settings, "-f", folder or self.box, "-e", f"push '{keys}'"
        env = {"PATH": SEARCH, "HOME": str(self.home), "LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "xterm"}
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as screen:
            process = subprocess.Popen(
                command,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=self.home,
                env=env,
                start_new_session=True,
                user=self.user,
                group=pwd.getpwnam(self.user).pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
            )
            os.close(theirs)
            watchdog = Timer(MUTT_SECONDS, process.kill)
            watchdog.start()
            shown = b""
            # EIO is how Linux says that nobody holds the other side any more
            with suppress(OSError):
                while piece := screen.read(65536):
                    shown += piece
            status = process.wait()
            watchdog.cancel()
        text = shown.decode(errors="replace")
        assert status == 0, f"mutt ended with {status}:\n{text}"
        return text

    def read(self) -> list[bytes]:
        pieces = self.home / "pieces"
        pieces.mkdir(mode=0o777)
        if self.user:
            os.chown(pieces, pwd.getpwnam(self.user).pw_uid, -1)
        save = f"cat > $(mktemp -p {pieces})"
        self.press(f"<tag-pattern>~A<enter><tag-prefix><pipe-message>{save}<enter><exit>")
        found = [unix(path.read_bytes()) for path in pieces.iterdir()]
        for path in pieces.iterdir():
            path.unlink()
        pieces.rmdir()
        return found

    def mark(self, subject: str) -> None:
        self.press(f"<tag-pattern>~s {subject}<enter><tag-prefix><flag-message><quit>")

    def remove(self, subject: str) -> None:
        self.press(f"<delete-pattern>~s {subject}<enter><quit>")

    def add(self, octets: bytes) -> None:
        source = self.home / "source"
        source.write_bytes(b"From sender@client.example Mon Nov  2 10:00:00 2026\n" + octets)
        source.chmod(0o644)
        self.press(f"<copy-message>{self.box}<enter><exit>", source)


NEIGHBOURS: dict[str, Callable[[Mailbox, Path, str | None], Neighbour]] = {"dovecot": Dovecot, "mutt": Mutt}
