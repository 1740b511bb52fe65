"""Passwords, the checker, the realm."""

import pytest
from argon2 import PasswordHasher
from passlib import hash as passlib_hash
from twisted.cred.checkers import ANONYMOUS
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.python.failure import Failure

from mailserver.auth.checker import AccountChecker
from mailserver.auth.passwords import StoredPassword, hash_password
from mailserver.auth.portal import MailRealm
from mailserver.interfaces import IMailUser
from mailserver.mail.address import Address
from tests.fake_reactor import FakeReactor

ALICE = Address("alice", "example.org")
HASHED = hash_password("wonderland")


def hashes(password: str) -> dict[str, str]:
    """The password in every form that is read."""
    crypt = {
        "SHA512-CRYPT": passlib_hash.sha512_crypt.using(rounds=1000).hash(password),
        "SHA256-CRYPT": passlib_hash.sha256_crypt.using(rounds=1000).hash(password),
        "BLF-CRYPT": passlib_hash.bcrypt.using(rounds=4).hash(password),
    }
    argon2 = hash_password(password)
    return {
        "plain": password,
        "{PLAIN}": "{PLAIN}" + password,
        "argon2": argon2,
        "{ARGON2ID}": "{ARGON2ID}" + argon2,
        **{f"{{{name}}}": f"{{{name}}}{value}" for name, value in crypt.items()},
        **{f"bare {name}": value for name, value in crypt.items()},
        "{SSHA}": passlib_hash.ldap_salted_sha1.hash(password),
        "{SSHA256}": passlib_hash.ldap_salted_sha256.hash(password),
        "{SSHA512}": passlib_hash.ldap_salted_sha512.hash(password),
    }


@pytest.mark.parametrize("form", hashes("x"))
@pytest.mark.parametrize("password", ["wonderland", "pass word", "p\u00e4ss"])
def test_every_form_knows_its_password(form: str, password: str) -> None:
    stored = StoredPassword.read(hashes(password)[form])
    assert stored.verify(password)
    assert not stored.verify(password + "x")
    assert not stored.verify("")
    assert stored.slow == ("plain" not in form.lower())


# What "openssl passwd -6 -salt saltsalt wonderland" prints.
OPENSSL = "$6$saltsalt$pqxtaP8VN9msji06dnBCbUbaSGTOXyo9jZDqZxik1rPexoqRIW4UKuiD0ZHZchCSd7S4/HoRU8bcFbnz2ihUr."


def test_a_hash_made_by_another_program() -> None:
    assert StoredPassword.read(OPENSSL).verify("wonderland")
    assert StoredPassword.read("{SHA512-CRYPT}" + OPENSSL).verify("wonderland")
    assert not StoredPassword.read(OPENSSL).verify("Wonderland")


@pytest.mark.parametrize(
    "damaged", ["$argon2id$", "{SHA512-CRYPT}$6$", "{SSHA256}!!", "{BLF-CRYPT}$2y$", "$2y$99"]
)
def test_a_damaged_hash_matches_nothing(damaged: str) -> None:
    assert not StoredPassword.read(damaged).verify("")
    assert not StoredPassword.read(damaged).verify(damaged)


def test_a_stored_password_does_not_show_itself() -> None:
    assert "wonderland" not in repr(StoredPassword.read("wonderland"))


def make_checker(stored: dict[Address, StoredPassword]) -> AccountChecker:
    reactor = FakeReactor()
    return AccountChecker(stored, "example.org", reactor, reactor)  # type: ignore[arg-type]


def login(passwords: dict[Address, str], user: bytes, password: bytes) -> object:
    """The avatar id, or the failure."""
    stored = {address: StoredPassword.read(text) for address, text in passwords.items()}
    checker = make_checker(stored)
    found: list[object] = []
    checker.requestAvatarId(UsernamePassword(user, password)).addBoth(found.append)
    return found[0]


