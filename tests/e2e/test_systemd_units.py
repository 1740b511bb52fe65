"""The files for systemd: its own programs judge them, and the service runs under the options of its unit."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.docs.blocks import blocks
from tests.support.e2e.dialogue import HOSTNAME, Smtp
from tests.support.e2e.programs import need
from tests.support.e2e.server import PASSWORD, ROOT, Makes, configuration, launch_twistd
from tests.support.sandbox import ETC, OPT, Sandbox
from tests.support.tls_material import make_ca

pytestmark = pytest.mark.slow
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can set up a machine")
UNITS = ("mailserver.service", "mailserver.socket")
HIGHEST_EXPOSURE = 2.0


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [need(str(command[0])), *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_systemd_finds_no_mistake_in_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        text = (ETC / name).read_text()
        (tmp_path / name).write_text(text.replace(OPT, sys.prefix))
    said = run("systemd-analyze", "verify", *(tmp_path / name for name in UNITS))
    assert str(tmp_path) not in said and "mailserver" not in said, said


def test_the_exposure_is_low() -> None:
    said = run("systemd-analyze", "--no-pager", "security", "--offline=yes", ETC / "mailserver.service")
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", said)
    assert found is not None, said
    assert float(found[1]) <= HIGHEST_EXPOSURE, said


@root_only
def test_the_user_and_the_directories(tmp_path: Path) -> None:
    for name in ("etc", "var/lib"):
        (tmp_path / name).mkdir(parents=True)
    run("systemd-sysusers", f"--root={tmp_path}", ETC / "mailserver.sysusers")
    [line] = (tmp_path / "etc/passwd").read_text().splitlines()
    name, _, uid, gid, _, home, shell = line.split(":")
    assert (name, home, Path(shell).name) == ("mailserver", "/var/lib/mailserver", "nologin")
    config = tmp_path / "etc/mailserver/mailserver.toml"
    config.parent.mkdir()
    config.write_text("")
    run("systemd-tmpfiles", "--create", f"--root={tmp_path}", ETC / "mailserver.tmpfiles")
    found = {path: path.stat() for path in (tmp_path / "var/lib/mailserver", config.parent, config)}
    assert [(one.st_uid, one.st_gid, one.st_mode & 0o7777) for one in found.values()] == [
        (int(uid), int(gid), 0o700),
        (0, int(gid), 0o750),
        (0, int(gid), 0o640),
    ]


def test_the_first_client_starts_the_server(make_server: Makes, tmp_path: Path) -> None:
    """systemd-socket-activate is a small systemd for one service."""
    paths = {name: tmp_path / f"{name}.sock" for name in ("smtp", "pop3")}
    listen = [("smtp", "systemd:domain=UNIX:index=0"), ("pop3", "systemd:domain=UNIX:name=pop3")]
    words = [need("systemd-socket-activate"), f"--fdname={':'.join(paths)}", "-E", "PATH"]
    words += [f"--listen={path}" for path in paths.values()]
    server = make_server(
        configuration(listen=listen), launch=lambda *options: [*words, *launch_twistd(*options)]
    )
    server.spawn()
    while not paths["pop3"].exists():
        assert server.process is not None and server.process.poll() is None, server.log
    with Smtp(str(paths["smtp"])) as session:
        server.start_spawned()
        session.expect(b"QUIT", b"221")
    assert [one["path"] for one in server.listeners] == [str(path) for path in paths.values()]
    server.stop()
    assert all(path.is_socket() for path in paths.values())


# ------------------------------------------------------------ the sandbox

PAGE = ROOT / "docs" / "systemd.md"
SOCKETS = "## Let systemd bind the ports"
# Each line must be refused within the sandbox.
PROBES = f"""
open("/etc/mailserver/x", "w")
open("/usr/x", "w")
open("/run/x", "w")
open("{OPT}/x", "w")
open("/proc/sys/vm/swappiness", "w")
open("/sys/kernel/profiling", "w")
open("/proc/1/cmdline")
open("/dev/kmsg")
open("{{folder}}/setup")
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
socket.socket(socket.AF_INET, socket.SOCK_RAW)
os.setuid(0)
os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
os.chmod("/var/lib/mailserver", 0o4700)
os.chroot("/")
os.kill(1, 0)
unshare()
"""
TRY_ALL = """
import ctypes, os, socket, sys
def unshare():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
for line in sys.argv[1].strip().splitlines():
    try:
        exec(line)
    except OSError:
        continue
    print(line)
