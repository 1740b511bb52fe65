"""The account store: what it keeps, and what it refuses."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.accounts.credentials import SCRAM_ITERATIONS, StoredCredentials
from mailserver.accounts.directory import Account, AppPassword, app_password_digest
from mailserver.accounts.entries import StoredList, StoredNames
from mailserver.accounts.passwords import StoredPassword, hash_password
from mailserver.accounts.store import USED_STEP, AccountStore
from mailserver.errors import AccountError
from mailserver.mail.address import Address
from mailserver.sasl.scram import derive_keys
from tests.support.accounts.stores import ALICE, AWAY, BOB, CAROL, CLUB, NOW, SALES, fill, make

pytestmark = pytest.mark.usefixtures("cheap")


@pytest.fixture(params=["sqlite", "memory"])
def accounts(path: Path, request: pytest.FixtureRequest) -> Iterator[AccountStore]:
    opened = make(path if request.param == "sqlite" else None)
    yield opened
    opened.close()


def only(accounts: AccountStore) -> Account:
    [account] = accounts.accounts().values()
    return account


# ------------------------------------------------------------ accounts


def test_an_account(accounts: AccountStore) -> None:
    accounts.add(ALICE, "wonder land")
    account = only(accounts)
    assert (account.address, account.stored, account.disabled) == (ALICE, True, False)
    assert (account.scram, account.secret, account.app_passwords) == ({}, None, ())
    assert account.password is not None
    assert (account.password.scheme, account.password.outdated) == ("argon2", False)
    assert account.password.verify("wonder land")
    assert list(accounts.accounts()) == [ALICE.key]
    assert accounts.account(ALICE.key) == account


@pytest.mark.parametrize(
    ("mechanisms", "hashes", "secret"),
    [
        ((), [], False),
        (("PLAIN", "LOGIN", "XOAUTH2"), [], False),
        (("SCRAM-SHA-1",), ["sha1"], False),
        (("SCRAM-SHA-256-PLUS",), ["sha256"], False),
        (("SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), ["sha1", "sha256"], False),
        (("CRAM-MD5",), [], True),
        (("APOP", "SCRAM-SHA-256"), ["sha256"], True),
    ],
)
@pytest.mark.parametrize("how", ["add", "set_password"])
def test_keys_are_made_for_the_mechanisms_alone(
    accounts: AccountStore, how: str, mechanisms: tuple[str, ...], hashes: list[str], secret: bool
) -> None:
    if how == "set_password":
        accounts.add(ALICE, "old", ["SCRAM-SHA-1", "SCRAM-SHA-256", "APOP"])
    getattr(accounts, how)(ALICE, "new", mechanisms)
    account = only(accounts)
    assert sorted(account.scram) == hashes
    assert account.secret == ("new" if secret else None)
    assert account.password is not None
    assert account.password.verify("new")
    for hash_name, keys in account.scram.items():
        assert (len(keys.salt), keys.iterations) == (16, SCRAM_ITERATIONS)
        assert keys == derive_keys("new", hash_name, keys.salt, SCRAM_ITERATIONS)
    assert len({keys.salt for keys in account.scram.values()}) == len(hashes)


def test_passwords_are_prepared(accounts: AccountStore) -> None:
    """RFC 4013: two spellings of one letter are one; what it forbids is kept as it is."""
    accounts.add(ALICE, "pa\u0308ss\u00aa", ["CRAM-MD5", "SCRAM-SHA-256"])
    account = only(accounts)
    assert account.password is not None
    assert account.password.verify("p\u00e4ssa")
    assert account.secret == "p\u00e4ssa"
    keys = account.scram["sha256"]
    assert keys == derive_keys("p\u00e4ssa", "sha256", keys.salt, keys.iterations)
    accounts.set_password(ALICE, "tab\there")
    stored = only(accounts).password
    assert stored is not None
    assert stored.verify("tab\there")


def test_an_account_without_a_password(accounts: AccountStore) -> None:
    accounts.add(ALICE, None, ["SCRAM-SHA-256", "APOP"])
    account = only(accounts)
    assert (account.password, account.scram, account.secret) == (None, {}, None)
    accounts.set_password(ALICE, "x")
    assert only(accounts).password is not None


def test_disabling(accounts: AccountStore) -> None:
    accounts.add(ALICE, "x")
    before = only(accounts)
    accounts.disable(ALICE)
    accounts.disable(ALICE)
    assert only(accounts).disabled
    accounts.enable(ALICE)
    assert only(accounts) == before


def test_a_hash_is_replaced_only_while_it_is_the_old_one(accounts: AccountStore) -> None:
    old, new = StoredPassword.read("{SSHA}aaaa"), StoredPassword.read(hash_password("x"))
    accounts.import_accounts({ALICE: StoredCredentials(old), BOB: StoredCredentials(old)})
    accounts.replace_hash(ALICE, old, new)
    assert accounts.account(ALICE).password == new
    accounts.replace_hash(ALICE, old, StoredPassword.read("{PLAIN}other"))
    accounts.replace_hash(CAROL, old, new)
    assert accounts.account(ALICE).password == new
    assert accounts.account(BOB).password == old


def test_removing_takes_all_with_it(accounts: AccountStore) -> None:
    for address in (ALICE, BOB):
        accounts.add(address, "x", ["SCRAM-SHA-1"])
        accounts.add_app_password(address, "phone")
    accounts.remove(ALICE)
    assert list(accounts.accounts()) == [BOB]
    accounts.add(ALICE, None)
    account = accounts.account(ALICE)
    assert (account.app_passwords, account.scram) == ((), {})
    assert accounts.account(BOB).app_passwords


# ------------------------------------------------------------ app passwords


def test_app_passwords(accounts: AccountStore) -> None:
    accounts.add(ALICE, None)
    texts = {name: accounts.add_app_password(ALICE, name) for name in ("phone", "my laptop", "ä")}
    found = {each.name: each for each in only(accounts).app_passwords}
    assert found == {
        name: AppPassword(name, app_password_digest(text), NOW, 0.0) for name, text in texts.items()
    }
    signs = set("".join(texts.values()))
    assert signs <= set("abcdefghjkmnpqrstuvwxyz23456789-")
    for text in texts.values():
        assert [len(group) for group in text.split("-")] == [4] * 6
    accounts.set_password(ALICE, "x")
    accounts.revoke_app_password(ALICE, "phone")
    assert [each.name for each in only(accounts).app_passwords] == ["my laptop", "ä"]


def test_the_last_use_is_noted_to_the_minute(accounts: AccountStore) -> None:
    accounts.add(ALICE, None)
    accounts.add_app_password(ALICE, "phone")
    noted = []
    for when in (NOW, NOW + 1, NOW + USED_STEP - 1, NOW + USED_STEP, NOW + 5 * USED_STEP):
        accounts.used_app_password(ALICE.key, "phone", when)
        noted.append(only(accounts).app_passwords[0].used - NOW)
    assert noted == [0, 0, 0, USED_STEP, 5 * USED_STEP]
    accounts.used_app_password(ALICE, "revoked", NOW)
    accounts.used_app_password(BOB, "phone", NOW)
    assert len(only(accounts).app_passwords) == 1


# ------------------------------------------------------------ aliases and lists


def test_aliases(accounts: AccountStore) -> None:
    accounts.set_alias(SALES, [ALICE, AWAY, ALICE.key])
    assert accounts.aliases() == {SALES: (ALICE.key, AWAY)}
    accounts.set_alias(SALES, [BOB], replace=True)
    assert accounts.aliases() == {SALES: (BOB,)}
    accounts.remove_alias(SALES)
    assert accounts.aliases() == {}


def test_lists(accounts: AccountStore) -> None:
    accounts.set_list(CLUB, StoredList((BOB, AWAY, BOB), owner=ALICE))
    assert accounts.lists() == {CLUB: StoredList((BOB, AWAY), ALICE)}
    accounts.join(CLUB, [CAROL, BOB])
    accounts.leave(CLUB, [Address.parse("Bob@example.org")])
    assert accounts.lists() == {CLUB: StoredList((AWAY, CAROL), ALICE)}
    accounts.remove_list(CLUB)
    assert accounts.lists() == {}


def test_names(accounts: AccountStore) -> None:
    assert accounts.names() == StoredNames()
    fill(accounts)
    assert accounts.names() == StoredNames((ALICE,), {SALES: (ALICE,)}, {CLUB: StoredList((ALICE,))})
    assert accounts.everything() == (accounts.accounts(), accounts.names())
    kinds = [accounts.kind_of(address) for address in (ALICE.key, SALES, CLUB, BOB)]
    assert kinds == ["account", "alias", "list", None]


# ------------------------------------------------------------ what cannot be

WRONG: dict[str, tuple[Callable[[AccountStore], Any], str]] = {
    "unknown, set_password": (lambda a: a.set_password(BOB, "x"), "bob@example.org is not an account"),
    "unknown, disable": (lambda a: a.disable(BOB), "is not an account in the account store"),
    "unknown, enable": (lambda a: a.enable(BOB), "is not an account"),
    "unknown, remove": (lambda a: a.remove(BOB), "is not an account"),
    "unknown, account": (lambda a: a.account(BOB), "is not an account"),
    "unknown, app password": (lambda a: a.add_app_password(BOB, "x"), "is not an account"),
    "unknown, revoke": (lambda a: a.revoke_app_password(BOB, "x"), "is not an account"),
    "an alias is no account": (lambda a: a.remove(SALES), "is not an account"),
    "a list is no alias": (lambda a: a.remove_alias(CLUB), "is not an alias"),
    "an alias is no list": (lambda a: a.remove_list(SALES), "is not a mailing list"),
    "unknown, join": (lambda a: a.join(BOB, [ALICE]), "is not a mailing list"),
    "unknown, leave": (lambda a: a.leave(SALES, [ALICE]), "is not a mailing list"),
    "account, again": (lambda a: a.add(ALICE.key, None), "alice@example.org is already an account"),
    "account, an alias": (lambda a: a.add(SALES, "x"), "is already an alias"),
    "account, a list": (lambda a: a.add(CLUB, "x"), "is already a mailing list"),
    "alias, again": (lambda a: a.set_alias(SALES, [BOB]), "is already an alias"),
    "alias, an account": (lambda a: a.set_alias(ALICE, [BOB], replace=True), "is already an account"),
    "list, again": (lambda a: a.set_list(CLUB, StoredList((BOB,))), "is already a mailing list"),
    "list, an account": (lambda a: a.set_list(ALICE, StoredList((BOB,))), "is already an account"),
    "importing, one known": (
        lambda a: a.import_accounts({BOB: StoredCredentials(None), ALICE: StoredCredentials(None)}),
        "Alice@example.org is already an account",
    ),
    "importing, an alias": (
        lambda a: a.import_accounts(dict.fromkeys([BOB, SALES], StoredCredentials(None)), replace=True),
        "is already an alias",
    ),
    "app password, again": (lambda a: a.add_app_password(ALICE, "phone"), "has an app password phone"),
    "app password, no name": (lambda a: a.add_app_password(ALICE, ""), "1 to 100 printable"),
    "app password, a long name": (lambda a: a.add_app_password(ALICE, "x" * 101), "1 to 100 printable"),
    "app password, a strange name": (lambda a: a.add_app_password(ALICE, "a\nb"), "1 to 100 printable"),
    "app password, none": (lambda a: a.revoke_app_password(ALICE, "x"), "has no app password x"),
    "add, an empty password": (lambda a: a.add(BOB, ""), "the password is empty"),
    "add, nothing left of it": (lambda a: a.add(BOB, "\u00ad\u200d"), "the password is empty"),
    "set_password, an empty one": (lambda a: a.set_password(ALICE, ""), "the password is empty"),
    "leave, a stranger": (lambda a: a.leave(CLUB, [BOB, ALICE]), "not a member of .*: bob@example.org$"),
    "leave, the last": (lambda a: a.leave(CLUB, [ALICE]), "at least one member"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_changes_nothing(accounts: AccountStore, case: str) -> None:
    fill(accounts)
    before = (accounts.accounts(), accounts.names())
    change, text = WRONG[case]
    with pytest.raises(AccountError, match=text):
        change(accounts)
    assert (accounts.accounts(), accounts.names()) == before


def test_importing(accounts: AccountStore) -> None:
    first, second = (StoredCredentials(StoredPassword.read(f"{{PLAIN}}{text}")) for text in ("one", "two"))
    accounts.add(ALICE, "x", ["APOP", "SCRAM-SHA-1"])
    accounts.import_accounts({BOB: first, CAROL: StoredCredentials(None)})
    accounts.import_accounts({BOB: second, ALICE: second}, replace=True)
    assert [each.password for each in accounts.accounts().values()] == [second.password] * 2 + [None]
    alice = accounts.account(ALICE)
    assert (alice.secret, alice.scram) == (None, {})


def test_two_threads_and_one_name(path: Path) -> None:
    accounts = make(path)
    addresses = [Address(f"user{number}", "example.org") for number in range(20)]
    start = threading.Barrier(2)
    added: list[Address] = []
    refused: list[str] = []

    def add_all() -> None:
        start.wait(10)
        for address in addresses:
            try:
                accounts.add(address, None)
                accounts.add_app_password(address, "phone")
                added.append(address)
            except AccountError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=add_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(added) == sorted(addresses) == sorted(accounts.accounts())
    assert sorted(refused) == sorted(f"{address} is already an account" for address in addresses)
    accounts.close()


@pytest.mark.parametrize(
    "change", [lambda a: a.add(BOB, None), lambda a: a.remove(CAROL), lambda a: a.remove_alias(CLUB)]
)
def test_who_looks_before_a_change_can_keep_others_out(
    accounts: AccountStore, change: Callable[[AccountStore], None]
) -> None:
    accounts.add(CAROL, None)
    accounts.set_alias(CLUB, [CAROL])
    changing = threading.Thread(target=change, args=(accounts,))
    with accounts.changing:
        before = accounts.names()
        changing.start()
        changing.join(0.1)
        assert accounts.names() == before
        accounts.set_alias(SALES, [BOB])
    changing.join(10)
    after = accounts.names()
    assert SALES in after.aliases
    assert (after.accounts, CLUB in after.aliases) != (before.accounts, True)