@pytest.mark.parametrize("user", [b"alice", b"ALICE", b"alice@example.org", b"Alice@Example.ORG"])
@pytest.mark.parametrize(
    "stored", ["wonderland", "{PLAIN}wonderland", HASHED], ids=["plain", "marked", "hashed"]
)
def test_logins(user: bytes, stored: str) -> None:
    assert login({ALICE: stored}, user, b"wonderland") == b"alice@example.org"


@pytest.mark.parametrize(
    ("user", "password"),
    [
        (b"alice", b"wrong"), (b"alice", b""), (b"bob", b"wonderland"),
        (b"alice@other.example", b"wonderland"),
        (b"alice+x", b"wonderland"), (b"", b""), (b"\xff", b"\xff"), (b"alice@", b"wonderland"),
        (b"alice", b"\xff"),
        (b"../alice", b"wonderland"), (b"a" * 300, b"x"), (b"alice\0", b"wonderland"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stored", ["wonderland", HASHED], ids=["plain", "hashed"])
def test_refused_logins(user: bytes, password: bytes, stored: str) -> None:
    refused = login({ALICE: stored}, user, password)
    assert isinstance(refused, Failure)
    assert refused.type is UnauthorizedLogin


def test_every_refusal_verifies_one_password_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the time tells neither whether a name is known nor how its password is kept."""
    forms = hashes("wonderland")
    cheap = PasswordHasher(time_cost=1, memory_cost=8192).hash("wonderland")
    stored = {
        Address(f"user{number}", "example.org"): StoredPassword.read(text)
        for number, text in enumerate([*forms.values(), cheap, "another", HASHED, "$argon2id$damaged"])
    }
    kinds = sorted({password.kind for password in stored.values()})
    assert len(kinds) == 10  # plain, two argon2 and a damaged one, three crypt, three salted
    verified: list[str] = []
    monkeypatch.setattr(StoredPassword, "verify", lambda self, password: verified.append(self.kind))
    checker = make_checker(stored)
    names = [str(address).encode() for address in stored]
    for user in [*names, b"nobody", b"nobody@elsewhere.example", b"no@body@"]:
        verified.clear()
        checker.requestAvatarId(UsernamePassword(user, b"wrong")).addErrback(lambda failure: None)
        assert sorted(verified) == kinds, user


@pytest.mark.parametrize("closed", [False, True])
def test_hashing_has_threads_of_its_own_and_ends_when_it_is_closed(closed: bool) -> None:
    reactor, threads = FakeReactor(), FakeReactor(held=True)
    checker = AccountChecker({ALICE: StoredPassword.read(HASHED)}, "example.org", reactor, threads)  # type: ignore[arg-type]
    found: list[object] = []
    checker.requestAvatarId(UsernamePassword(b"alice", b"wonderland")).addBoth(found.append)
    assert found == []
    if closed:
        checker.close()
    threads.run_threads()
    assert isinstance(found[0], Failure) if closed else found == [b"alice@example.org"]


def test_accounts_can_be_replaced() -> None:
    checker = make_checker({})
    checker.replace({ALICE: StoredPassword.read("wonderland")}, "example.org")
    found: list[object] = []
    checker.requestAvatarId(UsernamePassword(b"alice", b"wonderland")).addBoth(found.append)
    assert found == [b"alice@example.org"]


def test_the_portal_gives_out_mail_users() -> None:
    class Store:
        def maildrop(self, mailbox: Address) -> str:
            return f"maildrop of {mailbox}"

    checker = make_checker({ALICE: StoredPassword.read("wonderland")})
    portal = Portal(MailRealm(Store()), [checker])  # type: ignore[arg-type]
    found: list[object] = []
    portal.login(UsernamePassword(b"alice", b"wonderland"), None, IMailUser).addBoth(found.append)
    interface, avatar, logout = found[0]  # type: ignore[misc]
    assert interface is IMailUser and IMailUser.providedBy(avatar)
    assert avatar.open_maildrop() == "maildrop of alice@example.org"
    logout()
    for avatar_id, wanted in ((ANONYMOUS, IMailUser), (b"alice@example.org", object)):
        with pytest.raises(NotImplementedError):
            MailRealm(Store()).requestAvatar(avatar_id, None, wanted)  # type: ignore[arg-type]
