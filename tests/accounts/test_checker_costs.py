"""The checker: what a login costs, and what is remembered; fairness, closing."""

from collections import Counter
from typing import Any

import pytest
from argon2 import PasswordHasher
from passlib import hash as passlib_hash
from twisted.cred.error import UnauthorizedLogin
from twisted.logger import eventAsText, globalLogPublisher

from mailserver.accounts.cred import BearerToken, NamedPassword
from mailserver.accounts.directory import Account, AppPassword, app_password_digest
from mailserver.accounts.passwords import StoredPassword, hash_password
from mailserver.errors import StorageError
from tests.support.accounts.people import CHEAP, HASHED, account, bench, directory, login, outcome, polls
from tests.support.fakes import stand_in

ALICE = "alice@example.org"


# ---------------------------------------------------------------- what a refusal costs


STRONGER = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash("wonderland")


def of_all_kinds() -> list[Account]:
    crypt = [
        passlib_hash.sha512_crypt.using(rounds=1000).hash("wonderland"),
        passlib_hash.sha256_crypt.using(rounds=1000).hash("wonderland"),
        passlib_hash.bcrypt.using(rounds=4).hash("wonderland"),
        passlib_hash.ldap_salted_sha256.hash("wonderland"),
    ]
    forms = ["wonderland", "another", HASHED, STRONGER, "$argon2id$damaged", *crypt]
    more = [account("none", "{NONE}"), account("off", HASHED, disabled=True), account("bare")]
    return [account(f"user{number}", form) for number, form in enumerate(forms)] + more


@pytest.mark.parametrize("password", ["wrong", "wr\u00f6ng", "wro\u0308ng"])
def test_every_refusal_verifies_one_password_of_each_kind(verified: list[str], password: str) -> None:
    """So that the time tells neither whether a name is known nor how its password is kept."""
    accounts = of_all_kinds()
    checker = bench(accounts).checker
    kinds = {one.password.kind for one in accounts if one.password and one.password.scheme != "none"}
    assert len(kinds) == 8
    costs = set()
    for name in [*(str(one.address) for one in accounts), "nobody", "nobody@elsewhere.example", "no@body@"]:
        verified.clear()
        assert isinstance(login(checker, NamedPassword(name, password)), UnauthorizedLogin)
        cost = Counter(verified)
        cost.pop("none", None)
        assert set(cost) == kinds, name
        costs.add(tuple(sorted(cost.items())))
    assert len(costs) == 1


@pytest.mark.parametrize("name", ["nobody", "bare", "none"])
def test_a_refusal_where_nobody_has_a_password_costs_one_argon2id(verified: list[str], name: str) -> None:
    accounts = [account("bare"), account("none", "{NONE}")]
    login(bench(accounts).checker, NamedPassword(name, "x"))
    assert [kind for kind in verified if kind != "none"] == [StoredPassword.read(hash_password("x")).kind]


@pytest.mark.parametrize("name", ["alice", "nobody", "off"])
def test_the_same_guess_several_times_at_once_costs_the_same_for_every_name(
    name: str, verified: list[str]
) -> None:
    stand = bench([account("alice", HASHED), account("off", HASHED, disabled=True)], held=True)
    logins = [stand.checker.requestAvatarId(NamedPassword(name, "wrong")) for _ in range(5)]
    stand.threads.run_threads()
    assert len(verified) == 1
    assert all(isinstance(outcome(one), UnauthorizedLogin) for one in logins)


# ---------------------------------------------------------------- what is remembered


def test_a_client_that_polls_costs_one_verification(verified: list[str]) -> None:
    stand = bench([account("alice", HASHED)], remember=300)
    assert (
        polls(stand, "alice", "wonderland") + polls(stand, "Alice@example.org", "wonderland") == [ALICE] * 6
    )
    assert len(verified) == 1
    stand.reactor.advance(300)
    polls(stand, "alice", "wonderland")
    assert len(verified) == 2


def test_wrong_passwords_are_never_remembered(verified: list[str]) -> None:
    stand = bench([account("alice", HASHED)], remember=300)
    assert all(isinstance(one, UnauthorizedLogin) for one in polls(stand, "alice", "wrong"))
    assert len(verified) == 3
    assert len(stand.checker.remembered) == 0
    assert polls(stand, "alice", "wonderland", 1) == [ALICE]


def test_nothing_is_remembered_unless_it_is_wanted(verified: list[str]) -> None:
    polls(bench([account("alice", HASHED)], remember=0), "alice", "wonderland")
    assert len(verified) == 3


