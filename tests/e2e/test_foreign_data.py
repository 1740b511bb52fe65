"""Data that another user owns or could change, as after a restore; a disk that is too small."""

import os
import pwd
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.e2e.commands import begin, end, mailserver
from tests.support.e2e.programs import nobody_can_run_it
from tests.support.e2e.server import Makes, Server, configuration, launch_twistd, wait_until
from tests.support.runs import rest_slow

NOBODY = pwd.getpwnam("nobody").pw_uid
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has made its data and stopped; each test leaves the data as they were."""
    server = Server(tmp_path_factory.mktemp("stopped")).start()
    server.stop()
    server.ready.unlink()
    yield server
    server.finish()


@pytest.mark.parametrize(
    ("place", "mode"),
    [
        (".", 0o777),
        (".", 0o770),
        (".", 0o702),
        ("accounts.db", 0o666),
        ("spool/queue.db", 0o620),
        ("tmp", 0o1777),
    ],
)
def test_data_that_others_can_change(stopped: Server, place: str, mode: int) -> None:
    path = stopped.data / place
    path.chmod(mode)
    wrong = f"can be changed by other users, its mode is {mode:04o}"
    told = f"{stopped.config}: data: {path} {wrong}; fix it with: chmod go-w {path}"
    assert stopped.refused()[0] == [told]
    status, lines, _ = mailserver(stopped, "verify")
    assert (status, lines[0]) == (1, f"{place}: {wrong}; would be fixed by chmod go-w {path}")
    for each in (path, *path.parent.glob(f"{path.name}-*")):  # verify has made some beside a database
        each.chmod(0o700 if each.is_dir() else 0o600)
    assert mailserver(stopped, "verify")[0] == 0


@needs_root
@pytest.mark.parametrize("place", [".", "accounts.db", "spool", "spool/queue.db", "lock", "srs.keys"])
def test_data_of_another_user(stopped: Server, place: str) -> None:
    path = stopped.data / place
    os.chown(path, NOBODY, -1)
    told = f"data: {path} belongs to nobody, not to the server's user root; fix it with: chown -R root {path}"
    assert stopped.refused()[0] == [f"{stopped.config}: {told}"]
    for each in (path, *path.parent.glob(f"{path.name}-*")):  # who reads a database makes some beside it
        os.chown(each, 0, -1)
    assert mailserver(stopped, "verify")[0] == 0


@needs_root
@pytest.mark.parametrize("mode", rest_slow([0o700, 0o755]))
def test_data_that_was_restored_by_root(nobodys_folder: Path, mode: int) -> None:
    if not nobody_can_run_it():
        pytest.skip("nobody may not read this Python, or the project, so that nobody can run it")
    launch = partial(launch_twistd, twistd=("--uid", "nobody", "--gid", "nogroup"))
    server = Server(nobodys_folder, configuration(top=""), launch)
    (server.data / "mail/example.org/alice/new").mkdir(parents=True, mode=0o700)
    server.data.chmod(mode)
    told = (
        f"data: {server.data} belongs to root, not to the server's user nobody; fix it with: chown -R nobody"
    )
    [line] = server.refused()[0]
    assert line == f"{server.config}: {told} {server.data}"
    status, lines, _ = mailserver(server, "verify")
    assert status == 1
    assert lines[0] == ".: belongs to root, but the server does not run as root; would be given to its user"
    for path in (server.data, *server.data.rglob("*")):
        shutil.chown(path, "nobody")
        path.chmod(0o700)
    (server.data / "lock").chmod(0o600)
    # mail alone is still root's
    os.chown(server.data / "mail", 0, -1)
    os.chown(server.data / "mail/example.org/alice/new", 0, -1)
    status, lines, _ = end(begin(server, "verify"))
    assert status == 1
    assert [line.partition(":")[0] for line in lines[:1]] == ["mail"]
    os.chown(server.data / "mail", NOBODY, -1)
    try:
        server.start()
        wrong = f"belongs to user 0, not to the server's {NOBODY}"
        wait_until(lambda: f"alice/new {wrong}; would be given to" in server.log, "the warning")
        assert f"mail/example.org/alice/new: {wrong}; would be given to the server's user" in "\n".join(
            mailserver(server, "verify")[1]
        )
    finally:
        server.finish()


def test_the_start_warns_of_mail_that_nobody_sees(make_server: Makes) -> None:
    server = make_server()
    for name in ("o'brien", "Alice", "joe=x", "bob"):
        for folder in ("cur", "new", "tmp"):
            path = server.data / "mail/example.org" / name / folder
            path.mkdir(parents=True, mode=0o700)
    for path in server.data.glob("mail/**/"):
        path.chmod(0o700)
    told = {"o'brien": "o%27brien", "Alice": "alice", "joe=x": "joe%3dx"}
    server.start()
    wrong = "is not the name of a mailbox, so its mail is not served"
    for name, right in told.items():
        line = f"mail/example.org/{name} {wrong}; would be moved to example.org/{right}"
        wait_until(lambda line=line: line in server.log, line)  # type: ignore[misc]
    status, lines, _ = mailserver(server, "verify")
    assert (status, len(lines)) == (1, 4)
    assert f"mail/example.org/Alice: {wrong}; would be moved to example.org/alice" in lines


@pytest.mark.parametrize(("reserve", "warns"), [("1000000 GiB", True), ("0", False), ("1 MiB", False)])
def test_the_start_warns_of_a_disk_smaller_than_the_reserve(
    make_server: Makes, reserve: str, warns: bool
) -> None:
    server = make_server(configuration(tables=f'[storage]\nreserve = "{reserve}"\n')).start()
    mailserver(server, "reload")  # by its reply, all of the start is in the log
    assert ("storage.reserve keeps 1024000000 MiB free: all mail is deferred (452)" in server.log) == warns
