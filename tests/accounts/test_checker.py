"""The checker: who gets in."""

from typing import Any

import attrs
import pytest
from argon2 import PasswordHasher
from passlib import hash as passlib_hash
from twisted.cred.credentials import ICredentials, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed

from mailserver.accounts.cred import BearerToken, NamedPassword, ProvenName, VouchedAddresses
from mailserver.accounts.directory import AppPassword, app_password_digest
from tests.support.accounts.people import CHEAP, HASHED, account, bench, directory, login, polls

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
        ("tokens are not accepted", BearerToken("x")),
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
        ("alice@example.org", "good", "", True), ("alice@Example.ORG", "good", "alice", True),
        ("alice", "bad", "", False),
        (ALICE, "good", "bob", False), (ALICE, "good", "nobody", False),
        ("nobody@example.org", "good", "", False), ("off@example.org", "good", "", False),
    ],
)  # fmt: skip
def test_tokens(whose: str, token: str, name: str, allowed: bool) -> None:
    accounts = [account("alice"), account("bob"), account("off", disabled=True)]
    checker = bench(accounts, tokens=Tokens(whose)).checker
    assert (login(checker, BearerToken(token, name)) == ALICE) is allowed


# To those who vouch for them these are not alice@example.org.
NOT_ALICE = [
    "alice", "\uff41lice@example.org", "\u24d0lice@example.org", "ali\u00adce@example.org",
    "ali\u200bce@example.org", "Alice@example.org", "ALICE@EXAMPLE.ORG", " alice@example.org",
    "alice@example.org ", "alice@example.org.", '"alice"@example.org', "alice@\uff45xample.org",
    "alice@e\u00adxample.org", "alice@EXAMPLE\u3002org", "<alice@example.org>", "mailto:alice@example.org",
    "alice@other.example", "alice+x@example.org", "alice@example.org@example.org", "alice@", "@example.org",
    "", "@", "alice\0@example.org", "alice@example.org\0", "\ud800", "\u212aate@example.org",
    "kate@domain.\u212a",
]  # fmt: skip
VOUCHED = [account("alice"), account("kate"), account("kate@domain.k")]


@pytest.mark.parametrize("whose", NOT_ALICE)
def test_identities_that_others_vouch_for_are_compared_exactly(whose: str) -> None:
    stand = bench(VOUCHED, tokens=Tokens(whose))
    claims = [BearerToken("good"), BearerToken("good", ALICE), VouchedAddresses([whose])]
    claims += [VouchedAddresses([whose], ALICE), VouchedAddresses([whose, "bob@example.org"], whose)]
    for credentials in claims:
        assert isinstance(login(stand.checker, credentials), UnauthorizedLogin)


@pytest.mark.parametrize(
    ("kept", "whose"),
    [
        ("alice", "alice@example.org"), ("alice", "alice@EXAMPLE.org"), ("Alice", "Alice@example.org"),
        ("\uff41lice", "\uff41lice@example.org"), ("j\u00fcrgen", "j\u00fcrgen@Example.org"),
        ("a@m\u00fcnchen.example", "a@xn--mnchen-3ya.EXAMPLE"), ('"a b"@example.org', '"a b"@example.org'),
    ],
)  # fmt: skip
def test_an_address_as_it_is_kept_is_one_to_vouch_for(kept: str, whose: str) -> None:
    mine = account(kept)
    stand = bench([mine, account("bob")], tokens=Tokens(whose))
    for credentials in (BearerToken("good"), VouchedAddresses([whose])):
        assert login(stand.checker, credentials) == mine.key


@pytest.mark.parametrize(
    ("acting_as", "found"),
    [
        ("", ALICE), ("alice", ALICE), ("ALICE", ALICE), ("\uff41lice@example.org", ALICE),
        ("bob", "bob@example.org"), ("Bob@Example.org", "bob@example.org"),
        ("off", None), ("carol", None), ("nobody", None), ("alice@other.example", None),
    ],
)  # fmt: skip
def test_a_client_chooses_among_the_addresses_of_its_certificate(acting_as: str, found: str | None) -> None:
    """As it may with PLAIN: by a bare local part, too."""
    people = [account(name) for name in ("alice", "bob", "carol")] + [account("off", disabled=True)]
    addresses = [ALICE, "nobody@example.org", "bob@example.org", "off@example.org"]
    came_to = login(bench(people).checker, VouchedAddresses(addresses, acting_as))
    assert came_to == found if found else isinstance(came_to, UnauthorizedLogin)


def test_the_first_address_counts_where_the_client_names_none() -> None:
    stand = bench([account("alice"), account("off", disabled=True)])
    for first in ("nobody@example.org", "off@example.org"):
        assert isinstance(login(stand.checker, VouchedAddresses([first, ALICE])), UnauthorizedLogin)


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
    people = [account("alice", HASHED, stored=True, app_passwords=(app,))]
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
        [account("alice", stored, stored=kept)], remember=300, upgrade=lambda *args: asked.append(args)
    )
    polls(stand, "alice", password)
    assert [(one.key, old.value, text) for one, old, text in asked] == [
        (ALICE, stored, "wonderland")
    ] * upgrades


def test_an_upgrade_gets_the_form_of_the_password_that_fits() -> None:
    asked: list[Any] = []
    old = passlib_hash.sha256_crypt.using(rounds=1000).hash("p\u00e4ss")
    stand = bench([account("alice", old, stored=True)], upgrade=lambda *args: asked.append(args))
    assert polls(stand, "alice", "pa\u0308ss", 1) == [ALICE]
    assert asked[0][2] == "p\u00e4ss"
