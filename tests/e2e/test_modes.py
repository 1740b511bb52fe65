"""What the server keeps is for its user alone, whatever the umask that it was started with."""

import stat

import pytest

from tests.support.corpus.messages import MESSAGES
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import ROOT, Makes, configuration, launch_python
from tests.support.runs import rest_slow

LARGE = b"Subject: large\r\n\r\n" + (b"x" * 998 + b"\r\n") * 9000  # more than stays in memory
KEPT = {
    *("lock", "control.sock", "mail", "tmp", "accounts.db", "accounts.db-wal", "accounts.db-shm"),
    *("spool/queue.db", "spool/queue.db-wal", "spool/queue.db-shm"),
    *("tls/ca.pem", "tls/certificate.pem", "tls/private_key.pem"),
}


@pytest.mark.parametrize("umask", rest_slow(["000", "077"]))
def test_all_that_is_kept(make_server: Makes, umask: str) -> None:
    script = f'umask {umask}; cd "$0"; exec "$@"'
    config = configuration(tables="[tls]\ngenerate = true\n")
    server = make_server(
        config, launch=lambda *options: ["sh", "-c", script, str(ROOT), *launch_python(*options)]
    )
    server.log_file.touch()
    server.start()
    Mailbox(server, "alice").fill(MESSAGES["plain"])
    server.kill()
    database = server.data / "spool/queue.db"
    database.with_name("queue.db-wal").unlink()
    database.write_bytes(b"no database\n" * 1000)
    server.start()
    for name in ("alice", "bob"):
        Mailbox(server, name).fill(MESSAGES["plain"], LARGE)
    found = {path.relative_to(server.data).as_posix(): path for path in server.data.rglob("*")}
    modes = {name: path.lstat().st_mode for name, path in found.items()}
    assert modes.keys() >= KEPT
    assert sum(name.startswith("damaged/") for name in modes) >= 2
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    wrong = {
        name: stat.filemode(mode)
        for name, mode in modes.items()
        if stat.S_IMODE(mode) != (0o700 if stat.S_ISDIR(mode) else 0o600)
    }
    assert wrong == {}
