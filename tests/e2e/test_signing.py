"""Mail of accounts goes out signed: dkimpy verifies it by the records that the command prints."""

import re
import smtplib
import subprocess
import sys
from pathlib import Path

import dkim
import pytest

from mailserver.testing import MailServer
from tests.support.e2e.server import PASSWORD, ROOT, Makes, configuration

HEAD = "From: alice@example.org\r\nTo: bob@far.example\r\nSubject: hello\r\n"
MESSAGE = f"{HEAD}\r\nGood morning,\r\n\r\nBob.\r\n\r\n"
RECORD = re.compile(r"^(\S+) IN TXT (.*)$", re.MULTILINE)


def command(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mailserver", "dkim", *words, "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def zone(output: str) -> dict[bytes, bytes]:
    return {
        name.encode(): "".join(re.findall(r'"([^"]*)"', strings)).encode()
        for name, strings in RECORD.findall(output)
    }


def test_from_the_key_to_the_far_side(make_server: Makes, tmp_path: Path) -> None:
    with MailServer() as far:
        route = f'"far.example" = "127.0.0.1:{far.smtp.port}"'
        tables = f"[smtp]\nplaintext_auth = true\n[relay]\nroutes = {{ {route} }}\n"
        text = configuration(tables=tables)
        server = make_server(text)
        made = command(
            server.config, "make", "example.org", "--selector", "s1", "--folder", str(tmp_path / "keys")
        )
        assert made.returncode == 0, made.stderr
        sections = "\n".join(re.findall(r"\[\[dkim\]\]\n(?:\w+ = .*\n)+", made.stdout))
        server.config.write_text(f"{text}\n{sections}")
        records = command(server.config, "records")
        assert zone(records.stdout) == zone(made.stdout) and len(zone(made.stdout)) == 2
        server.start()
        with smtplib.SMTP(*server.address("smtp")) as smtp:
            smtp.login("alice@example.org", PASSWORD)
            smtp.sendmail("alice@example.org", ["bob@far.example"], MESSAGE)
            with pytest.raises(smtplib.SMTPDataError) as refused:
                smtp.sendmail("alice@example.org", ["bob@far.example"], f"From: eve@example.org\r\n{MESSAGE}")
        assert refused.value.smtp_code == 550
        with smtplib.SMTP(*server.address("smtp")) as smtp:
            smtp.sendmail("stranger@far.example", ["alice@example.org"], MESSAGE)  # says that it is alice
        mail = far.wait_for(to="bob@far.example", timeout=20)

    def dnsfunc(name: bytes, timeout: int = 5) -> bytes | None:
        return zone(records.stdout).get(name)

    for number in (0, 1):
        assert dkim.DKIM(_sent(mail.raw)).verify(idx=number, dnsfunc=dnsfunc)
    [forged] = (server.directory / "data" / "mail" / "example.org" / "alice" / "new").iterdir()
    assert b"DKIM-Signature" not in forged.read_bytes()


def _sent(raw: bytes) -> bytes:
    """The message as it came from the server that signed it."""
    return raw[raw.index(b"DKIM-Signature") :]


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["make", "exa mple"], 2, 'allowed: a domain name such as "example.org"'),
        (["make", "example.org", "--selector", "a_b!"], 2, "allowed:"),
        (["make", "example.org", "--kind", "dsa"], 2, "'dsa' is not one of"),
        (["records"], 1, "the configuration has no key"),
        (["records", "example.com"], 1, "the configuration has no key for example.com"),
    ],
)
def test_wrong_usage(make_server: Makes, words: list[str], status: int, text: str) -> None:
    done = command(make_server(configuration()).config, *words)
    assert done.returncode == status and text in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_key_is_never_overwritten(make_server: Makes, tmp_path: Path) -> None:
    config = make_server(configuration()).config
    words = ["make", "example.org", "--selector", "s1", "--kind", "ed25519", "--folder", str(tmp_path)]
    assert command(config, *words).returncode == 0
    [file] = tmp_path.glob("*.pem")
    before = file.read_bytes()
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    again = command(config, *words)
    assert again.returncode == 1 and "choose another --selector" in again.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot read"),
        (b"no key", "the file has no private key in PEM; allowed: a private key in PEM without a password"),
    ],
)
def test_a_key_that_cannot_be_used(make_server: Makes, content: bytes | None, text: str) -> None:
    server = make_server(
        configuration() + '\n[[dkim]]\ndomain = "example.org"\nselector = "s1"\nkey = "k.pem"\n'
    )
    if content is not None:
        (server.config.parent / "k.pem").write_bytes(content)
    [line], _ = server.refused()
    assert line.startswith(f"{server.config}: dkim[1].key: ") and text in line
