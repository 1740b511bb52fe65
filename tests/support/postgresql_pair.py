"""Two servers of PostgreSQL: a primary, and a standby that takes over when a test says so."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.e2e.server import wait_until
from tests.support.postgresql import PostgreSQL

_STATE = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '{}'"
_RECEIVES = "SELECT 1 FROM pg_stat_wal_receiver"


class Replicated:
    """Commits wait for the standby if it is ``synchronous``. What an administrator does, a test calls."""

    def __init__(self, folders: tuple[Path, Path], *, synchronous: bool = True) -> None:
        self.synchronous = synchronous
        self.url = (
            f"postgresql://mail@/postgres?host={folders[0]},{folders[1]}&target_session_attrs=read-write"
        )
        self.primary = PostgreSQL(folders[0])
        self.standby = PostgreSQL(folders[1], empty=True)

    def start(self) -> None:
        """Start both."""
        self.primary.start()
        self.rejoin()

    def pause(self) -> None:
        """The standby receives nothing any more."""
        _set(self.standby, "primary_conninfo", "")
        wait_until(lambda: not self.standby.execute(_RECEIVES), "the end of the receiver")

    def fail(self) -> None:
        """Kill the primary."""
        self.primary.kill()

    def promote(self) -> None:
        """The standby becomes the primary."""
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def rejoin(self) -> None:
        """The server that was killed becomes the new standby.

        The standby waits for nobody when it takes over: it has no ``synchronous_standby_names`` before it has
        a standby itself.
        """
        self.standby.copy(self.primary)
        self.standby.start()
        wait_until(lambda: self.primary.execute(_STATE.format("async")), "the standby")
        if self.synchronous:
            _set(self.primary, "synchronous_standby_names", "*")
            wait_until(lambda: self.primary.execute(_STATE.format("sync")), "the synchronous standby")

    def end(self) -> None:
        """End what runs."""
        for server in (self.primary, self.standby):
            if server.process is not None:
                server.end(signal.SIGQUIT)


def _set(server: PostgreSQL, name: str, value: str) -> None:
    server.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    server.execute("SELECT pg_reload_conf()")


@contextmanager
def replicated(*, synchronous: bool = True) -> Iterator[Replicated]:
    """Both servers in temporary folders."""
    with tempfile.TemporaryDirectory(prefix="mailserver-test-", ignore_cleanup_errors=True) as name:
        folders = Path(name, "one"), Path(name, "two")
        for folder in (Path(name), *folders):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        pair = Replicated(folders, synchronous=synchronous)
        try:
            pair.start()
            yield pair
        finally:
            pair.end()
