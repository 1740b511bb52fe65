"""``mailserver reload`` and ``mailserver verify``, with a running server and without one."""

import json
import os
import shutil
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.control.channel import socket_name
from tests.support.corpus.messages import MESSAGES
from tests.support.e2e.commands import Ended, begin, end, mailserver, settled
from tests.support.e2e.dialogue import Pop3
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import (
    ACCOUNTS,
    PASSWORD,
    ROOT,
    Makes,
    Server,
    configuration,
    launch_python,
    wait_until,
)
from tests.support.runs import rest_slow

WELL = "all well"
OURS = "1700000000.M000001P1Q1R0123456789ab.host"


def run(server: Server, *words: str) -> Ended:
    """Run the command in this process."""
    return settled(mailserver(server, *words))


def control(server: Server) -> Path:
    return server.data / "control.sock"


def logs_in(server: Server, name: str) -> bool:
    with Pop3(server.pop3) as session:
        return session.login(f"{name}@example.org", PASSWORD).startswith(b"+OK")


# ------------------------------------------------------------ reload


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from Server(tmp_path_factory.mktemp("control")).serve()


@pytest.fixture
def house(lasting: Server) -> Server:
    """A running server that some tests share; each finds it as it was at first."""
    lasting.configure(configuration())
    assert run(lasting, "reload")[0] == 0
    return lasting


def test_reload(house: Server) -> None:
    assert not logs_in(house, "dora")
    house.configure(configuration(accounts=[*ACCOUNTS, "dora"]))
    assert run(house, "reload") == (0, ["configuration reloaded"], [])
    assert logs_in(house, "dora")


def test_reload_names_what_needs_a_restart(house: Server) -> None:
    text = configuration(top='allow_root = true\nstop_grace = "7s"', tables="[smtp]\nmax_recipients = 700")
    house.configure(text.replace("mail.example.org", "new.example.org"))
    told = "configuration reloaded, but a restart is needed for: hostname, stop_grace"
    assert run(house, "reload") == (0, [told], [])
    assert len(house.logged(told)) == 1


def test_reload_refused(house: Server) -> None:
    house.configure(configuration(accounts=ACCOUNTS[:1], tables="[smtp]\nmax_recipient = 5\nnonsense = 1\n"))
    status, out, [line] = run(house, "reload")
    assert (status, out) == (1, [])
    told = line.removeprefix("mailserver: ")
    assert told.startswith("configuration refused, the old one stays in force: ")
    assert "max_recipient" in told
    assert "nonsense" in told
    assert len(house.logged(told)) == 1
    assert logs_in(house, "carol")


def test_the_log_has_the_same_after_a_signal(house: Server) -> None:
    house.configure(configuration().replace("mail.example.org", "new.example.org"))
    _, [told], _ = run(house, "reload")
    house.signal(signal.SIGHUP)
    wait_until(lambda: house.log.count(told) == 2, "the same event again")


def test_reload_without_a_server(make_server: Makes) -> None:
    server = make_server()
    told = [f"mailserver: no server runs on {server.data}"]
    assert run(server, "reload") == (1, [], told)
    server.start()
    server.kill()
    assert control(server).exists()
    assert run(server, "reload") == (1, [], told)


@pytest.mark.parametrize("command", ["reload", "verify"])
def test_wrong_usage_and_no_configuration(make_server: Makes, command: str) -> None:
    server = make_server()
    status, out, err = run(server, command, "now")
    assert (status, out, len(err)) == (2, [], 1)
    server.config.unlink()
    told = [f"{server.config}: cannot read the file: No such file or directory"]
    assert run(server, command) == (1, [], told)


# ------------------------------------------------------------ the socket


@pytest.mark.parametrize("umask", rest_slow(["000", "077", "277"]))
def test_the_socket_is_for_its_owner_alone(make_server: Makes, umask: str) -> None:
    script = f'umask {umask}; cd "$0"; exec "$@"'
    server = make_server(launch=lambda *options: ["sh", "-c", script, str(ROOT), *launch_python(*options)])
    server.log_file.touch()
    server.start()
    status = control(server).lstat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert run(server, "reload")[0] == 0
    server.stop()
    assert not control(server).exists()


def test_start_after_kill(server: Server) -> None:
    for _ in range(2):
        server.kill()
        assert control(server).exists()
        server.start()
        assert run(server, "reload")[0] == 0


def test_a_second_server_does_not_take_the_socket(server: Server, make_server: Makes) -> None:
    second = make_server(configuration().replace('"data"', f'"{server.data}"'))
    before = control(server).stat()
    second.refused()
    assert control(server).stat() == before
    assert run(server, "reload")[0] == 0
    server.logged("configuration reloaded")


def test_a_socket_that_somebody_has_removed_keeps_nobody_from_stopping(server: Server) -> None:
    control(server).unlink()
    server.stop()


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_in_the_way_of_the_socket_is_told(make_server: Makes, workers: int) -> None:
    server = make_server(configuration(top=f"allow_root = true\nworkers = {workers}"))
    control(server).mkdir(parents=True)
    lines, _ = server.refused()
    assert lines == [f"{server.config}: data: Address already in use: {control(server)}"]


def test_a_path_too_long_for_a_socket(make_server: Makes) -> None:
    server = make_server(configuration().replace('"data"', f'"{"long/" * 30}data"'))
    server.data = server.directory / ("long/" * 30) / "data"
    server.start()
    assert stat.S_IMODE(control(server).stat().st_mode) == 0o600
    assert run(server, "reload") == (0, ["configuration reloaded"], [])
    assert run(server, "verify")[0] == 0
    server.stop()
    assert not control(server).exists()


