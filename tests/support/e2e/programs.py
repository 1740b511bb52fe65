"""The client programs: finding them, and running them away from anybody's own settings.

A missing program skips the test and says which Debian package has it; under ``CI=true`` it fails.
"""

import os
import pwd
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import attrs
import pytest

SCRIPTS = Path(__file__).with_name("scripts")
PACKAGES = {
    "curl": "curl",
    "swaks": "swaks",
    "msmtp": "msmtp",
    "mpop": "mpop",
    "fetchmail": "fetchmail",
    "getmail": "getmail6",
    "s-nail": "s-nail",
    "perl": "perl",
    "node": "nodejs",
    "npm": "npm",
    "smtp-source": "postfix",
    "smtp-sink": "postfix",
    "doveadm": "dovecot-core",
    "unbound": "unbound",
    "named-checkzone": "bind9-utils",
    "dovecot": "dovecot-core",
    "/usr/lib/dovecot/pop3": "dovecot-pop3d",
    "/usr/lib/dovecot/imap": "dovecot-imapd",
    "mutt": "mutt",
    "git": "git",
    "openssl": "openssl",
    "gsasl": "gsasl",
    "sslscan": "sslscan",
    "nmap": "nmap",
    "unshare": "util-linux",
    "ip": "iproute2",
    "useradd": "passwd",
    **dict.fromkeys(("nsenter", "setpriv", "prlimit"), "util-linux"),
    **dict.fromkeys(
        ("systemd-analyze", "systemd-socket-activate", "systemd-sysusers", "systemd-tmpfiles"), "systemd"
    ),
    "man": "man-db",
    "mandoc": "mandoc",
    "ruby": "ruby",
    "php": "php-cli",
    "go": "golang-go",
    "cc": "gcc",
    "java": "default-jdk-headless",
    "rspamd": "rspamd",
    "opendkim": "opendkim",
    "clamd": "clamav-daemon",
    "clamav-milter": "clamav-milter",
    "promtool": "prometheus",
    "journalctl": "systemd",
    "/lib/systemd/systemd-journald": "systemd",
    "rsyslogd": "rsyslog",
    "pgbouncer": "pgbouncer",
}
PERL_MODULES = {
    "IO::Socket::SSL": "libio-socket-ssl-perl",
    "Authen::SASL": "libauthen-sasl-perl",
    "Mail::SRS": "libmail-srs-perl",
}
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


def missing(reason: str) -> NoReturn:
    """Skip the test for this reason, or fail it where everything is said to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, but: {reason}", pytrace=False)
    pytest.skip(reason)


def need(program: str) -> str:
    """The program's path."""
    path = shutil.which(program, path=SEARCH)
    if path is None:
        missing(f"{program} is not installed (Debian package {PACKAGES[program]})")
    return path


def need_perl(*modules: str) -> str:
    """Perl's path, if it has these modules of :data:`PERL_MODULES`."""
    perl = need("perl")
    for module in modules:
        if not _perl_has(perl, module):
            missing(f"Perl has no {module} (Debian package {PERL_MODULES[module]})")
    return perl


@cache
def _perl_has(perl: str, module: str) -> bool:
    return subprocess.run([perl, f"-M{module}", "-e", "1"], capture_output=True).returncode == 0


def need_node_modules(name: str) -> dict[str, str]:
    """The environment in which ``node`` finds a module: by NODE_PATH, or among npm's global modules."""
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    if not any(folder and (Path(folder) / name).is_dir() for folder in folders):
        folders = [_global_node_modules(need("npm"))]
        if not (Path(folders[0]) / name).is_dir():
            missing(f"{name} is in neither NODE_PATH nor npm's global folder (npm install -g {name})")
    return {"NODE_PATH": os.pathsep.join(folders)}


@cache
def _global_node_modules(npm: str) -> str:
    return subprocess.run([npm, "root", "-g"], capture_output=True, text=True, timeout=60).stdout.strip()


@cache
def nobody_can_run_it() -> bool:
    """For root: whether the user ``nobody`` may read this Python and the project."""
    probe = [sys.executable, "-c", "import twisted, mailserver"]
    try:
        done = subprocess.run(probe, cwd="/", user="nobody", extra_groups=[], capture_output=True)
    except PermissionError:
        return False
    return done.returncode == 0


def surroundings(home: Path, env: dict[str, str] | None, user: str | None) -> dict[str, Any]:
    """Arguments of :class:`subprocess.Popen`: this home, no settings but these, and for root another user."""
    return {
        "cwd": home,
        "env": {"PATH": SEARCH, "HOME": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC", **(env or {})},
        "user": user,
        "group": pwd.getpwnam(user).pw_gid if user else None,
        "extra_groups": [] if user else None,
    }


def run(
    home: Path,
    *command: str | Path,
    input: bytes = b"",
    env: dict[str, str] | None = None,
    status: int | None = 0,
    user: str | None = None,
    seconds: float = 120.0,
) -> subprocess.CompletedProcess[bytes]:
    """Run a client with ``home`` as its home and working directory; check its exit status.

    ``user`` is for root, who can run it as somebody else.
    """
    around = surroundings(home, env, user)
    done = subprocess.run(command, input=input, capture_output=True, timeout=seconds, **around)
    said = f"{command[0]} ended with {done.returncode}\n{_tail(done.stdout)}\n{_tail(done.stderr)}"
    assert status is None or done.returncode == status, said
    return done


@attrs.frozen
class Ran:
    """How a client ended, what it said, and the messages it has by now, with LF line ends."""

    status: int
    said: str
    got: list[bytes] = attrs.field(factory=list)

    def check(self, status: int | None, *said: str) -> "Ran":
        """It ended so, if that is known, and said all of this."""
        assert status in (None, self.status), f"ended with {self.status}:\n{self.said}"
        for part in said:
            assert part in self.said
        return self


def client(home: Path, *command: str | Path, got: Path | None = None, **more: Any) -> Ran:
    done = run(home, *command, status=None, **more)
    kept = [file.read_bytes() for file in sorted(got.iterdir())] if got else []
    return Ran(done.returncode, (done.stdout + done.stderr).decode(errors="replace"), kept)


def _tail(output: bytes) -> str:
    return output[-4000:].decode(errors="replace")
