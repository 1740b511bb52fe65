"""The checker: who gets in."""

from typing import Any

import attrs
import pytest
from argon2 import PasswordHasher
from passlib import hash as passlib_hash
from twisted.cred.credentials import ICredentials, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed

from mailserver.auth.directory import AppPassword, app_password_digest
from mailserver.auth.proofs import BearerToken, NamedPassword, ProvenName
from tests.auth.people import CHEAP, HASHED, account, bench, directory, login, polls

ALICE = "alice@example.org"


# ---------------------------------------------------------------- who gets in


@pytest.mark.parametrize("name", ["alice", "ALICE", "alice@example.org", "Alice@Example.ORG"])
@pytest.mark.parametrize(
    "stored", ["wonderland", "{PLAIN}wonderland", HASHED], ids=["plain", "marked", "hashed"]
)
def test_logins(name: str, stored: str) -> None:
    checker = bench([account("alice", stored)]).checker
    assert login(checker, UsernamePassword(name.encode(), b"wonderland")) == ALICE
    assert login(checker, NamedPassword(name, "wonderland")) == ALICE


@pytest.mark.parametrize(
    ("name", "password"),
    [
        (b"alice", b"wrong"), (b"alice", b""), (b"bob", b"wonderland"),
        (b"alice@other.example", b"wonderland"),
        (b"alice+x", b"wonderland"), (b"", b""), (b"\xff", b"\xff"), (b"alice@", b"wonderland"),
        (b"alice", b"\xff"), (b"../alice", b"wonderland"), (b"a" * 300, b"x"), (b"alice\0", b"wonderland"),
        (b"off", b"wonderland"), (b"none", b""), (b"none", b"wonderland"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stored", ["wonderland", HASHED], ids=["plain", "hashed"])
def test_refused_logins(name: bytes, password: bytes, stored: str) -> None:
    accounts = [account("alice", stored), account("off", stored, disabled=True), account("none", "{NONE}")]
    assert isinstance(login(bench(accounts).checker, UsernamePassword(name, password)), UnauthorizedLogin)


@pytest.mark.parametrize(
    "given", ["p\u00e4ss w\u00f6rd", "pa\u0308ss wo\u0308rd", "p\u00e4\u00adss w\u00f6rd"]
)
@pytest.mark.parametrize(
    "kept", ["p\u00e4ss w\u00f6rd", "pa\u0308ss wo\u0308rd"], ids=["composed", "decomposed"]
)
def test_plain_passwords_are_compared_prepared(given: str, kept: str) -> None:
    assert login(bench([account("alice", kept)]).checker, NamedPassword("alice", given)) == ALICE


def test_hashed_passwords_are_taken_prepared_and_as_they_are() -> None:
    decomposed, composed = "pa\u0308ss", "p\u00e4ss"
    foreign = bench([account("alice", CHEAP.hash(decomposed))]).checker
    assert login(foreign, NamedPassword("alice", decomposed)) == ALICE
    ours = bench([account("alice", CHEAP.hash(composed))]).checker
    assert login(ours, NamedPassword("alice", decomposed)) == ALICE


def test_a_password_in_latin_1() -> None:
    checker = bench([account("alice", "p\u00e4ss")]).checker
    for given in ("p\udce4ss", "p\u00e4ss"):
        assert login(checker, NamedPassword("alice", given)) == ALICE
    assert login(bench([account("alice", "p?ss")]).checker, NamedPassword("alice", "p\udce4ss")) != ALICE
    assert login(checker, UsernamePassword(b"alice", b"p\xe4ss")) == ALICE


@pytest.mark.parametrize(
    ("reason", "credentials"),
    [
        ("no such account", NamedPassword("nobody", "x")),
        ("wrong password", NamedPassword("alice", "x")),
        ("the account is disabled", NamedPassword("off", "x")),
        ("no such account, or a disabled one", ProvenName("off")),
        ("alice@example.org is not 'bob'", ProvenName("alice", "bob")),
        ("no token is good here", BearerToken("x")),
    ],
)
def test_a_refusal_has_a_reason_for_the_log(reason: str, credentials: ICredentials) -> None:
    accounts = [account("alice", "y"), account("bob", "y"), account("off", "x", disabled=True)]
    assert str(login(bench(accounts).checker, credentials)) == reason


@pytest.mark.parametrize(("acting_as", "allowed"), [
    ("", True), ("alice", True), ("ALICE@example.org", True), ("bob", False), ("nobody", False),
    ("off", False),
])  # fmt: skip
def test_nobody_acts_as_another(acting_as: str, allowed: bool) -> None:
    accounts = [account("alice", "x"), account("bob", "x"), account("off", "x", disabled=True)]
    checker = bench(accounts).checker
    for credentials in (NamedPassword("alice", "x", acting_as), ProvenName("alice", acting_as)):
        assert (login(checker, credentials) == ALICE) is allowed


@pytest.mark.parametrize("name", ["nobody", "off", ""])
def test_a_proof_helps_nobody_without_an_account(name: str) -> None:
    checker = bench([account("off", "x", disabled=True)]).checker
    assert isinstance(login(checker, ProvenName(name)), UnauthorizedLogin)


@attrs.frozen
class Tokens:
    """Knows one token."""

    answer: Any

    def validate(self, token: str) -> Deferred[str]:
        return succeed(self.answer) if token == "good" else fail(UnauthorizedLogin("bad"))


@pytest.mark.parametrize(
    ("whose", "token", "name", "allowed"),
    [
        ("alice@example.org", "good", "", True), ("Alice", "good", "alice", True),
        ("alice", "bad", "", False),
        ("alice", "good", "bob", False), ("alice", "good", "nobody", False), ("nobody", "good", "", False),
        ("off", "good", "", False),
    ],
)  # fmt: skip
def test_tokens(whose: str, token: str, name: str, allowed: bool) -> None:
    accounts = [account("alice"), account("bob"), account("off", disabled=True)]
    checker = bench(accounts, tokens=Tokens(whose)).checker
    assert (login(checker, BearerToken(token, name)) == ALICE) is allowed


# ---------------------------------------------------------------- app passwords


def test_app_passwords_cost_no_verification_and_their_use_is_told_now_and_then(verified: list[str]) -> None:
    app = AppPassword("phone", app_password_digest("abcd-efgh"))
    told: list[Any] = []
    stand = bench(
        [account("alice", HASHED, app_passwords=(app,)), account("bob", HASHED)],
        app_password_used=lambda address, app: told.append((str(address), app.name)),
    )
    for wait in (0, 59, 0.5, 0.5):
        stand.reactor.advance(wait)
        assert login(stand.checker, NamedPassword("alice", "ABCD efgh")) == ALICE
    assert told == [(ALICE, "phone")] * 2
    stand.checker.replace(directory(account("alice", HASHED, app_passwords=(app,)), account("bob", HASHED)))
    assert login(stand.checker, NamedPassword("alice", "abcdefgh")) == ALICE
    assert len(told) == 2
    assert not verified
    assert isinstance(login(stand.checker, NamedPassword("bob", "abcd-efgh")), UnauthorizedLogin)
    stand.checker.replace(directory(account("alice", HASHED)))
    assert isinstance(login(stand.checker, NamedPassword("alice", "abcd-efgh")), UnauthorizedLogin)


@pytest.mark.parametrize("how", ["raises", "fails"])
def test_a_record_that_cannot_be_written_refuses_nobody(how: str) -> None:
    def broken(*args: object) -> Deferred[None]:
        raised = OSError("disk")
        if how == "fails":
            return fail(raised)
        raise raised

    app = AppPassword("phone", app_password_digest("abcd"))
    people = [account("alice", HASHED, kept=True, app_passwords=(app,))]
    stand = bench(people, app_password_used=broken, upgrade=broken)
    assert login(stand.checker, NamedPassword("alice", "abcd")) == ALICE
    assert login(stand.checker, NamedPassword("alice", "wonderland")) == ALICE


# ---------------------------------------------------------------- upgrades


OLD = passlib_hash.sha256_crypt.using(rounds=1000, salt="pepper").hash("wonderland")
NEW = PasswordHasher().hash("wonderland", salt=b"pepper and salt.")


@pytest.mark.parametrize(
    ("stored", "kept", "password", "upgrades"),
    [
        (OLD, True, "wonderland", 1), (OLD, True, "wrong", 0), (OLD, False, "wonderland", 0),
        (NEW, True, "wonderland", 0), ("wonderland", True, "wonderland", 0),
        (HASHED, True, "wonderland", 1),
    ],
)  # fmt: skip
def test_old_hashes_of_kept_accounts_are_upgraded(
    stored: str, kept: bool, password: str, upgrades: int
) -> None:
    asked: list[Any] = []
    stand = bench(
        [account("alice", stored, kept=kept)], remember=300, upgrade=lambda *args: asked.append(args)
    )
    polls(stand, "alice", password)
    assert [(one.key, old.value, text) for one, old, text in asked] == [
        (ALICE, stored, "wonderland")
    ] * upgrades


def test_an_upgrade_gets_the_form_of_the_password_that_fits() -> None:
    asked: list[Any] = []
    old = passlib_hash.sha256_crypt.using(rounds=1000).hash("p\u00e4ss")
    stand = bench([account("alice", old, kept=True)], upgrade=lambda *args: asked.append(args))
    assert polls(stand, "alice", "pa\u0308ss", 1) == [ALICE]
    assert asked[0][2] == "p\u00e4ss"
