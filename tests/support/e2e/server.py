"""A mail server process for a test: its configuration, its start, its ports, its log, its end.

Not for tests of one room, which need no process. It knows nothing of the server but what is fixed for
everybody: the command line, the configuration file, the ready file, signals and exit status.
"""

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self

from tests.support.e2e.forked import Forked
from tests.support.e2e.pids import children, is_locked
from tests.support.e2e.programs import missing

ROOT = Path(__file__).parents[3]
DOMAIN = "example.org"
PASSWORD = "correct horse"
ACCOUNTS = ("alice", "bob", "carol")
START_SECONDS = 60.0
# Of servers whose tests do not care. The tests for clients must pass with more, too.
WORKERS = int(os.environ.get("TEST_WORKERS", "1"))
ENGINE = os.environ.get("TEST_ENGINE", "maildir")
STOP_SECONDS = 60.0

# For a server whose reactor has no network: mail of strangers would wait for DNS.
UNCHECKED = '[policy]\nspf = "off"\ndkim = "off"\ndmarc = "off"\n'

BOTH = (("smtp", "tcp:0:interface=127.0.0.1"), ("pop3", "tcp:0:interface=127.0.0.1"))
ROUTES = """
[[alias]]
address = "sales@example.org"
to = ["alice@example.org"]

[[list]]
address = "club@example.org"
members = ["alice@example.org", "bob@example.org"]
"""


def configuration(
    *,
    top: str = "allow_root = true",
    listen: Sequence[tuple[str, ...]] = BOTH,
    accounts: Sequence[str] = ACCOUNTS,
    passwords: Mapping[str, str] = {},
    plaintext_auth: bool = True,
    pop3: str = "",
    tables: str = ROUTES,
) -> str:
    """A configuration file's text.

    ``top`` are further top-level keys; ``listen`` has protocol, endpoint and, if there is any, the kind
    of TLS; ``accounts`` are local parts, and ``passwords`` those, as they are configured, that are not
    :data:`PASSWORD`; ``plaintext_auth`` and ``pop3`` are for [pop3]; ``tables`` is whatever else, at the end.
    Clients are strangers unless ``tables`` has a section [relay].
    """
    lines = ['hostname = "mail.example.org"', 'data = "data"', f'domains = ["{DOMAIN}"]', top]
    if "workers" not in top:
        lines += [f"workers = {WORKERS}"]
    for protocol, endpoint, *tls in listen:
        lines += ["[[listen]]", f'protocol = "{protocol}"', f'endpoint = "{endpoint}"']
        lines += [f'tls = "{tls[0] if tls else "none"}"']
    lines += ["[pop3]", f"plaintext_auth = {str(plaintext_auth).lower()}", pop3]
    for name in accounts:
        password = passwords.get(name, PASSWORD)
        lines += ["[[account]]", f'address = "{name}@{DOMAIN}"', f'password = "{password}"']
    if "[relay]" not in tables:
        lines += ["[relay]", "networks = []"]
    return "\n".join([*lines, tables])


def launch_python(*options: str) -> list[str]:
    """``python -m twisted`` works in a checkout, without anything installed."""
    return [sys.executable, "-m", "twisted", "--log-format=text", "mailserver", *options]


def launch_forked(*options: str) -> list[str]:
    """The same, where :class:`Server` forks a process that has imported everything."""
    return launch_python(*options)


def launch_forked_twistd(*options: str) -> list[str]:
    """``twistd`` in a checkout, forked in the same way."""
    return ["twistd", "-n", "--pidfile=", "mailserver", *options]


def launch_twistd(*options: str, twistd: Sequence[str] = ()) -> list[str]:
    """``twistd`` shows the plugin where the project is installed; skips the test where it is not."""
    program = Path(sys.executable).with_name("twistd")
    try:
        importlib.metadata.distribution("mailserver")
    except importlib.metadata.PackageNotFoundError:
        missing("twistd knows the plugin only where the project is installed: pip install -e '.[test]'")
    return [str(program), "-n", "--pidfile=", *twistd, "mailserver", *options]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Ask again and again until the answer is true, and return it; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return answer


