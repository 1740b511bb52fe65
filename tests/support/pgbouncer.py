"""PgBouncer in transaction pooling, from Debian's package, between a server and its database.

It does not pass on ``options`` of a URL, so each test has a database of its own instead of a search path.
"""

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg

from tests.support.docs.blocks import blocks
from tests.support.e2e.programs import need
from tests.support.e2e.server import ROOT, wait_until
from tests.support.postgresql import USER, PostgreSQL, shared

PLACES = 1  # connections of each database, so nobody may need two at a time
(DOCUMENTED,) = [block.text for block in blocks(ROOT / "docs" / "postgresql.md", "## PgBouncer")]
SETTINGS = """
[databases]
* = host={database}

[pgbouncer]
unix_socket_dir = {folder}
listen_port = 5432
auth_type = trust
auth_file = {folder}/users
default_pool_size = {places}
max_client_conn = 300
"""

DEFAULT = "pgbouncer" if os.environ.get("TEST_PGBOUNCER") else "directly"
BOTH = ("directly", "pgbouncer")


class PgBouncer:
    """PgBouncer in a new folder, before ``database``."""

    def __init__(self, folder: Path, database: PostgreSQL) -> None:
        self.folder = folder
        self._database = database
        settings = SETTINGS.format(folder=folder, database=database.folder, places=PLACES)
        (folder / "pgbouncer.ini").write_text(settings + DOCUMENTED)
        (folder / "users").write_text('"mail" ""\n')
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        run = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [*run, need("pgbouncer"), "-q", str(self.folder / "pgbouncer.ini")],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, "the start of PgBouncer")

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self._url("postgres")):
                return True
        except psycopg.OperationalError:
            return False

    def end(self) -> None:
        """End it, whatever its clients do."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def _url(self, name: str) -> str:
        return f"postgresql://mail@/{name}?host={self.folder}"

    def new_database(self) -> str:
        """The URL of a new database."""
        return self._url(self._database.new_database())


@contextmanager
def bouncing(database: PostgreSQL) -> Iterator[PgBouncer]:
    """PgBouncer in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="mailserver-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        bouncer = PgBouncer(folder, database)
        bouncer.start()
        try:
            yield bouncer
        finally:
            bouncer.end()


@cache
def shared_bouncer() -> PgBouncer:
    """PgBouncer before the shared server of PostgreSQL, until this process ends."""
    context = bouncing(shared())
    atexit.register(context.__exit__, None, None, None)
    return context.__enter__()


def new_url(through: str = DEFAULT) -> str:
    """The URL of an empty database on the shared server: directly, or through PgBouncer."""
    if through == "pgbouncer":
        return shared_bouncer().new_database()
    return shared().url(shared().new_space())