@pytest.mark.parametrize(
    "now",
    [account("alice", CHEAP.hash("rabbit")), account("alice", HASHED, disabled=True),
    account("alice"), account("bob", HASHED)],
    ids=["changed", "disabled", "without a password", "removed"],
)  # fmt: skip
def test_who_is_remembered_is_not_let_in_after_a_change(now: Account) -> None:
    stand = bench([account("alice", HASHED)], remember=300)
    assert polls(stand, "alice", "wonderland", 1) == [ALICE]
    stand.checker.replace(directory(now))
    assert isinstance(polls(stand, "alice", "wonderland", 1)[0], UnauthorizedLogin)


def test_several_at_once_share_a_verification(verified: list[str]) -> None:
    stand = bench([account("alice", HASHED)], held=True, remember=300)
    logins = [
        stand.checker.requestAvatarId(NamedPassword("alice", "wonderland", client=str(n))) for n in range(9)
    ]
    other = stand.checker.requestAvatarId(NamedPassword("alice", "other"))
    stand.threads.run_threads()
    assert [outcome(one) for one in logins] == [ALICE] * 9
    assert isinstance(outcome(other), UnauthorizedLogin)
    assert len(verified) == 2


def test_a_login_after_a_change_does_not_share_one_begun_before() -> None:
    stand = bench([account("alice", CHEAP.hash("old"))], held=True)
    before = stand.checker.requestAvatarId(NamedPassword("alice", "wonderland"))
    stand.checker.replace(directory(account("alice", HASHED)))
    after = stand.checker.requestAvatarId(NamedPassword("alice", "wonderland"))
    stand.threads.run_threads()
    assert isinstance(outcome(before), UnauthorizedLogin)
    assert outcome(after) == ALICE


def test_who_gives_up_costs_nothing_any_more(verified: list[str]) -> None:
    stand = bench([account("alice", HASHED)], held=True, width=1)
    first = stand.checker.requestAvatarId(NamedPassword("alice", "wonderland"))
    for number in range(20):
        guess = stand.checker.requestAvatarId(NamedPassword("alice", f"guess {number}"))
        guess.addErrback(lambda failure: None)
        guess.cancel()
    for _ in range(30):
        stand.threads.run_threads()
    assert outcome(first) == ALICE
    assert len(verified) == 1


# ---------------------------------------------------------------- fairness, closing


@pytest.mark.parametrize("width", [1, 2])
def test_a_good_login_does_not_wait_for_somebody_elses_guesses(width: int) -> None:
    stand = bench([account("alice", HASHED)], held=True, width=width)
    for number in range(60):
        guess = NamedPassword("alice", f"guess {number}", client="192.0.2.1")
        stand.checker.requestAvatarId(guess).addErrback(lambda failure: None)
    good = stand.checker.requestAvatarId(NamedPassword("alice", "wonderland", client="198.51.100.7"))
    found: list[Any] = []
    good.addBoth(found.append)
    stand.threads.run_threads()  # what ran when it came
    assert not found
    stand.threads.run_threads()
    assert found == [ALICE.encode()]


def test_too_many_waiting_is_no_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailserver.threads.fair.MAX_WAITING", 0)
    refused = login(bench([account("alice", HASHED)]).checker, NamedPassword("alice", "wonderland"))
    assert isinstance(refused, StorageError)


def test_nobody_gets_in_once_it_is_closed() -> None:
    stand = bench([account("alice", HASHED)], held=True, width=1)
    found: list[Any] = []
    for password in ("guess", "wonderland"):
        stand.checker.requestAvatarId(NamedPassword("alice", password)).addBoth(found.append)
    stand.hashing.close()
    stand.threads.run_threads()
    assert len(found) == 2 and b"alice" not in repr(found).encode()


def refuse(*args: object) -> None:
    raise OSError("disk")


def test_nothing_logged_or_shown_has_a_password_in_it() -> None:
    app = AppPassword("phone", app_password_digest("s3cret"))
    people = [account("alice", CHEAP.hash("s3cret-too"), stored=True, app_passwords=(app,))]
    events: list[Any] = []
    globalLogPublisher.addObserver(stand_in(events.append))
    try:
        checker = bench(people, upgrade=refuse, app_password_used=refuse).checker
        given = [NamedPassword("alice", password) for password in ("s3cret", "s3cret-too", "s3cret-wrong")]
        outcomes = [login(checker, one) for one in [*given, BearerToken("s3cret")]]
    finally:
        globalLogPublisher.removeObserver(stand_in(events.append))
    assert [isinstance(one, str) for one in outcomes] == [True, True, False, False]
    shown = [eventAsText(event, includeTraceback=True) for event in events]
    assert len(shown) == 2
    assert "s3cret" not in "".join(
        [*shown, *map(repr, given), *map(repr, outcomes), repr(BearerToken("s3cret"))]
    )