class Server:
    """One server on one directory. ``start`` and the end may alternate; the data stays."""

    def __init__(
        self, directory: Path, config: str | None = None, launch: Callable[..., list[str]] = launch_forked
    ) -> None:
        self.directory = directory
        self.config = directory / "mailserver.toml"
        self.data = directory / "data"
        self.ready = directory / "ready.json"
        self.log_file = directory / "server.log"
        self.launch = launch
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.listeners: list[dict[str, Any]] = []
        self.configure(configuration() if config is None else config)

    def configure(self, text: str) -> None:
        """Replace the configuration file; a running server does not know yet."""
        if ENGINE == "postgresql" and "[storage]" not in text:
            text += f'\n[storage]\nengine = "postgresql"\nurl = "{self._database}"\n'
        self.config.write_text(text)

    @cached_property
    def _database(self) -> str:
        """The URL of a database of its own."""
        from tests.support.pgbouncer import new_url  # it starts a server

        return new_url()

    # Start

    def command(self) -> list[str]:
        return self.launch("--config", str(self.config), "--ready-file", str(self.ready))

    def surroundings(self) -> dict[str, Any]:
        """In a checkout the folder matters; our environment must not configure the server."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MAILSERVER__")}
        in_checkout = launch_python, launch_forked, launch_forked_twistd
        folder = ROOT if self.launch in in_checkout else self.directory
        return {"cwd": folder, "env": clean, "stdin": subprocess.DEVNULL}

    def spawn(self) -> None:
        """Start the process and do not wait for it."""
        assert self.process is None
        self.ready.unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self.process = self._launched(log.fileno(), log.fileno())

    def _launched(self, stdout: int, stderr: int) -> subprocess.Popen[bytes] | Forked:
        command, surroundings = self.command(), self.surroundings()
        words = command[2:] if command[1] == "-m" else command
        if (self.launch, words[0]) in ((launch_forked, "twisted"), (launch_forked_twistd, "twistd")):
            place = {"cwd": surroundings["cwd"], "env": surroundings["env"]}
            return Forked(words, **place, stdout=stdout, stderr=stderr)
        return subprocess.Popen(command, **surroundings, stdout=stdout, stderr=stderr)

    def start(self) -> "Server":
        """Start the process and wait until it serves."""
        self.spawn()
        return self.start_spawned()

    def start_spawned(self) -> "Server":
        """Wait until the process that was started serves."""
        process = self.process
        assert process is not None
        wait_until(lambda: self.ready.exists() or process.poll() is not None, "the ready file", START_SECONDS)
        assert process.poll() is None, f"the server ended with {process.returncode}:\n{self.log}"
        self.listeners = json.loads(self.ready.read_bytes())["listeners"]
        return self

    def refused(self) -> tuple[list[str], list[str]]:
        """Start it, which must fail with exit status 1: the lines on standard error, and those on both."""
        with TemporaryFile() as stdout, TemporaryFile() as stderr:
            code = self._launched(stdout.fileno(), stderr.fileno()).wait(START_SECONDS)
            out, err = (os.pread(file.fileno(), 1 << 20, 0).decode() for file in (stdout, stderr))
        assert code == 1, f"ended with {code}:\n{out}{err}"
        assert "Traceback" not in out + err
        assert not self.ready.exists()
        return err.splitlines(), (out + err).splitlines()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def address(self, protocol: str, tls: str = "") -> tuple[str, int]:
        """Host and port of the first listener of this protocol, and of this kind of TLS if one is given."""
        return next(
            (one["host"], one["port"])
            for one in self.listeners
            if one["protocol"] == protocol and tls in ("", one["tls"])
        )

    @property
    def smtp(self) -> tuple[str, int]:
        return self.address("smtp")

    @property
    def pop3(self) -> tuple[str, int]:
        return self.address("pop3")

    # Log

    @property
    def log(self) -> str:
        """All that the process has written, standard output and standard error, over all its starts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def logged(self, text: str) -> list[str]:
        """Wait for a line with this text in the log: all of them. A worker's comes a moment after a reply."""
        found: list[str] = wait_until(
            lambda: [line for line in self.log.splitlines() if text in line], f"{text!r} in the log"
        )
        return found

    def check_log(self) -> None:
        """No exception went unhandled."""
        for word in ("Traceback", "Unhandled"):
            assert word not in self.log, f"{word} in the server's log:\n{self.log}"

    # End

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the process to end by itself: its return code, negative for a signal."""
        assert self.process is not None
        code = self.process.wait(seconds)
        self.process = None
        return code

    def stop(self) -> None:
        """SIGTERM, which must end it, by that signal and without a traceback."""
        self.signal(signal.SIGTERM)
        code = self.wait()
        assert code == -signal.SIGTERM, f"ended with {code} after SIGTERM:\n{self.log}"
        self.check_log()

    def kill(self) -> None:
        """SIGKILL: what a power cut is to a process, and to its workers."""
        pids = children(self.pid)
        self.signal(signal.SIGKILL)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL
        # A worker that was just being started may be missing in the list.
        wait_until(lambda: not is_locked(self.data / "lock"), "the end of the workers")
        self.check_log()

    def restart(self) -> None:
        """Start again on the same data, after a stop if it still runs."""
        if self.process is not None:
            self.stop()
        self.start()

    def serve(self) -> Iterator[Self]:
        """For a fixture that many tests share: it runs until they are over."""
        try:
            self.start()
            yield self
        finally:
            self.finish()

    def finish(self) -> None:
        """End it if it runs, however the test went; leaves no process behind."""
        process = self.process
        try:
            if process is not None and process.poll() is None:
                self.stop()
            self.check_log()
        finally:
            if process is not None and process.poll() is None:
                pids = children(process.pid)
                process.kill()
                process.wait()
                for pid in pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


class Makes:
    """Makes servers for one test, each in a directory of its own, and ends them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.servers: list[Server] = []

    def __call__(self, config: str | None = None, **options: Any) -> Server:
        """A server, not yet started."""
        directory = self.directory / f"server{len(self.servers)}"
        directory.mkdir()
        server = Server(directory, config, **options)
        self.servers.append(server)
        return server
