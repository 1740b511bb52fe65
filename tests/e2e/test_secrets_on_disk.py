"""What must stay secret is for the server's user alone; a private key for everybody refuses the start."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.server import ROOT, Makes, Server, configuration, launch_python
from tests.support.runs import rest_slow
from tests.support.tls_material import Issued, make_ca

GENERATE = "[tls]\ngenerate = true\n"
ADMIN = (sys.executable, "-c", "from mailserver.cli.main import main; main()")


def for_everybody(*command: str) -> list[str]:
    """A command whose files the umask would leave to everybody."""
    return ["sh", "-c", 'umask 000; cd "$0"; exec "$@"', str(ROOT), *command]


def add_account(server: Server, name: str) -> None:
    command = for_everybody(*ADMIN, "account", "add", name, "--config", str(server.config))
    done = subprocess.run(command, input=b"secret\n", capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()


def modes(folder: Path) -> dict[str, str]:
    """Everything in a folder, and who may do what with it, as ``ls`` shows that."""
    return {path.name: stat.filemode(path.lstat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize("first", rest_slow(["server", "command"]))
def test_the_account_store_whoever_makes_it(make_server: Makes, first: str) -> None:
    """The server at its start, or a command without a server; with the files that SQLite puts beside it."""
    server = make_server(launch=lambda *options: for_everybody(*launch_python(*options)))
    if first == "command":
        server.data.mkdir(mode=0o700)
        add_account(server, "dora")
        assert modes(server.data)["accounts.db"] == "-rw-------"
    server.start()
    add_account(server, "emil")
    found = {name: mode for name, mode in modes(server.data).items() if name.startswith("accounts.db")}
    assert found == dict.fromkeys(("accounts.db", "accounts.db-wal", "accounts.db-shm"), "-rw-------")
    with Pop3(server.pop3) as session:
        assert session.login("emil", "secret").startswith(b"+OK")


@pytest.mark.slow
def test_a_key_that_the_server_makes(make_server: Makes) -> None:
    server = make_server(
        configuration(tables=GENERATE), launch=lambda *options: for_everybody(*launch_python(*options))
    ).start()
    assert stat.filemode((server.data / "tls").stat().st_mode) == "drwx------"
    made = modes(server.data / "tls")
    assert made.keys() == {"ca.pem", "certificate.pem", "private_key.pem"}
    assert set(made.values()) == {"-rw-------"}
    key = (server.data / "tls" / "private_key.pem").read_bytes()
    server.restart()
    assert (server.data / "tls" / "private_key.pem").read_bytes() == key, "it lasts"


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return make_ca(tmp_path).issue("mail.example.org")


def with_pair(issued: Issued) -> str:
    pair = f'certificate = "{issued.certificate}"\nprivate_key = "{issued.private_key}"\n'
    return configuration(tables=f"[tls]\n{pair}\n[[certificate]]\n{pair}")


def test_a_key_for_everybody_refuses_the_start(make_server: Makes, issued: Issued) -> None:
    """One line on standard error for each place that names the file. Other modes are in tests/net."""
    issued.private_key.chmod(0o604)
    server = make_server(with_pair(issued))
    errors, _ = server.refused()
    assert [line.split(": ")[:2] for line in errors] == [
        [str(server.config), "tls.private_key"],
        [str(server.config), "certificate[1].private_key"],
    ]
    assert all(str(issued.private_key) in line and "mode is 0604" in line for line in errors)
    assert not server.data.exists()
    # what renews certificates seldom runs as the server's user
    issued.private_key.chmod(0o640)
    server.start()


def test_a_key_of_our_own_that_somebody_has_opened_refuses_the_start(make_server: Makes) -> None:
    server = make_server(configuration(tables=GENERATE)).start()
    server.stop()
    key = server.data / "tls" / "private_key.pem"
    key.chmod(0o644)
    server.ready.unlink()
    [line], _ = server.refused()
    assert str(key) in line and "mode is 0644" in line
