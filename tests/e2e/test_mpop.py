"""mpop as the reader."""

import mailbox as python_mailbox
from pathlib import Path

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import need, run


def mpop(home: Path, mailbox: Mailbox, delivery: str, *options: str) -> None:
    host, port = mailbox.server.pop3
    settings = home / "mpoprc"
    settings.write_text(
        f"account default\nhost {host}\nport {port}\nuser {mailbox.address}\npassword {mailbox.password}\n"
        f"auth user\ntls off\nreceived_header off\nuidls_file {home}/uidls\ndelivery {delivery}\n"
    )
    settings.chmod(0o600)
    run(home, need("mpop"), f"--file={settings}", *options)


def kept(folder: Path) -> list[bytes]:
    return sorted(file.read_bytes() for file in (folder / "new").iterdir())


def test_to_maildir(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(*MESSAGES.values())
    stored = sorted(unix(octets) for octets in mailbox.messages())
    folder = tmp_path / "Maildir"
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)
    mpop(tmp_path, mailbox, f"maildir {folder}", "--keep=on")
    assert kept(folder) == stored
    mailbox.fill(MESSAGES["plain"])
    mpop(tmp_path, mailbox, f"maildir {folder}", "--keep=off")
    assert len(kept(folder)) == len(stored) + 1, "known unique-ids are not fetched again"
    assert mailbox.messages() == []


def test_to_mbox(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.fill(MESSAGES["dots"], MESSAGES["eight-bit"], MESSAGES["attachment"])
    stored = [unix(octets) for octets in mailbox.messages()]
    file = tmp_path / "mbox"
    mpop(tmp_path, mailbox, f"mbox {file}", "--keep=off")
    found = python_mailbox.mbox(file)
    assert [found.get_bytes(key).rstrip(b"\n") for key in found.iterkeys()] == [
        octets.rstrip(b"\n") for octets in stored
    ]
    found.close()
    assert mailbox.messages() == []


def test_only_headers_of_messages_over_a_limit(tmp_path: Path, mailbox: Mailbox) -> None:
    """``--killsize`` removes what is too large without reading more than TOP gives."""
    mailbox.fill(MESSAGES["plain"], MESSAGES["attachment"])
    folder = tmp_path / "Maildir"
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)
    mpop(tmp_path, mailbox, f"maildir {folder}", "--keep=off", "--killsize=100000")
    assert len(kept(folder)) == 1
    assert mailbox.messages() == []
