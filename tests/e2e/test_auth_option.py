"""``twistd mailserver --auth file:…``: a file of others decides who of our accounts is let in."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from .programs import run
from .server import PASSWORD, ROOT, Server, configuration, launch_python, launch_twistd, wait_until
from .test_accounts import begin, done, end, logs_in

LAUNCHES = {"python-m": launch_python, "twistd": launch_twistd}
PEOPLE = "dora:the file's word\nalice@example.org:of the file\nalice:short form\nemil:word\nstranger:word\n"


class WithPeople(Server):
    """A server with a file of names and passwords beside its configuration."""

    def __init__(self, directory: Path, launch: Callable[..., list[str]], mode: int = 0o600) -> None:
        config = configuration(accounts=["alice", "dora"], passwords={"dora": "{NONE}"}, tables="")
        super().__init__(directory, config, launch)
        self.people = directory / "people"
        self.people.write_text(PEOPLE)
        self.people.chmod(mode)

    def command(self) -> list[str]:
        return [*super().command(), "--auth", f"file:{self.people}"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server for the tests of this module."""
    server = WithPeople(tmp_path_factory.mktemp("people"), launch_python)
    try:
        yield server.start()
    finally:
        server.finish()


@pytest.mark.parametrize(
    ("name", "password", "let_in"),
    [
        ("dora", "the file's word", True),
        ("dora", "wrong", False),
        ("dora", "{NONE}", False),
        ("alice@example.org", "of the file", True),
        ("alice", "short form", True),
        # names are those of the file, passwords go with the name
        ("alice", "of the file", False),
        ("dora@example.org", "the file's word", False),
        # an account's own password is good as well
        ("alice", PASSWORD, True),
        ("nobody", "word", False),
    ],
)
def test_logins(house: Server, name: str, password: str, let_in: bool) -> None:
    assert logs_in(house, name, password) is let_in


def test_a_name_of_the_file_without_an_account(house: Server) -> None:
    assert not logs_in(house, "stranger", "word")
    told = "FilePasswordDB lets b'stranger' in, which is no account here, or a disabled one"
    wait_until(lambda: told in house.log, "a line in the log")


def test_the_account_decides_whether_and_the_file_by_what(house: Server) -> None:
    assert not logs_in(house, "emil", "word")
    done(house, "account add emil --no-password")
    assert logs_in(house, "emil", "word")
    done(house, "account disable emil")
    assert not logs_in(house, "emil", "word")


def test_commands_need_no_such_option(house: Server) -> None:
    status, out, err = end(begin(house, "account", "list"))
    assert (status, err) == (0, [])
    assert "dora@example.org: in the configuration" in out


@pytest.mark.parametrize("launch", LAUNCHES.values(), ids=LAUNCHES)
@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (0o644, "everybody can read the secrets in it; take that away: chmod o-r"),
        (0o602, "everybody can change it; take that away: chmod o-w"),
    ],
)
def test_a_file_that_is_open_to_everybody(
    tmp_path: Path, launch: Callable[..., list[str]], mode: int, reason: str
) -> None:
    server = WithPeople(tmp_path, launch, mode)
    lines, _ = server.refused()
    assert lines == [f"--auth file:{server.people}: {reason}"]
    assert not server.data.exists()


def test_its_group_may_read_it(tmp_path: Path) -> None:
    server = WithPeople(tmp_path, launch_python, 0o640)
    try:
        assert logs_in(server.start(), "dora", "the file's word")
    finally:
        server.finish()


@pytest.mark.parametrize("launch", LAUNCHES.values(), ids=LAUNCHES)
def test_help(tmp_path: Path, launch: Callable[..., list[str]]) -> None:
    """What there is to choose from, by Twisted's own words."""
    show = partial(run, tmp_path, env={"PYTHONPATH": str(ROOT)})
    every = show(*launch("--help-auth")).stdout.decode()
    assert "file" in every
    about = show(*launch("--help-auth-type", "file")).stdout.decode()
    assert "username:password" in about
