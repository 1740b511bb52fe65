"""Databases that are damaged while no server runs: nobody's account is forgotten without a word."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .commands import done, mailserver
from .conftest import Makes
from .dialogue import Smtp
from .server import PASSWORD, Server


def killed_with_an_account(make_server: Makes) -> Server:
    server = make_server().start()
    done(server, "account add dora", given=f"{PASSWORD}\n")
    server.kill()
    server.ready.unlink()
    return server


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (Path.unlink, "is missing"),
        (lambda path: [each.unlink() for each in path.parent.glob("accounts.db*")], "is missing"),
        (lambda path: path.write_bytes(b"garbage\n" * 5000), "file is not a database"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "database disk image is malformed"),
    ],
    ids=["empty", "missing", "all missing", "garbage", "cut"],
)
def test_the_start_is_refused(make_server: Makes, spoil: Callable[[Path], object], reason: str) -> None:
    server = killed_with_an_account(make_server)
    path = server.data / "accounts.db"
    saved = path.read_bytes()
    spoil(path)
    told = f"data: {path}: {reason}; restore it from a backup, or, to begin with an"
    (line,) = server.refused()[0]
    assert line.startswith(f"{server.config}: {told}")
    assert mailserver(server, "account", "list")[0] == 1
    status, lines, _ = mailserver(server, "verify")
    assert (status, len(lines)) == (1, 2)
    assert lines[0] == f"accounts.db: {reason}; would need a backup: the server does not start"
    path.write_bytes(saved)
    server.start()
    assert mailserver(server, "account", "list")[1][-1] == "dora@example.org: argon2"


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"garbage\n" * 5000)])
def test_the_log_of_the_accounts_is_not_needed(make_server: Makes, spoil: Callable[[Path], object]) -> None:
    server = killed_with_an_account(make_server)
    spoil(server.data / "accounts.db-wal")
    server.start()
    with Smtp(server.smtp) as session:
        session.begin("bob@example.org", "dora@example.org")


def test_an_empty_spool_is_set_aside(make_server: Makes) -> None:
    server = make_server().start()
    server.stop()
    (server.data / "spool/queue.db").write_bytes(b"")
    told = "spool/queue.db: is empty; would be set aside in damaged/ at the next start"
    assert mailserver(server, "verify")[1][0] == told
    server.start()
    assert "the spool is damaged: queue.db: is empty; set aside in " in server.log
    (reason,) = server.data.glob("damaged/*.reason")
    assert reason.read_text() == "queue.db: is empty\n"