"""
ALLOWED = """
import os, socket, tempfile
open("/var/lib/mailserver/x", "w").close()
os.unlink("/var/lib/mailserver/x")
open("/run/mailserver/x", "w").close()
tempfile.TemporaryFile()
socket.create_server(("127.0.0.1", 143))
print(os.listdir("/var/tmp"))
"""


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    """A machine that was set up by the page, with systemd's sockets or without."""
    sockets = getattr(request, "param", False)
    page = [block for block in blocks(PAGE) if sockets or block.heading != SOCKETS]
    folder = tmp_path / "machine"
    folder.mkdir()
    made = Sandbox(folder, page, make_ca(tmp_path).issue(HOSTNAME))
    yield made
    made.close()


@root_only
def test_what_the_sandbox_forbids(sandbox: Sandbox) -> None:
    python = partial(sandbox.run, sys.executable, "-c", confined=True)
    assert python(ALLOWED) == "[]\n"
    # what nobody confines is allowed, or the test would show nothing
    probes = PROBES.format(folder=sandbox.folder)
    assert len(sandbox.run(sys.executable, "-c", TRY_ALL, probes).splitlines()) > 3
    assert python(TRY_ALL, probes) == ""


SEND = """
printf 'Subject: hello\\r\\n\\r\\nGood morning.\\r\\n' |
    curl -sS --retry-connrefused --retry 100 -k --ssl-reqd smtp://[::1]:25 --upload-file - \\
    --mail-from bob@example.net --mail-rcpt alice@example.org
"""


@root_only
@pytest.mark.parametrize("sandbox", [False, True], ids=["ports", "sockets of systemd"], indirect=True)
def test_the_service_runs_in_its_sandbox(sandbox: Sandbox, request: pytest.FixtureRequest) -> None:
    need("curl")
    sockets = request.node.callspec.params["sandbox"]
    sandbox.start(sockets=sockets)
    add = f"echo '{PASSWORD}' | {OPT}/bin/mailserver account add alice@example.org"
    if sockets:
        # The account comes first: the first client starts the server.
        assert sandbox.run("bash", "-ec", add)
        sandbox.run("bash", "-ec", SEND)
    started = sandbox.systemd.next()
    assert started["READY"] == "1", sandbox.said()
    assert sandbox.service is not None
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{sandbox.service.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    port_capability = f"{1 << 10:016x}"
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {port_capability}
    assert status["Uid"].split()[0] == sandbox.run("id", "-u", "mailserver").strip() != "0"

    if not sockets:
        sandbox.run("bash", "-ec", add)
        sandbox.run("bash", "-ec", SEND)
    read = ("curl", "-sSk", "pop3s://127.0.0.1:995/1", "--user", f"alice:{PASSWORD}")
    assert "Good morning." in sandbox.run(*read)

    [reload] = sandbox.unit["ExecReload"]
    assert sandbox.run(*reload.split(), confined=True) == "configuration reloaded\n"
    assert "MONOTONIC_USEC" in sandbox.systemd.next()
    assert sandbox.systemd.next() == {"READY": "1", "STATUS": "configuration reloaded"}
    # root, too, finds the control socket and the credentials
    for words, end in (("verify", "all well\n"), ("config check", "mailserver.toml: no errors\n")):
        assert sandbox.run(f"{OPT}/bin/mailserver", *words.split()).endswith(end)

    sandbox.service.send_signal(signal.SIGTERM)
    assert sandbox.systemd.next()["STOPPING"] == "1"
    assert sandbox.service.wait(60) == -signal.SIGTERM
    for word in ("#warn", "#error", "#critical", "Traceback"):
        assert word not in sandbox.said(), sandbox.said()
