"""Checkers of others, behind ``--auth``."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.cred import strcred
from twisted.cred.checkers import ANONYMOUS, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import globalLogPublisher
from twisted.python import usage
from zope.interface import implementer

from mailserver.accounts import external_checkers
from mailserver.accounts.cred import BearerToken, IBearerToken, NamedPassword
from mailserver.accounts.passwords import StoredPassword
from mailserver.errors import StorageError
from tests.support.accounts.people import HASHED, account, bench, login
from tests.support.fakes import stand_in

ALICE = "alice@example.org"
ACCOUNTS = [account("alice", HASHED), account("bare"), account("off", disabled=True)]


@attrs.define
class Other:
    """A checker that answers what it is told to, and counts."""

    answer: Callable[[], Any]
    asked: list[bytes] = attrs.field(factory=list)
    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(credentials.username)
        return self.answer()


def refuse() -> Any:
    return fail(UnauthorizedLogin())


def broken() -> Any:
    raise ConnectionError("the directory is away")


@pytest.fixture
def events() -> Any:
    found: list[Any] = []
    globalLogPublisher.addObserver(stand_in(found.append))
    yield found
    globalLogPublisher.removeObserver(stand_in(found.append))


@pytest.mark.parametrize(
    "avatar",
    [b"bare", b"bare@example.org", "bare", b"BARE@example.org"],
)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "as a Deferred"])
def test_others_let_accounts_of_ours_in(avatar: Any, later: bool) -> None:
    other = Other(lambda: succeed(avatar) if later else avatar)
    checker = bench(ACCOUNTS, external=[Other(refuse), other]).checker
    assert login(checker, NamedPassword("bare", "x")) == "bare@example.org"
    assert login(checker, NamedPassword("Uid=Bare", "x")) == "bare@example.org"
    assert other.asked == [b"bare", b"Uid=Bare"]


@pytest.mark.parametrize("avatar", [b"nobody", b"off", b"", b"\xff", ANONYMOUS, None, 7])
def test_others_let_nobody_else_in(avatar: Any, events: list[Any]) -> None:
    checker = bench(ACCOUNTS, external=[Other(lambda: avatar)]).checker
    assert isinstance(login(checker, NamedPassword("bare", "x")), UnauthorizedLogin)
    assert [event["log_format"] for event in events if "unknown or disabled" in event["log_format"]]


@pytest.mark.parametrize(
    "avatar", ["\uff42are", "b\u00adare", "\uff42are@example.org", '"bare"', "bare@\uff45xample.org", " bare"]
)
def test_what_others_call_otherwise_is_somebody_else(avatar: str) -> None:
    for other in (avatar, avatar.encode()):
        checker = bench(ACCOUNTS, external=[Other(lambda other=other: other)]).checker  # type: ignore[misc]
        assert isinstance(login(checker, NamedPassword("bare", "x")), UnauthorizedLogin)


@pytest.mark.parametrize("avatar", [b"bare", b"BARE@example.org", "\uff42are@example.org".encode()])
def test_a_token_of_others_names_an_address(avatar: bytes) -> None:
    checker = bench(ACCOUNTS, external=[OtherTokens(lambda: avatar)]).checker
    assert isinstance(login(checker, BearerToken("theirs")), UnauthorizedLogin)


@attrs.define
class OtherTokens(Other):
    credentialInterfaces = (IBearerToken,)  # type: ignore[assignment]

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(credentials.token)
        return self.answer()


@attrs.frozen
class Tokens:
    def validate(self, token: str) -> Any:
        return succeed(ALICE) if token == "ours" else fail(UnauthorizedLogin("token: bad"))


@pytest.mark.parametrize("ours", [None, Tokens()], ids=["alone", "beside ours"])
def test_others_may_take_tokens(ours: Any) -> None:
    passwords, tokens = Other(lambda: b"alice"), OtherTokens(lambda: b"bare@example.org")
    checker = bench(ACCOUNTS, external=[passwords, tokens], tokens=ours).checker
    assert login(checker, BearerToken("theirs")) == "bare@example.org"
    assert login(checker, BearerToken("theirs", "bare")) == "bare@example.org"
    assert isinstance(login(checker, BearerToken("theirs", "alice")), UnauthorizedLogin)
    assert tokens.asked == ["theirs"] * 3 and not passwords.asked  # type: ignore[comparison-overlap]
    if ours is not None:
        assert login(checker, BearerToken("ours")) == ALICE
        assert len(tokens.asked) == 3
    assert login(checker, NamedPassword("bare", "x")) == ALICE
    assert len(tokens.asked) == 3


def test_a_token_that_nobody_knows_is_refused_for_our_reason() -> None:
    checker = bench(ACCOUNTS, external=[OtherTokens(refuse)], tokens=Tokens()).checker
    assert str(login(checker, BearerToken("x"))) == "token: bad"


def test_they_are_not_asked_for_what_is_ours() -> None:
    other = Other(lambda: b"bare")
    checker = bench(ACCOUNTS, external=[other]).checker
    assert login(checker, NamedPassword("alice", "wonderland")) == ALICE
    assert not other.asked
    login(checker, NamedPassword("alice", "not ours"))
    assert other.asked == [b"alice"]


def test_they_are_never_asked_with_an_empty_password() -> None:
    other = Other(lambda: b"bare")
    assert isinstance(
        login(bench(ACCOUNTS, external=[other]).checker, NamedPassword("bare", "")), UnauthorizedLogin
    )
    assert not other.asked


def test_nobody_acts_as_another_by_them() -> None:
    checker = bench(ACCOUNTS, external=[Other(lambda: b"bare")]).checker
    assert isinstance(login(checker, NamedPassword("bare", "x", "alice")), UnauthorizedLogin)
    assert login(checker, NamedPassword("bare", "x", "bare")) == "bare@example.org"


@pytest.mark.parametrize("name", ["alice", "bare", "off", "nobody"])
@pytest.mark.parametrize(
    "answer", [refuse, broken, lambda: b"nobody"], ids=["refuses", "breaks", "knows a stranger"]
)
def test_a_refusal_costs_the_same_as_without_them(
    name: str, answer: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = []
    monkeypatch.setattr(StoredPassword, "verify", lambda self, password: verified.append(self.kind))
    other = Other(answer)
    assert isinstance(
        login(bench(ACCOUNTS, external=[other]).checker, NamedPassword(name, "x")),
        (UnauthorizedLogin, StorageError),
    )
    assert len(verified) == len(other.asked) == 1


def test_a_checker_that_breaks_is_logged_and_the_next_is_asked(events: list[Any]) -> None:
    accounts = bench(ACCOUNTS, external=[Other(broken), Other(lambda: b"bare")]).checker
    assert login(accounts, NamedPassword("bare", "x")) == "bare@example.org"
    assert [event["log_failure"].value.args for event in events if "log_failure" in event] == [
        ("the directory is away",)
    ]
    refused = login(
        bench(ACCOUNTS, external=[Other(broken), Other(refuse)]).checker, NamedPassword("bare", "x")
    )
    assert isinstance(refused, StorageError)


def test_who_gives_up_while_another_checker_thinks_costs_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified = []
    monkeypatch.setattr(StoredPassword, "verify", lambda self, password: verified.append(self.kind))
    checker = bench(ACCOUNTS, external=[Other(Deferred)]).checker
    waiting = checker.requestAvatarId(NamedPassword("bare", "x"))
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    assert not verified


# ---------------------------------------------------------------- strcred


class Options(usage.Options, strcred.AuthOptionMixin):
    supportedInterfaces = (IUsernamePassword,)


def options(*args: str) -> Any:
    parsed = Options()
    parsed.parseOptions(list(args))
    return parsed["credCheckers"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people"
    path.write_bytes(b"bare:looking glass\nstranger:x\nalice:tea\nempty:\n")
    path.chmod(0o640)
    return path


@pytest.mark.parametrize(
    ("name", "password", "who"),
    [
        ("bare", "looking glass", "bare@example.org"), ("bare", "x", None), ("stranger", "x", None),
        ("alice", "tea", ALICE), ("alice", "wonderland", ALICE), ("empty", "", None),
        ("bare", "l\u00f6", None),
    ],
)  # fmt: skip
def test_a_file_of_passwords(file: Path, name: str, password: str, who: str | None) -> None:
    checkers = options("--auth", f"file:{file}")
    assert external_checkers.problems(checkers) == []
    found = login(
        bench([*ACCOUNTS, account("empty")], external=checkers).checker, NamedPassword(name, password)
    )
    assert found == who or (who is None and isinstance(found, UnauthorizedLogin))


@pytest.mark.parametrize(
    ("mode", "problem"),
    [(0o600, ""), (0o640, ""), (0o660, ""), (0o644, "everybody can read"), (0o604, "everybody can read"),
     (0o642, "everybody can change")],
)  # fmt: skip
def test_a_file_that_everybody_can_read_is_refused(file: Path, mode: int, problem: str) -> None:
    file.chmod(mode)
    found = external_checkers.problems(options("--auth", f"file:{file}"))
    assert len(found) == bool(problem)
    assert all(problem in line and line.startswith(f"--auth file:{file}: ") for line in found)


def test_a_file_is_found_from_anywhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    checkers = [*options("--auth", f"file:{file.name}"), Other(refuse)]
    external_checkers.make_absolute(checkers)
    monkeypatch.chdir("/")
    assert (
        login(bench(ACCOUNTS, external=checkers).checker, NamedPassword("bare", "looking glass"))
        == "bare@example.org"
    )


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    checkers = options("--auth", f"file:{tmp_path / 'none'}", "--auth", f"file:{tmp_path}")
    assert [line.rpartition(": ")[2] for line in external_checkers.problems(checkers)] == [
        os.strerror(2),
        "is not a regular file",
    ]


def test_other_checkers_have_no_file() -> None:
    assert external_checkers.problems([InMemoryUsernamePasswordDatabaseDontUse(alice=b"x")]) == []


@pytest.mark.parametrize("text", ["anonymous", "nothing:x", "file"])
def test_checkers_without_passwords_are_refused(text: str) -> None:
    with pytest.raises(usage.UsageError):
        options("--auth", text)


@implementer(IUsernamePassword)
class Never:
    """Credentials of another make are taken, too."""

    username = b"bare"
    password = b"looking glass"

    def checkPassword(self, password: bytes) -> bool:
        return False


def test_plain_credentials_of_twisted_reach_them(file: Path) -> None:
    checkers = options("--auth", f"file:{file}")
    assert login(bench(ACCOUNTS, external=checkers).checker, Never()) == "bare@example.org"
