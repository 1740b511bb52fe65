"""A PostgreSQL server of the tests' own, from Debian's package, on a unix socket."""

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path

import psycopg

from tests.support.e2e.pids import children, runs
from tests.support.e2e.programs import missing
from tests.support.e2e.server import wait_until

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
USER = "postgres"  # of the system: root may not run the server
# As in docs/durability.md a crash test ends processes, and cuts no power.
OPTIONS = (
    "fsync=off",
    "listen_addresses=",
    "max_connections=60",
    "shared_buffers=16MB",
    "log_min_messages=fatal",
)


class PostgreSQL:
    """One server in a new folder. ``stop_at_once`` is what a power cut is to it; the data stays."""

    def __init__(self, folder: Path, *, empty: bool = False) -> None:
        """An ``empty`` one has no data before ``copy``."""
        if not BINARIES:
            missing("PostgreSQL is not installed (Debian package postgresql)")
        self.folder = folder
        self.data = folder / "data"
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = count()
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        if not empty:
            self._run(
                "initdb", "--auth=trust", "--username=mail", "--no-sync", "--encoding=UTF8", "--locale=C"
            )

    def _command(self, name: str, *options: str) -> list[str]:
        run = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.geteuid() == 0 else []
        return [*run, str(BINARIES[-1].with_name(name)), "-D", str(self.data), *options]

    def _run(self, name: str, *options: str) -> None:
        done = subprocess.run(self._command(name, *options), cwd=self.folder, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()

    def copy(self, primary: "PostgreSQL") -> None:
        """Become a standby of another server, which runs; this one does not."""
        shutil.rmtree(self.data, ignore_errors=True)
        source = f"--host={primary.folder}", "--username=mail"
        self._run("pg_basebackup", *source, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")

    def promote(self) -> None:
        """End being a standby."""
        self._run("pg_ctl", "promote")

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = [
            word for each in (*OPTIONS, f"unix_socket_directories={self.folder}") for word in ("-c", each)
        ]
        self.process = subprocess.Popen(
            self._command("postgres", *settings), cwd=self.folder, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, "the start of PostgreSQL")

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url()):
                return True
        except psycopg.OperationalError:
            return False

    def end(self, number: signal.Signals) -> None:
        """End it by a signal: SIGINT disconnects its clients, SIGQUIT is its way to crash."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)
        self.process = None

    def stop_at_once(self) -> None:
        """End it without writing anything. The next start recovers from its log."""
        self.end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kill all of its processes."""
        assert self.process is not None
        pids = [self.process.pid, *children(self.process.pid)]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)
        self.process = None
        wait_until(lambda: not any(map(runs, pids)), "the end of PostgreSQL")

    def url(self, space: str = "") -> str:
        """The URL of a database that is empty for each ``space``."""
        options = f"&options=-csearch_path%3D{space}" if space else ""
        return f"postgresql://mail@/postgres?host={self.folder}{options}"

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement, and return its rows if there are any."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_space(self) -> str:
        """The name of a new space."""
        name = f"space{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return name

    def new_database(self) -> str:
        """The name of a new database."""
        name = f"database{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name


@cache
def shared() -> PostgreSQL:
    """A server that runs until this process ends."""
    server = running()
    atexit.register(server.__exit__, None, None, None)
    return server.__enter__()


@contextmanager
def running() -> Iterator[PostgreSQL]:
    """A server in a temporary folder, which everybody may reach."""
    with tempfile.TemporaryDirectory(prefix="mailserver-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = PostgreSQL(folder)
        try:
            server.start()
            yield server
        finally:
            if server.process is not None:
                server.end(signal.SIGINT)
