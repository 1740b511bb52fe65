"""mutt: on a Maildir and by POP3, with its keys pressed in a pseudo-terminal; and as a sender by SMTP."""

import os
import pty
import pwd
import subprocess
from contextlib import suppress
from pathlib import Path
from threading import Timer
from urllib.parse import quote

from tests.support.corpus.messages import unix
from tests.support.e2e.programs import Ran, client, need, surroundings
from tests.support.e2e.secured import Account

MUTT_SECONDS = 120.0
SETTINGS = """
set folder="~" mbox_type=Maildir copy=no move=no delete=yes quit=yes
set confirmappend=no confirmcreate=no wait_key=no sleep_time=0
set pipe_decode=no pipe_split=yes pipe_sep=""
"""

NETWORK = """
set ssl_force_tls=yes ssl_starttls=yes ssl_ca_certificates_file="{ca}"
set certificate_file="{home}/none" from="{address}" realname="Somebody" use_envelope_from=yes
set smtp_url="{smtp}://{user}@127.0.0.1:{smtp_port}" smtp_pass="{password}" smtp_authenticators="{way}"
set pop_user="{address}" pop_pass="{password}" pop_authenticators="{way}" pop_delete=no pop_checkinterval=0
set pop_reconnect=no copy=no message_cachedir="" header_cache=""
"""


class Mutt:
    """mutt, with its keys pressed by ``push``."""

    def __init__(self, box: Path | str, home: Path, user: str | None) -> None:
        need("mutt")
        self.home = home
        self.user = user
        self.box = box
        self.settings = home / "muttrc"
        self.settings.write_text(SETTINGS)

    def press(self, keys: str, folder: Path | None = None) -> str:
        """What it shows, from start to end."""
        command = need("mutt"), "-n", "-F", self.settings, "-f", folder or self.box, "-e", f"push '{keys}'"
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as screen:
            process = subprocess.Popen(
                command,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                **surroundings(self.home, {"TERM": "xterm"}, self.user),
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


def mutt_settings(home: Path, account: Account, tls: str, way: str, password: str, ca: Path | None) -> str:
    return NETWORK.format(
        ca=ca or account.ca,
        home=home,
        address=account.address,
        user=quote(account.address, safe=""),
        password=password or account.password,
        smtp={"starttls": "smtp", "implicit": "smtps"}[tls],
        smtp_port=account.port("submission", tls),
        way="" if way == "on" else way,
    )


def mutt_send(
    home: Path, account: Account, tls: str, way: str, password: str = "", ca: Path | None = None
) -> Ran:
    """A message of its own with all octets attached."""
    file = home / "muttrc"
    file.write_text(mutt_settings(home, account, tls, way, password, ca))
    attached = home / "data.bin"
    attached.write_bytes(bytes(range(256)) * 256)
    command: list[str | Path] = [
        need("mutt"),
        "-n",
        "-F",
        file,
        "-s",
        "by mutt",
        "-a",
        attached,
        "--",
        account.address,
    ]
    return client(home, *command, input="Grüße\n.\n".encode())


def mutt_read(
    home: Path, account: Account, tls: str, way: str, password: str = "", ca: Path | None = None
) -> Ran:
    """Its keys are pressed, and its screen is not looked at."""
    scheme = {"starttls": "pop", "implicit": "pops"}[tls]
    box = f"{scheme}://{quote(account.address, safe='')}@127.0.0.1:{account.port('pop3', tls)}"
    mutt = Mutt(box, home, None)
    mutt.settings.write_text(SETTINGS + mutt_settings(home, account, tls, way, password, ca))
    return Ran(0, "", sorted(mutt.read()))
