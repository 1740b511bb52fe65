"""docs/installation.md, executed from its text: a system user, ports below 1024, a certificate.

It runs as root in namespaces of its own, where /etc, /opt and /var/lib are copies or empty and the ports are
free. Installing is left out: /opt/mailserver is where the tests run. ``systemctl`` is a script that does what
the unit says. Certificates come and go as certbot does it.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.docs.blocks import IN_A_CONTAINER, SET_UP, Block, blocks
from tests.support.e2e.programs import missing, need, nobody_can_run_it
from tests.support.e2e.server import ROOT, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can set up a machine"),
]

PAGE = ROOT / "docs" / "installation.md"
HIDDEN = ("/etc", "/opt", "/var/lib")
NAME = "mail.example.org"
PREPARE = """
mount --make-rprivate /
cp -a /etc "$1/etc" && mount --bind "$1/etc" /etc
mount -t tmpfs -o mode=755 none /opt
mount -t tmpfs -o mode=755 none /var/lib
ip link set lo up
mkdir -p /etc/mailserver /etc/letsencrypt /etc/systemd/system
ln -s "$2" /opt/mailserver
echo ready
exec sleep infinity
"""
# What systemd does with the unit, without its journal.
SYSTEMCTL = """#!/bin/bash -e
line() { sed -n "s/^$1=//p" /etc/systemd/system/mailserver.service; }
stop() { kill "$(cat FOLDER/pid)"; while kill -0 "$(cat FOLDER/pid)" 2> /dev/null; do sleep 0.05; done; }
start() { setsid $(line ExecStart) >> FOLDER/log 2>&1 < /dev/null & echo $! > FOLDER/pid; }
case "$*" in
    daemon-reload) ;;
    "enable --now mailserver") start ;;
    "restart mailserver") stop; start ;;
    "reload mailserver") $(line ExecReload) ;;
    "stop mailserver") stop ;;
    *) echo "systemctl $*?" >&2; exit 1 ;;
esac
"""
ISSUE = """
cd /etc/letsencrypt
archive=archive/mail.example.org live=live/mail.example.org
mkdir -p $archive $live
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -set_serial NUMBER \\
    -subj /CN=mail.example.org -addext subjectAltName=DNS:mail.example.org \\
    -keyout $archive/privkeyNUMBER.pem -out $archive/fullchainNUMBER.pem 2> /dev/null
"""

SEND = """
printf 'Subject: hello\\r\\n\\r\\nGood morning.\\r\\n' |
  curl -sS smtp://HOST:25 --upload-file - --mail-from bob@example.net --mail-rcpt sales@example.org
"""


class Machine:
    """Where the page is carried out. ``folder`` is outside, and seen from within."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log_file = folder / "log"
        programs = folder / "bin"
        programs.mkdir()
        systemctl = programs / "systemctl"
        systemctl.write_text(SYSTEMCTL.replace("FOLDER", str(folder)))
        systemctl.chmod(0o755)
        search = [
            str(programs),
            "/usr/local/sbin",
            "/usr/local/bin",
            "/usr/sbin",
            "/usr/bin",
            "/sbin",
            "/bin",
        ]
        self.environment = {
            "PATH": os.pathsep.join(search),
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "MAILSERVER__DNS__SERVERS": "127.0.0.1:9",  # no wait for the resolvers of the other network
        }
        prefix = str(Path(sys.executable).parent.parent)
        words = ["unshare", "--mount", "--net", "bash", "-ec", PREPARE, "prepare", str(folder), prefix]
        self.holder = subprocess.Popen(words, stdout=subprocess.PIPE, env=self.environment, text=True)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == "ready\n", "unshare has failed"

    def sh(self, script: str, status: int = 0, given: str = "") -> str:
        """Run a script with this on its standard input, which must end so; what it says."""
        enter = ["nsenter", "--target", str(self.holder.pid), "--mount", "--net", "--wd=/"]
        done = subprocess.run(
            [*enter, "bash", "-euo", "pipefail", "-c", script],
            env=self.environment,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, f"{script}\n{done.returncode}\n{done.stdout}\n{self.log}"
        return done.stdout

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def issue(self, number: int) -> None:
        """A new certificate. A key that replaces another gets its group and its mode, as with certbot."""
        self.sh(ISSUE.replace("NUMBER", str(number)))
        previous = number - 1
        keep = f"--reference=$archive/privkey{previous}.pem $archive/privkey{number}.pem"
        self.sh(f"""
        cd /etc/letsencrypt; archive=archive/{NAME} live=live/{NAME}
        if [ {previous} = 0 ]; then chmod 700 live archive; chmod 600 $archive/privkey1.pem
        else chgrp {keep}; chmod {keep}; fi
        for name in fullchain privkey; do ln -sf ../../$archive/${{name}}{number}.pem $live/$name.pem; done
        """)

    def ready(self, times: int) -> None:
        wait_until(lambda: self.log.count("#info] ready: ") == times, "the server")

    def shown(self, host: str) -> int:
        """The number of the certificate that is shown."""
        said = self.sh(
            f"openssl s_client -connect {host}:995 -servername {NAME} < /dev/null 2> /dev/null |"
            " openssl x509 -noout -serial"
        )
        return int(said.strip().removeprefix("serial="), 16)

    def close(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.folder / "pid").read_text()), signal.SIGTERM)
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def machine(nobodys_folder: Path) -> Iterator[Machine]:
    for program in ("openssl", "curl", "unshare", "ip", "useradd"):
        need(program)
    if not nobody_can_run_it():
        pytest.skip("nobody may not read this Python, or the project, so that nobody can run it")
    if not Path(sys.executable).with_name("twistd").exists():
        missing("twistd knows the plugin only where the project is installed: pip install -e '.[test]'")
    if any(str(path).startswith(f"{hidden}/") for path in (ROOT, Path(sys.prefix)) for hidden in HIDDEN):
        pytest.skip(f"Python or the project is in one of {', '.join(HIDDEN)}, which the test replaces")
    machine = Machine(nobodys_folder)
    yield machine
    machine.close()


