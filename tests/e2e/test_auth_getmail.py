"""getmail6 with implicit TLS, which checks the certificate, and with APOP."""

import os
import shutil
from pathlib import Path

from tests.support.corpus.messages import MESSAGES, unix
from tests.support.e2e.programs import need, run
from tests.support.e2e.secured import Account, Secured

SETTINGS = """
[retriever]
type = {kind}
server = 127.0.0.1
port = {port}
username = {user}
password = {password}
timeout = 15
{more}
[destination]
type = Maildir
path = {folder}/
[options]
read_all = false
delivered_to = false
received = false
"""


def getmail(
    home: Path, account: Account, tls: str, more: str, password: str = "", status: int = 0
) -> tuple[str, list[bytes]]:
    """What it says, and all messages in its Maildir. It refuses to deliver as root."""
    user = "nobody" if os.geteuid() == 0 else None
    folder = home / "Maildir"
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        if user:
            shutil.chown(folder / part, user)
    settings = SETTINGS.format(
        kind="SimplePOP3SSLRetriever" if tls == "implicit" else "SimplePOP3Retriever",
        port=account.port("pop3", tls),
        user=account.address,
        password=password or account.password,
        more=more,
        folder=folder,
    )
    (home / "getmailrc").write_text(settings)
    done = run(home, need("getmail"), f"--getmaildir={home}", "--rcfile=getmailrc", user=user, status=status)
    said = (done.stdout + done.stderr).decode(errors="replace")
    return said, sorted(file.read_bytes() for file in (folder / "new").iterdir())


def readable(authority: Path, home: Path) -> Path:
    """A copy for the user that it runs as."""
    return shutil.copy(authority, home / "ca.pem")


def test_implicit_tls(nobodys_folder: Path, hashed: Account) -> None:
    hashed.fill(MESSAGES["plain"], MESSAGES["dots"])
    ca = readable(hashed.ca, nobodys_folder)
    _, got = getmail(nobodys_folder, hashed, "implicit", f"ca_certs = {ca}")
    assert got == sorted(unix(octets) for octets in hashed.messages())


def test_apop_needs_no_tls(nobodys_folder: Path, account: Account) -> None:
    account.fill(MESSAGES["plain"])
    _, got = getmail(nobodys_folder, account, "starttls", "use_apop = True")
    assert got == [unix(octets) for octets in account.messages()]


def test_certificate_is_checked(nobodys_folder: Path, account: Account, secured: Secured) -> None:
    account.fill(MESSAGES["plain"])
    other = readable(secured.authority.issue("elsewhere.example").certificate, nobodys_folder)
    said, got = getmail(nobodys_folder, account, "implicit", f"ca_certs = {other}", status=None)
    assert "certificate verify failed" in said
    assert got == []


def test_wrong_password(nobodys_folder: Path, account: Account) -> None:
    ca = readable(account.ca, nobodys_folder)
    said, _ = getmail(nobodys_folder, account, "implicit", f"ca_certs = {ca}", "wrong", status=None)
    assert "[AUTH] wrong user name or password" in said
