"""``mailserver init`` as a process: from nothing to a message that is read, and its questions."""

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from mailserver.config.loader import load
from tests.support.dns_zone import DnsZone
from tests.support.docs.blocks import OWN_SERVER, blocks
from tests.support.e2e.commands import COMMAND, environment
from tests.support.e2e.programs import missing, need, nobody_can_run_it, surroundings
from tests.support.e2e.server import ROOT, wait_until
from tests.support.tls_material import make_ca

NO_DNS = {"MAILSERVER__DNS__SERVERS": "127.0.0.1:9"}
PORTS = {"2525": ("smtp", "starttls"), "2995": ("pop3", "implicit")}


def sh(folder: Path, script: str, user: str | None) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        **surroundings(folder, NO_DNS, user),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("user", [None, pytest.param("nobody", marks=pytest.mark.slow)])
def test_a_server_of_ones_own(nobodys_folder: Path, user: str | None) -> None:
    """The block of README, on free ports; also as a user who may not do much."""
    need("curl")
    if user is not None and (os.geteuid() != 0 or not nobody_can_run_it()):
        pytest.skip("only root can run it as another user, who must be able to read this Python")
    programs = Path(sys.executable).parent
    if not (programs / "mailserver").exists():
        missing("the commands are where the project is installed: pip install -e '.[test]'")
    (nobodys_folder / ".venv").symlink_to(programs.parent)
    [block] = blocks(ROOT / "README.md", OWN_SERVER)
    start = re.sub(r"^(\S*mailserver init .*)--dir", r"\1--ports 0,0,0,0,0 --dir", block.text, flags=re.M)
    start, found, rest = re.sub(
        r"^(\S*twistd .*)$", r"\1 --ready-file my-mail/ready.json\n#", start, flags=re.M
    ).partition("\n#")
    assert found and rest.rstrip().endswith('kill "$(cat my-mail/pid)"')
    folder, pid = nobodys_folder / "my-mail", nobodys_folder / "my-mail" / "pid"
    try:
        said = sh(nobodys_folder, start, user)
        assert "; WARNING: mail.example.org has no address in DNS yet, or DNS does not answer." in said
        for one in json.loads((folder / "ready.json").read_bytes())["listeners"]:
            for port, listener in PORTS.items():
                if listener == (one["protocol"], one["tls"]):
                    rest = rest.replace(f":{port}", f":{one['port']}")
        assert "Good morning, Alice." in sh(nobodys_folder, rest, user)
        wait_until(lambda: not pid.exists(), "the end of the server")
    finally:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(pid.read_text()), 9)
    assert "#warn" not in (folder / "log").read_text()


def test_questions_on_a_terminal(tmp_path: Path) -> None:
    issued = make_ca(tmp_path).issue("mail.example.org")
    answers = [
        (b"mail addresses: ", b"example"),
        (b"has no dot; allowed: a domain name such as", b""),
        (b"mail addresses: ", b"example.org"),
        (b"server [mail.example.org]: ", b"mx.example.org"),
        (b"account [postmaster@example.org]: ", b"alice@example.net"),
        (b"account [postmaster@example.org]: ", b"alice"),
        (b"makes one [none]: ", str(tmp_path / "missing.pem").encode()),
        (b"makes one [none]: ", str(issued.certificate).encode()),
        (b"privkey.pem]: ", str(issued.private_key).encode()),
        (b"STLS) [", b"0,0,0,0,0"),
        (b"Password: ", b"correct horse"),
        (b"confirmation: ", b"correct horse"),
    ]
    with DnsZone("mx.example.org A 192.0.2.25") as zone:
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, "init", "--dir", str(tmp_path / "mail")],
            env=environment() | {"MAILSERVER__DNS__SERVERS": zone.address},
            stdin=follower,
            stdout=subprocess.PIPE,
            stderr=follower,
        )
        os.close(follower)
        shown = b""
        for question, answer in answers:
            while question not in shown:
                shown += os.read(leader, 1000)
            shown = shown.partition(question)[2]
            if answer:
                os.write(leader, answer + b"\n")
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        os.close(leader)
    lines = out.decode().splitlines()
    assert "mx.example.org. IN A 192.0.2.25" in lines
    assert not any("WARNING" in line or "Password" in line or "horse" in line for line in lines)
    config = load(tmp_path / "mail" / "mailserver.toml")
    assert (config.hostname, str(config.postmaster)) == ("mx.example.org", "alice@example.org")
    assert config.tls is not None and config.tls.private_key == issued.private_key