def carry_out(machine: Machine) -> None:
    """The page, block by block. A block of TOML is added to the configuration."""
    for block in blocks(PAGE):
        if block.heading == IN_A_CONTAINER:
            continue  # for test_container
        if block.kind == "toml":
            machine.sh(f"cat >> /etc/mailserver/mailserver.toml <<'END'\n\n{block.text}END")
            continue
        assert block.kind == "sh"
        assert "Traceback" not in machine.sh(installed(block))
        if "enable --now" in block.text:
            machine.ready(1)


def installed(block: Block) -> str:
    """A block without the lines that install."""
    return "\n".join(
        line for line in block.text.splitlines() if "pip install" not in line and "venv" not in line
    )


def test_set_up_in_readme(machine: Machine) -> None:
    [block] = [block for block in blocks(ROOT / "README.md", SET_UP) if block.kind == "sh"]
    machine.sh(installed(block), given="correct horse\n")
    listed = machine.sh("/opt/mailserver/bin/mailserver account list")
    assert listed == "postmaster@example.org: argon2\n"
    assert "exists; nothing is changed" in machine.sh(
        "/opt/mailserver/bin/mailserver init --yes --domain x.org", 1
    )


def test_production(machine: Machine) -> None:
    machine.issue(1)
    carry_out(machine)
    user = machine.sh("id -u mailserver").strip()
    pid = (machine.folder / "pid").read_text().strip()
    assert re.search(rf"^Uid:\t{user}\t{user}\t", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert "#warn" not in machine.log and "#error" not in machine.log, machine.log
    assert machine.sh("/opt/mailserver/bin/mailserver verify").endswith("all well\n")

    for host in ("127.0.0.1", "[::1]"):
        machine.sh(SEND.replace("HOST", host))
    read = "curl -sSk pop3s://[::1]:995/NUMBER --user 'alice:correct horse'"
    assert "Good morning." in machine.sh(read.replace("NUMBER", "2"))

    # a renewal, without a restart
    assert (machine.shown("127.0.0.1"), machine.shown("[::1]")) == (1, 1)
    machine.issue(2)
    assert machine.sh("systemctl reload mailserver") == "configuration reloaded\n"
    assert machine.shown("[::1]") == 2
    machine.issue(3)
    wait_until(lambda: machine.log.count("certificate in force") == 3, "the look at the files")
    assert machine.shown("127.0.0.1") == 3

    # a reload with a mistake
    machine.sh("sed -i 's/^domains = /domain = /' /etc/mailserver/mailserver.toml")
    said = machine.sh("/opt/mailserver/bin/mailserver reload", status=1)
    assert "configuration refused, the old one stays in force: " in said and "domain" in said
    assert "Good morning." in machine.sh(read.replace("NUMBER", "1"))
    machine.sh(r"sed -i 's/^domain = \[/domains = [/' /etc/mailserver/mailserver.toml")
    machine.sh("systemctl reload mailserver")

    # a restart
    machine.sh("systemctl restart mailserver")
    machine.ready(2)
    assert "Good morning." in machine.sh(read.replace("NUMBER", "2"))
    assert machine.shown("[::1]") == 3

    # without the lines about the key, what happens is said
    machine.sh("chmod 700 /etc/letsencrypt/live")
    said = machine.sh("systemctl reload mailserver", status=1)
    key = f"/etc/letsencrypt/live/{NAME}/privkey.pem"
    assert f'tls.private_key: cannot read "{key}": Permission denied' in said
    machine.sh("systemctl restart mailserver")
    machine.ready(3)
    assert f"{key}: the server's user cannot read it (Permission denied)" in machine.log
    machine.sh("systemctl stop mailserver")
