"""etc/Containerfile and the commands of docs/installation.md for it, without a container engine.

The steps of the file are done in an overlay of the file system, where a new virtual environment is
what the base image has in /usr/local. The server is process 1 of a namespace, as in a container; its ports
are those of a network of its own. Volumes, names and published ports have no effect.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.docs.blocks import IN_A_CONTAINER, blocks
from tests.support.e2e.programs import need, nobody_can_run_it
from tests.support.e2e.server import ROOT, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces and overlays"),
]

FILE = ROOT / "etc" / "Containerfile"
PREFIX = "/srv/python"
PREPARE = """
mount -t tmpfs none "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/up",workdir="$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
chroot "$1/root" "$2" -m venv "$3"
echo ready
exec sleep infinity
"""
START = """
mount -t proc proc "$1/proc"
ip link set lo up
echo 25 > "$1/proc/sys/net/ipv4/ip_unprivileged_port_start"
exec chroot --userspec="$2" "$1" "${@:3}"
"""
USE = """
printf 'Subject: hello\\r\\n\\r\\nGood morning, Alice.\\r\\n' |
  curl -sS --ssl-reqd --cacert /data/data/tls/ca.pem smtp://localhost --mail-from bob@example.net \\
    --mail-rcpt alice@example.org --upload-file -
curl -sS --cacert /data/data/tls/ca.pem pop3s://localhost/1 --user 'alice:correct horse'
"""


class Image:
    """A root file system, the steps of a Containerfile in it, and its container. ``folder`` is empty."""

    def __init__(self, folder: Path) -> None:
        self.mount = folder / "mount"
        self.mount.mkdir()
        self.root = self.mount / "root"
        self.log_file = folder / "log"
        self.user = "root"
        self.steps: dict[str, str] = {}
        self.environment = {
            **os.environ,
            "PATH": f"{PREFIX}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "MAILSERVER__DNS__SERVERS": "127.0.0.1:9",
            "PIP_NO_COMPILE": "1",  # takes longer than to compile what is used
        }
        python = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
        words = [
            "unshare",
            "--mount",
            "bash",
            "-ec",
            PREPARE,
            "prepare",
            str(self.mount),
            str(python),
            PREFIX,
        ]
        self.holder = subprocess.Popen(words, stdout=subprocess.PIPE, env=self.environment, text=True)
        self.server: subprocess.Popen[bytes] | None = None
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != "ready\n":
            self.close()
            pytest.fail("the root file system cannot be made")

    def enter(self, pid: int, *spaces: str) -> list[str]:
        return ["nsenter", "--target", str(pid), "--mount", *spaces]

    def call(self, *command: str, given: str = "") -> str:
        """Run a command, which must succeed."""
        done = subprocess.run(
            command, env=self.environment, input=given, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def build(self, context: Path) -> None:
        """Do the steps. ``context`` is the folder of their files."""
        text = re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.MULTILINE).replace("\\\n", "")
        for line in filter(None, text.splitlines()):
            step, _, rest = line.partition(" ")
            if step == "RUN":
                chroot = ["chroot", f"--userspec={self.user}", str(self.root)]
                self.call(*self.enter(self.holder.pid), *chroot, "sh", "-c", rest)
            elif step == "COPY":
                source, target = rest.split()
                shutil.copytree(context / source, Path(f"/proc/{self.holder.pid}/root{self.root}{target}"))
            elif step == "USER":
                self.user = rest
            self.steps[step] = rest

    def container(self, *command: str) -> list[str]:
        """The words that run a command as the first process of a container."""
        spaces = [
            "unshare",
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "bash",
            "-ec",
            START,
            "start",
        ]
        return [*self.enter(self.holder.pid), *spaces, str(self.root), self.user, *command]

    def start(self) -> None:
        with self.log_file.open("wb") as log:
            command = self.container(*json.loads(self.steps["CMD"]))
            server = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.server = server
        wait_until(lambda: "#info] ready: " in self.log or server.poll() is not None, "the server")
        assert server.poll() is None, self.log

    def execute(self, *command: str) -> str:
        """Run a command beside the server."""
        spaces = self.enter(self.pid, "--net", "--pid")
        return self.call(*spaces, "chroot", f"--userspec={self.user}", str(self.root), *command)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def pid(self) -> int:
        """The first process of the container, as seen from outside."""
        assert self.server is not None
        parent = self.server.pid
        return int(Path(f"/proc/{parent}/task/{parent}/children").read_text())

    def close(self) -> None:
        for process in (self.server, self.holder):
            if process is not None:
                process.kill()
                process.communicate()


@pytest.fixture
def image(nobodys_folder: Path) -> Iterator[Image]:
    for program in ("unshare", "nsenter", "ip", "useradd", "curl"):
        need(program)
    if not nobody_can_run_it():
        pytest.skip("nobody may not read this Python, so that the user of the container cannot run it")
    image = Image(nobodys_folder)
    yield image
    image.close()


def test_the_image(image: Image, tmp_path: Path) -> None:
    [block] = blocks(ROOT / "docs" / "installation.md", IN_A_CONTAINER)
    for line in block.text.replace("\\\n", "").splitlines():
        given, words = "", shlex.split(line)
        if words[0] == "echo":
            given, words = words[1], words[words.index("|") + 1 :]
        match words:
            case ["pip", "wheel", *_, "dist", "."]:
                wheel = ["pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(tmp_path / "dist"), str(ROOT)]
                image.call(sys.executable, "-m", *wheel)
            case ["podman", "build", "--file", "etc/Containerfile", *_]:
                image.build(tmp_path)
            case ["podman", "run", "--rm", *_]:
                command = words[words.index("mailserver") + 1 :]
                said = image.call(*image.container(*command), given=f"{given}\n")
                assert "Configuration: /data/mailserver.toml" in said
            case ["podman", "run", "--detach", *_, "mailserver"]:
                image.start()
            case _:
                pytest.fail(f"nobody runs this: {line}")

    assert re.search(r"^Uid:\t825\t825\t", Path(f"/proc/{image.pid}/status").read_text(), re.MULTILINE)
    health = image.steps["HEALTHCHECK"].partition("CMD ")[2]
    image.execute(*json.loads(health))
    assert "Good morning, Alice." in image.execute("bash", "-euo", "pipefail", "-c", USE)
    reload = ("mailserver", "reload", "--config", "/data/mailserver.toml")
    assert image.execute(*reload) == "configuration reloaded\n"
    assert "#warn" not in image.log and "#error" not in image.log, image.log

    assert image.steps["STOPSIGNAL"] == "SIGTERM"
    os.kill(image.pid, signal.SIGTERM)
    assert image.server is not None and image.server.wait(60) == 0, image.log


def test_the_base_image_has_a_python_that_is_named() -> None:
    found = re.search(r"^FROM docker\.io/library/python:([\d.]+)-slim$", FILE.read_text(), re.MULTILINE)
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert found is not None and f"Programming Language :: Python :: {found[1]}" in classifiers