def test_requests_by_hand_and_an_idle_connection(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        with socket_name(control(server)) as name:
            connection.connect(name)
        connection.sendall(
            b'{"command": "verify"}\nnonsense\n{"command": "nonsense"}\n{"command": "reload"}\n'
        )
        with connection.makefile("rb") as file:
            replies = [json.loads(file.readline()) for _ in range(4)]
            assert replies[0] == {
                "lines": [f"0 mailboxes, 0 messages, 0 queued messages: {WELL}"],
                "status": 0,
            }
            assert [list(reply) for reply in replies[1:3]] == [["error"], ["error"]]
            assert replies[3] == {"lines": ["configuration reloaded"], "status": 0}
            server.stop()
            assert file.read() == b""


# ------------------------------------------------------------ verify


def damage(server: Server) -> list[str]:
    """Bob's mailbox, with something wrong in it: what verify must say of it."""
    box = server.data / "mail/example.org/bob"
    [message] = (box / "new").iterdir()
    torn = box / "cur" / f"{OURS},S=99,W=99:2,S"
    torn.write_bytes(b"torn\r\n")
    torn.chmod(0o600)
    message.chmod(0o644)
    (box / "cur").chmod(0o755)
    (box / "new" / "folder").mkdir()
    told = [
        f"mail/example.org/bob/cur/{torn.name}: S=99 in its name should be S=6 and W=99 in its name should be"
        f" W=6; would be renamed to {OURS},S=6,W=6:2,S",
        "mail/example.org/bob/cur: has mode 0755; would get mode 0700",
        "mail/example.org/bob/new/folder: is not a regular file; would be left alone, and not served",
        f"mail/example.org/bob/new/{message.name}: has mode 0644, so others may use it; would get mode 0600",
    ]
    return sorted(told)


def test_verify_running_and_stopped(server: Server) -> None:
    Mailbox(server, "alice").fill(*MESSAGES.values())
    Mailbox(server, "bob").fill(MESSAGES["plain"])
    well = (0, [f"2 mailboxes, {len(MESSAGES) + 1} messages: {WELL}"], [])
    assert run(server, "verify") == well
    server.stop()
    assert run(server, "verify") == well
    told = damage(server)
    outcomes = [run(server, "verify")]
    server.start()
    outcomes.append(run(server, "verify"))
    for status, lines, err in outcomes:
        assert (status, err) == (1, [])
        assert lines[-1] == f"2 mailboxes, {len(MESSAGES) + 2} messages: 4 problems"
        assert sorted(lines[:-1]) == told
    # nothing has been changed
    assert run(server, "verify") == outcomes[0]


def test_verify_of_a_busy_server_finds_nothing(make_server: Makes) -> None:
    """New mailboxes, new messages, removals: none of it is a problem."""
    names = [f"box{number}" for number in range(40)]
    server = make_server(configuration(accounts=names, tables="")).start()
    stop = threading.Event()
    failed: list[BaseException] = []

    def keep_busy(names: list[str]) -> None:
        try:
            for name in names * 1000:
                if stop.is_set():
                    return
                box = Mailbox(server, name)
                box.fill(MESSAGES["plain"], MESSAGES["dots"])
                with box.login() as session:
                    session.expect(b"DELE 1", b"+OK")
                    session.expect(b"QUIT", b"+OK")
        except BaseException as error:  # noqa: BLE001 - told to the test, which is in another thread
            failed.append(error)

    threads = [threading.Thread(target=keep_busy, args=(names[first::2],)) for first in range(2)]
    for thread in threads:
        thread.start()
    try:
        outcomes = [run(server, "verify") for _ in range(5)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    for status, lines, err in outcomes:
        assert (status, len(lines), err) == (0, 1, []), lines
    assert outcomes[-1][1][0].endswith(WELL)


@pytest.mark.parametrize("running", rest_slow([False, True]), ids=["stopped", "running"])
def test_several_commands_at_once(server: Server, running: bool) -> None:
    Mailbox(server, "alice").fill(MESSAGES["plain"])
    if not running:
        server.stop()
    commands = [begin(server, "verify") for _ in range(2)]
    for command in commands:
        assert settled(end(command)) == (0, [f"1 mailbox, 1 message: {WELL}"], [])


def test_verify_without_data(make_server: Makes) -> None:
    server = make_server()
    what = "does not exist yet: start the server once, or create it for the server's user"
    told = [f"mailserver: {server.data} {what}"]
    assert run(server, "verify") == (1, [], told)
    assert not server.data.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for somebody else")
def test_root_leaves_nothing_behind_that_the_owner_of_the_data_cannot_use(
    make_server: Makes, nobodys_folder: Path
) -> None:
    data = nobodys_folder / "data"
    data.mkdir()
    shutil.chown(data, "nobody", "nogroup")
    server = make_server(configuration().replace('"data"', f'"{data}"'))
    # it becomes that user, and so it must be another process
    assert settled(end(begin(server, "verify"))) == (0, [f"0 mailboxes, 0 messages: {WELL}"], [])
    assert [path.name for path in data.iterdir()] == ["lock"]
    assert (data / "lock").stat().st_uid == data.stat().st_uid


def test_mail_goes_on_while_a_reload_comes(server: Server) -> None:
    alice = Mailbox(server, "alice")
    with alice.login() as session:
        commands = [begin(server, "reload") for _ in range(3)]
        alice_messages = list(MESSAGES.values())
        Mailbox(server, "bob").fill(*alice_messages)
        assert {end(command)[0] for command in commands} == {0}
        session.expect(b"STAT", b"+OK 0 0")
    assert len(Mailbox(server, "bob").messages()) == len(alice_messages)
