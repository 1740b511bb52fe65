"""``openssl s_client``: what it says of the TLS of each port, and a session by hand through it."""

import re
from base64 import b64encode
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.dialogue import HOSTNAME
from tests.support.e2e.programs import need, run
from tests.support.e2e.secured import LISTEN, Account

PORTS = sorted({(protocol, tls) for protocol, _, tls in LISTEN})


def s_client(
    home: Path,
    account: Account,
    port: tuple[str, str],
    *options: str,
    input: bytes = b"",
    status: int | None = 0,
) -> str:
    """Its output, on which the server's replies follow what it says of the handshake."""
    protocol, tls = port
    starttls = ["-starttls", "pop3" if protocol == "pop3" else "smtp"] if tls == "starttls" else []
    command = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{account.port(protocol, tls)}", *starttls]
    checks: list[str | Path] = ["-CAfile", account.ca, "-verify_return_error", "-verify_hostname", HOSTNAME]
    done = run(home, *command, *checks, *options, input=input, status=status)
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("port", PORTS)
def test_certificate_and_version(tmp_path: Path, account: Account, port: tuple[str, str]) -> None:
    said = s_client(tmp_path, account, port, "-ign_eof", input=b"QUIT\r\n")
    assert "Verify return code: 0 (ok)" in said
    assert "New, TLSv1.3, Cipher is TLS_" in said
    assert "Compression: NONE" in said
    assert re.search(r"^(?:\+OK|221 2\.0\.0) .*\r?$", said, re.MULTILINE)


@pytest.mark.parametrize("port", PORTS)
def test_tls_12_is_the_least(tmp_path: Path, account: Account, port: tuple[str, str]) -> None:
    said = s_client(tmp_path, account, port, "-tls1_2", "-ign_eof", input=b"QUIT\r\n")
    assert "New, TLSv1.2, Cipher is ECDHE-" in said
    assert "Secure Renegotiation IS supported" in said
    # at this level of its own openssl would speak even TLS 1.0
    for version in ("-tls1", "-tls1_1"):
        old = ("-cipher", "ALL:@SECLEVEL=0", version)
        said = s_client(tmp_path, account, port, *old, "-ign_eof", input=b"QUIT\r\n", status=1)
        assert "alert protocol version" in said


@pytest.mark.parametrize("port", [("submission", "implicit"), ("pop3", "starttls")])
def test_no_renegotiation(tmp_path: Path, account: Account, port: tuple[str, str]) -> None:
    """R at the beginning of a line asks for it."""
    said = s_client(tmp_path, account, port, "-tls1_2", input=b"R\n", status=None)
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_sessions_by_hand(tmp_path: Path, account: Account, tls: str) -> None:
    login = b64encode(f"\0{account.address}\0{account.password}".encode())
    address = account.address.encode()
    lines = [
        b"EHLO client.example",
        b"AUTH PLAIN " + login,
        b"MAIL FROM:<%s>" % address,
        b"RCPT TO:<%s>" % address,
        b"DATA",
        MESSAGES["plain"] + b".",
        b"QUIT",
    ]
    said = s_client(tmp_path, account, ("submission", tls), "-quiet", input=b"\r\n".join([*lines, b""]))
    replies = said[said.index("235") : said.index("closing the connection")]
    codes = re.findall(r"^(\d{3}) ", replies, re.MULTILINE)
    assert codes == ["235", "250", "250", "354", "250", "221"]
    lines = [b"USER " + address, b"PASS " + account.password.encode(), b"RETR 1", b"QUIT"]
    said = s_client(tmp_path, account, ("pop3", tls), "-quiet", input=b"\r\n".join([*lines, b""]))
    assert said.count("+OK") == 5
    [stored] = account.messages()
    assert original(stored) == MESSAGES["plain"]
    assert b"Hello Bob,".decode() in said
