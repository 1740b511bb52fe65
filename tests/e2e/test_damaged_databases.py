"""Databases that are damaged while no server runs: nobody's account is forgotten without a word."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.e2e.commands import done, mailserver
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.server import PASSWORD, Makes, Server


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("damaged")).start()
    done(server, "account add dora", given=f"{PASSWORD}\n")
    server.kill()
    server.ready.unlink()
    yield server
    server.finish()


@pytest.fixture
def killed(lasting: Server) -> Iterator[Server]:
    """A server that was killed when it had an account; the files that are spoiled are restored afterwards."""
    saved = {path: path.read_bytes() for path in lasting.data.glob("accounts.db*")}
    yield lasting
    lasting.finish()
    for path in lasting.data.glob("accounts.db*"):
        path.unlink()
    for path, content in saved.items():
        path.write_bytes(content)


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
def test_the_start_is_refused(killed: Server, spoil: Callable[[Path], object], reason: str) -> None:
    server = killed
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
    assert mailserver(server, "account", "list")[1][-1] == "dora@example.org: argon2"


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"garbage\n" * 5000)])
def test_the_log_of_the_accounts_is_not_needed(killed: Server, spoil: Callable[[Path], object]) -> None:
    spoil(killed.data / "accounts.db-wal")
    killed.start()
    with Smtp(killed.smtp) as session:
        session.begin("bob@example.org", "dora@example.org")


def test_an_empty_spool_is_set_aside(make_server: Makes) -> None:
    server = make_server().start()
    server.stop()
    (server.data / "spool/queue.db").write_bytes(b"")
    told = "spool/queue.db: is empty; would be set aside in damaged/ at the next start"
    assert mailserver(server, "verify")[1][0] == told
    server.start()
    server.logged("spool database damaged: queue.db: is empty; moved to ")
    (reason,) = server.data.glob("damaged/*.reason")
    assert reason.read_text() == "queue.db: is empty\n"
