"""By what our accounts are let in: a file of others, by ``--auth file:…``; keys, by ``[auth] mechanisms``."""

import smtplib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import scramp

from tests.support.e2e.accounts import logs_in, settings
from tests.support.e2e.commands import done, mailserver
from tests.support.e2e.dialogue import Pop3, Smtp
from tests.support.e2e.programs import run
from tests.support.e2e.server import (
    PASSWORD,
    ROOT,
    Makes,
    Server,
    configuration,
    launch_forked,
    launch_python,
    launch_twistd,
    wait_until,
)
from tests.support.runs import rest_slow

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
    yield from WithPeople(tmp_path_factory.mktemp("people"), launch_forked).serve()


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
    told = "FilePasswordDB returned b'stranger': account unknown or disabled"
    wait_until(lambda: told in house.log, "a line in the log")


def test_the_account_decides_whether_and_the_file_by_what(house: Server) -> None:
    assert not logs_in(house, "emil", "word")
    done(house, "account add emil --no-password")
    assert logs_in(house, "emil", "word")
    done(house, "account disable emil")
    assert not logs_in(house, "emil", "word")


def test_commands_need_no_such_option(house: Server) -> None:
    status, out, err = mailserver(house, "account", "list")
    assert (status, err) == (0, [])
    assert "dora@example.org: in the configuration" in out


@pytest.mark.parametrize(
    ("launch", "mode", "reason"),
    rest_slow(
        [
            (launch_twistd, 0o602, "everybody can change it"),
            (launch_python, 0o644, "everybody can read the secrets in it"),
        ]
    ),
)
def test_a_file_that_is_open_to_everybody(
    tmp_path: Path, launch: Callable[..., list[str]], mode: int, reason: str
) -> None:
    server = WithPeople(tmp_path, launch, mode)
    lines, _ = server.refused()
    mend = "give it to the group of the server's user (chgrp) and take it from others (chmod 640)"
    assert lines == [f"--auth file:{server.people}: {reason}; {mend}"]
    assert not server.data.exists()


def test_its_group_may_read_it(tmp_path: Path) -> None:
    server = WithPeople(tmp_path, launch_forked, 0o640)
    try:
        assert logs_in(server.start(), "dora", "the file's word")
    finally:
        server.finish()


def test_help(tmp_path: Path) -> None:
    """What there is to choose from, by Twisted's own words."""
    show = partial(run, tmp_path, env={"PYTHONPATH": str(ROOT)})
    every = show(*launch_python("--help-auth")).stdout.decode()
    assert "file" in every
    about = show(*launch_python("--help-auth-type", "file")).stdout.decode()
    assert "username:password" in about


# ------------------------------------------------------------ mechanisms with keys of their own


def by_scram(server: Server, name: str, password: str) -> bool:
    """Whether SCRAM-SHA-256 lets somebody in; the server's signature is checked, too."""
    client = scramp.ScramClient(["SCRAM-SHA-256"], name, password)
    with smtplib.SMTP(*server.address("submission"), timeout=15) as session:
        session.ehlo()
        answers: Iterator[Callable[[str], str]] = iter(
            (
                lambda challenge: client.set_server_first(challenge) or client.get_client_final(),
                lambda challenge: client.set_server_final(challenge) or "",
            )
        )

        def answer(challenge: bytes | None = None) -> str:
            return client.get_client_first() if challenge is None else next(answers)(challenge.decode())

        try:
            code, _ = session.auth("SCRAM-SHA-256", answer)
        except smtplib.SMTPAuthenticationError as error:
            assert error.smtp_code == 535, error
            return False
        return code == 235


def test_keys_are_made_when_a_password_is_set_from_then_on(make_server: Makes) -> None:
    server = make_server(settings()).start()
    done(server, "account add dora", "word\n")
    with Smtp(server.address("submission")) as session, Pop3(server.pop3) as pop3:
        assert b"SCRAM" not in session.ask(b"EHLO client.example")
        session.expect(b"AUTH SCRAM-SHA-256 biwsbj1kb3JhLHI9YWJj", b"504")
        assert b"<" not in pop3.greeting
    server.configure(settings("PLAIN", "SCRAM-SHA-256", "APOP"))
    done(server, "reload")
    assert not by_scram(server, "dora", "word")
    assert not logs_in(server, "dora", "word", "apop")
    assert logs_in(server, "dora", "word")
    done(server, "account passwd dora", "word\n")
    assert "dora@example.org: argon2, SCRAM keys (sha256), recoverable secret" in facts(server)
    assert by_scram(server, "dora", "word")
    assert not by_scram(server, "dora", "wrong")
    assert logs_in(server, "dora", "word", "apop")
    server.configure(settings("PLAIN"))
    done(server, "reload")
    done(server, "account passwd dora", "word\n")
    assert "dora@example.org: argon2" in facts(server), "nothing of the keys is left"


def facts(server: Server) -> list[str]:
    return mailserver(server, "account", "list")[1]
