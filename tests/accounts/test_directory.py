"""Names to log in by, and the accounts that they stand for."""

import pytest

from mailserver.accounts.directory import AppPassword, app_password_digest
from mailserver.accounts.passwords import StoredPassword, hash_password
from tests.support.accounts.people import HASHED, account, directory


@pytest.mark.parametrize(
    "name",
    [
        "alice", "ALICE", "alice@example.org", "Alice@Example.ORG", "\uff41lice", "ali\u00adce",
        "alice@\uff45xample.org",
    ],
)  # fmt: skip
def test_names_of_an_account(name: str) -> None:
    alice = account("Alice")
    found = directory(alice, account("bob"))
    assert found.find(name) is alice
    assert found.normal_form(name) == alice.key == "alice@example.org"


@pytest.mark.parametrize(
    "name",
    [
        "", "bob", "alice@other.example", "alice+x", "alice@", "@example.org", "../alice", "alice\0",
        "a" * 300, "alice example.org", "\ufffd", "\ud800", "\u0627\u0031",
    ],
)  # fmt: skip
def test_names_of_nobody(name: str) -> None:
    assert directory(account("alice")).find(name) is None


def test_a_local_part_in_the_first_domain_alone_may_be_bare() -> None:
    elsewhere = account("alice@second.example")
    assert directory(elsewhere).find("alice") is None
    assert directory(elsewhere).find("alice@second.example") is elsewhere


def test_an_address_outside_ascii() -> None:
    stored = account("j\u00fcrgen@example.org")
    found = directory(stored)
    assert found.find("j\u00fcrgen") is stored
    assert found.find("J\u00dcRGEN") is stored
    assert found.find("ju\u0308rgen") is stored  # as macOS writes it


@pytest.mark.parametrize("name", ["a..b", '"a..b"', "A..B@example.org", '"a..b"@example.org'])
def test_dots_side_by_side_need_no_quotes(name: str) -> None:
    stored = account('"a..b"@example.org')
    assert directory(stored).find(name) is stored


def test_the_exact_spelling_wins_over_the_prepared_one() -> None:
    wide, plain = account("\uff41lice"), account("alice")
    for order in ((wide, plain), (plain, wide)):
        found = directory(*order)
        assert found.find("alice") is plain
        assert found.find("\uff41lice") is wide
    assert directory(wide).find("alice") is wide


def test_a_disabled_account_is_known_and_not_admitted() -> None:
    alice = account("alice", "x", disabled=True)
    found = directory(alice)
    assert found.find("alice") is alice
    assert found.admits("alice") is None
    assert directory(account("alice", "x")).admits("alice") is not None


@pytest.mark.parametrize("name", ["alice", "Alice", "Zo\u00eb", "Zoe\u0308", '"a..b"', '"A b"'])
def test_who_may_log_in(name: str) -> None:
    """An avatar has the key of the account, which may differ from the spelling in the configuration."""
    one = account(name, "x")
    for address in (one.address, one.address.key):
        assert directory(one).may_log_in(address)
        assert not directory(account(name, "x", disabled=True)).may_log_in(address)
        assert not directory(account("bob", "x")).may_log_in(address)


def test_one_normal_form_also_for_names_that_nobody_has() -> None:
    found = directory()
    assert found.normal_form("Bob") == found.normal_form("bob@EXAMPLE.org") == "bob@example.org"
    assert found.normal_form("no@body@") == "no@body@"


def test_one_password_of_each_kind() -> None:
    found = directory(
        account("alice", "one"),
        account("bob", "two"),
        account("carol", HASHED),
        account("dave", "{SHA256}x", disabled=True),
        account("erin", "{NONE}"),
        account("frank"),
    )
    assert sorted(found.kinds) == sorted(["plain", StoredPassword.read(HASHED).kind])


@pytest.mark.parametrize("accounts", [[], [account("erin", "{NONE}")], [account("frank")]])
def test_where_nobody_has_a_password_one_that_costs_as_much_stands_in(accounts: list[object]) -> None:
    (kind,) = directory(*accounts).kinds.items()  # type: ignore[arg-type]
    assert kind[0] == StoredPassword.read(hash_password("x")).kind
    assert kind[1].sound and not kind[1].verify("")
    assert directory().kinds != directory().kinds  # nobody's, each time


APP = AppPassword("phone", app_password_digest("abcd-efgh"))


@pytest.mark.parametrize("text", ["abcd-efgh", "abcdefgh", " ABCD efgh", "a-b-c-d-e-f-g-h\t"])
def test_dashes_blanks_and_case_of_an_app_password_do_not_matter(text: str) -> None:
    alice = account("alice", app_passwords=(APP,))
    found = directory(alice, account("bob"))
    assert found.app_password(alice, text) is APP
    assert found.app_password(account("bob"), text) is None


@pytest.mark.parametrize("text", ["", "abcdefg", "abcdefghi", "abcd_efgh", "\ud800"])
def test_what_is_no_app_password(text: str) -> None:
    alice = account("alice", app_passwords=(APP,))
    assert directory(alice).app_password(alice, text) is None


def test_secrets_are_not_shown() -> None:
    shown = repr(account("alice", "wonderland", secret="rabbit", app_passwords=(APP,)))
    assert "wonderland" not in shown and "rabbit" not in shown and repr(APP.digest) not in shown


@pytest.mark.parametrize(
    ("stored", "secret", "plaintext"),
    [("x", None, "x"), (HASHED, None, None), (HASHED, "y", "y"), (None, None, None), ("{NONE}", None, None)],
)
def test_the_password_itself(stored: str | None, secret: str | None, plaintext: str | None) -> None:
    assert account("alice", stored, secret=secret).plaintext == plaintext
