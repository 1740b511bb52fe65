"""Real mail filters, each on a unix socket in a folder of the test."""

import pwd
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.e2e.programs import SCRIPTS, missing, need
from tests.support.e2e.server import wait_until

DEBIAN_PYTHON = "/usr/bin/python3"  # Debian's modules are for this one
SECONDS = 60.0

RSPAMD = """
options {
    tempdir = "FOLDER";
    hs_cache_dir = "FOLDER";
    url_tld = "FOLDER/tld.dat";
    control_socket = "FOLDER/control.sock mode=0600";
    rrd = "";
    history_file = "";
    filters = "";
    disable_hyperscan = true;
    enable_test_patterns = true;
    dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }
}
logging { type = "console"; level = "info"; }
worker "rspamd_proxy" {
    bind_socket = "FOLDER/filter.sock mode=0666";
    milter = yes;
    count = 1;
    timeout = 60s;
    upstream "local" { default = yes; self_scan = yes; }
}
actions { reject = 15; add_header = 6; rewrite_subject = 8; subject = "***SPAM*** %s"; }
"""
OPENDKIM = """
Socket local:FOLDER/filter.sock
Mode s
Domain example.org
Selector s1
KeyFile FOLDER/s1.private
UserID USER
InternalHosts FOLDER/internal
Canonicalization relaxed/simple
Background no
AutoRestart no
PidFile FOLDER/opendkim.pid
Syslog no
RequireSafeKeys no
"""
CLAMD = """
LocalSocket FOLDER/clamd.sock
DatabaseDirectory FOLDER/signatures
TemporaryDirectory FOLDER
User USER
Foreground yes
"""
CLAMAV = """
MilterSocket unix:FOLDER/filter.sock
ClamdSocket unix:FOLDER/clamd.sock
TemporaryDirectory FOLDER
User USER
OnInfected ACTION
AddHeader Replace
Foreground yes
"""
VIRUS = b"this text is the virus of the tests"


@contextmanager
def rspamd(folder: Path) -> Iterator[str]:
    """Rspamd without rules, but its test patterns. Yields the destination for ``policy.milter``."""
    program = need("rspamd")
    (folder / "tld.dat").write_text("com\norg\nexample\ntest\n")
    config = folder / "rspamd.conf"
    config.write_text(RSPAMD.replace("FOLDER", str(folder)))
    # It does not run as root without being told so.
    user = pwd.getpwuid(folder.stat().st_uid).pw_name
    with _running(folder, program, "-f", "-i", "-u", user, "-c", str(config)) as destination:
        yield destination


@contextmanager
def opendkim(folder: Path) -> Iterator[str]:
    """OpenDKIM that signs the mail of clients on this machine."""
    program = need("opendkim")
    key = folder / "s1.private"
    subprocess.run(
        [need("openssl"), "genrsa", "-traditional", "-out", str(key), "2048"], check=True, capture_output=True
    )
    key.chmod(0o600)
    (folder / "internal").write_text("127.0.0.0/8\n")
    user = pwd.getpwuid(folder.stat().st_uid).pw_name
    config = folder / "opendkim.conf"
    config.write_text(OPENDKIM.replace("FOLDER", str(folder)).replace("USER", user))
    with _running(folder, program, "-f", "-x", str(config)) as destination:
        yield destination


@contextmanager
def clamav(folder: Path, action: str) -> Iterator[str]:
    """ClamAV's filter, with a clamd that knows nothing but :data:`VIRUS`. ``action``: what it does then."""
    programs = need("clamd"), need("clamav-milter")
    (folder / "signatures").mkdir()
    (folder / "signatures" / "test.ndb").write_text(f"Test.Virus:0:*:{VIRUS.hex()}\n")
    user = pwd.getpwuid(folder.stat().st_uid).pw_name
    for name, text in (("clamd.conf", CLAMD), ("milter.conf", CLAMAV)):
        text = text.replace("FOLDER", str(folder)).replace("USER", user).replace("ACTION", action)
        (folder / name).write_text(text)
    with (
        _running(folder, programs[0], "-c", str(folder / "clamd.conf"), listens="clamd.sock"),
        _running(folder, programs[1], "-c", str(folder / "milter.conf")) as destination,
    ):
        yield destination


@contextmanager
def libmilter(folder: Path) -> Iterator[str]:
    """The filter of ``scripts/milter_filter.py``, on libmilter."""
    if subprocess.run([DEBIAN_PYTHON, "-c", "import Milter"], capture_output=True).returncode:
        missing(f"{DEBIAN_PYTHON} has no pymilter (Debian package python3-milter)")
    script = SCRIPTS / "milter_filter.py"
    with _running(folder, DEBIAN_PYTHON, str(script), str(folder / "filter.sock")) as destination:
        yield destination


@contextmanager
def _running(folder: Path, *command: str, listens: str = "filter.sock") -> Iterator[str]:
    path = folder / listens
    with (
        (folder / f"{listens}.log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(lambda: process.poll() is not None or _answers(path), "the filter", SECONDS)
            assert process.poll() is None, (folder / f"{listens}.log").read_text()
            yield f"unix:{path}"
        finally:
            process.terminate()
            process.wait(SECONDS)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False
