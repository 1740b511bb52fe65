"""Root: refused unless it is meant, and given up by twistd once the ports are bound."""

import os
import pwd
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.corpus.messages import MESSAGES, original
from tests.support.e2e.commands import mailserver
from tests.support.e2e.dialogue import HOSTNAME
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.programs import nobody_can_run_it
from tests.support.e2e.server import Makes, Server, configuration, launch_python, launch_twistd
from tests.support.runs import rest_slow
from tests.support.tls_material import make_ca

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start as root")


STAYS_ROOT = {
    "twistd": launch_twistd,
    "effective-uid-alone": partial(launch_twistd, twistd=("--uid", "nobody", "--gid", "nogroup", "--euid")),
    "python-m": launch_python,
    "group-alone": partial(launch_twistd, twistd=("--gid", "nogroup")),
    "uid-of-root": partial(launch_twistd, twistd=("--uid", "root", "--gid", "root")),
}


@pytest.mark.parametrize("launch", rest_slow(STAYS_ROOT.values(), first=2), ids=STAYS_ROOT.keys())
def test_staying_root_is_refused(make_server: Makes, launch: Callable[..., list[str]]) -> None:
    server = make_server(configuration(top=""), launch=launch)
    lines, _ = server.refused()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{server.config}: allow_root: ")
    assert not server.data.exists(), "nothing was made as root"


@pytest.fixture
def unprivileged(nobodys_folder: Path) -> Iterator[Server]:
    """A server that binds ports 25 and 110 as root, and goes on as nobody."""
    if not nobody_can_run_it():
        pytest.skip("nobody may not read this Python, or the project, so that nobody can run it")
    # an address of 127/8 of our own, so that the ports are free
    pid = os.getpid()
    host = f"127.{pid >> 16 & 0x7F | 0x40}.{pid >> 8 & 0xFF}.{pid & 0xFF}"
    listen = [("smtp", f"tcp:25:interface={host}"), ("pop3", f"tcp:110:interface={host}")]
    launch = partial(launch_twistd, twistd=("--uid", "nobody", "--gid", "nogroup"))
    server = Server(nobodys_folder, configuration(top="", listen=listen), launch)
    yield server
    server.finish()


def test_a_renewed_key_must_be_readable(unprivileged: Server, tmp_path: Path) -> None:
    server = unprivileged
    authority = make_ca(tmp_path)
    keys = server.directory / "tls"
    keys.mkdir(mode=0o755)
    certificate, private_key = keys / "fullchain.pem", keys / "privkey.pem"

    def renew() -> None:
        authority.issue(HOSTNAME).put(certificate, private_key)
        certificate.chmod(0o644)

    renew()
    tls = f'[tls]\ncertificate = "{certificate}"\nprivate_key = "{private_key}"\n'
    server.configure(f"{server.config.read_text()}\n{tls}")
    server.start()
    assert f"{private_key}: the server's user cannot read it (Permission denied) and cannot" in server.log
    assert mailserver(server, "reload") == (0, ["configuration reloaded"], [])
    for unreadable in (renew, lambda: keys.chmod(0o700)):
        unreadable()
        status, out, [line] = mailserver(server, "reload")
        assert (status, out) == (1, [])
        assert "configuration refused, the old one stays in force: " in line
        assert f'tls.private_key: cannot read "{private_key}": Permission denied' in line
        assert line.removeprefix("mailserver: ") in server.log
    keys.chmod(0o755)
    os.chown(private_key, 0, pwd.getpwnam("nobody").pw_gid)
    private_key.chmod(0o640)
    assert mailserver(server, "reload") == (0, ["configuration reloaded"], [])
    assert server.log.count("certificate in force") == 2


def test_the_warning_about_secrets_says_what_to_do(unprivileged: Server) -> None:
    server = unprivileged.start()
    config = server.config
    (command,) = re.findall(r"everybody can read or change the secrets in it; fix it with: (.*)", server.log)
    assert command == f"chgrp nogroup {config}; chmod 640 {config}"
    subprocess.run(["sh", "-ec", command], check=True)
    assert mailserver(server, "reload") == (0, ["configuration reloaded"], [])
    server.restart()
    assert server.log.count("everybody can read") == 1


def test_ports_as_root_and_the_rest_as_nobody(unprivileged: Server) -> None:
    server = unprivileged.start()
    assert [one["port"] for one in server.listeners] == [25, 110]
    nobody = pwd.getpwnam("nobody")
    status = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    ids = {line.split(":")[0]: set(line.split()[1:]) for line in status}
    assert ids["Uid"] == {str(nobody.pw_uid)}
    assert ids["Gid"] == {str(nobody.pw_gid)}
    assert "0" not in ids["Groups"]
    alice = Mailbox(server, "alice")
    alice.fill(MESSAGES["dots"])
    assert [original(stored) for stored in alice.messages()] == [MESSAGES["dots"]]
    assert {path.stat().st_uid for path in server.data.rglob("*")} == {nobody.pw_uid}
    server.signal(signal.SIGHUP)
    alice.fill(MESSAGES["plain"])
    server.restart()
    assert len(alice.messages()) == 2
