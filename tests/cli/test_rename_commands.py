"""``mailserver account rename`` and ``domain rename``: the entries of the store, and what is refused."""

import json

import attrs
import pytest

from mailserver.accounts.entries import StoredList
from mailserver.accounts.store import AccountStore
from mailserver.commands.account_admin import AccountAdmin
from mailserver.commands.accounts import ACCOUNT_COMMANDS
from mailserver.mail.address import Address
from tests.support.cli import ALICE, AWAY, BOB, CLUB, SALES, Ended, Run

ANN = Address.parse("Ann@example.org")
CAROL = Address.parse("carol@example.com")


@pytest.fixture
def stored(accounts: AccountStore) -> AccountStore:
    accounts.add(ALICE, "secret", ["APOP"])
    accounts.add(BOB, None)
    accounts.add_app_password(ALICE, "phone")
    accounts.set_alias(SALES, [ALICE, AWAY])
    accounts.set_list(CLUB, StoredList((BOB, Address.parse("alice+club@example.org")), ALICE))
    accounts.take_changes()
    return accounts


def test_everything_stays_with_the_account(mailserver: Run, stored: AccountStore) -> None:
    before = stored.account(ALICE)
    done = mailserver("account", "rename", "alice", "Ann")
    assert done == Ended(0, [f"{ALICE} is now {ANN}; mail for {ALICE} reaches it, too"], [])
    assert stored.account(ANN) == attrs.evolve(before, address=ANN)
    assert stored.aliases() == {ALICE.key: (ANN,), SALES.key: (ANN, AWAY)}
    club = StoredList((BOB, Address.parse("Ann+club@example.org")), ANN)
    assert stored.lists() == {CLUB.key: club}
    changes = stored.take_changes()
    assert changes.accounts == {
        each.key: stored.account(ANN) if each == ANN else None for each in (ALICE, ANN, SALES, CLUB)
    }


def test_into_another_domain_without_an_alias(mailserver: Run, stored: AccountStore) -> None:
    done = mailserver("account", "rename", "bob", str(CAROL), "--no-alias")
    assert done == Ended(0, [f"{BOB} is now {CAROL}"], [])
    assert stored.kind_of(BOB) is None
    assert stored.lists()[CLUB.key].members[0] == CAROL


def test_only_the_spelling(mailserver: Run, stored: AccountStore) -> None:
    done = mailserver("account", "rename", "alice", "Alice")
    assert done == Ended(0, ["alice@example.org is now Alice@example.org"], [])
    assert stored.account(ALICE).address.local == "Alice"
    assert stored.kind_of(ALICE) == "account"


def test_a_domain(mailserver: Run, stored: AccountStore) -> None:
    stored.remove_list(CLUB)
    stored.add(CAROL, None)
    done = mailserver("domain", "rename", "example.com", "example.org")
    assert done == Ended(0, ["example.com is now example.org: 1 name renamed"], [])
    here = Address("carol", "example.org")
    assert stored.account(here).address == here
    assert stored.aliases()[CAROL.key] == (here,)
    refused = mailserver("domain", "rename", "example.org", "example.com")
    assert refused.err == [
        "mailserver: change these in the configuration first: account root@example.org, "
        "alias info@example.org, list staff@example.org, moved dora@example.org"
    ]


def test_the_mailboxes_that_move(admin: AccountAdmin, stored: AccountStore) -> None:
    moved: list[object] = []
    admin = attrs.evolve(admin, moved=lambda pairs: moved.append(dict(pairs)))

    def run(command: str, **request: object) -> tuple[str, ...]:
        return ACCOUNT_COMMANDS[command](admin, {"command": command, **request}).lines

    [pairs] = run("account rename", old="alice", new="ann", rehearse=True)
    assert json.loads(pairs) == [["alice@example.org", "ann@example.org"]]
    assert json.loads(run("account rename", old="bob", new="Bob", rehearse=True)[0]) == []
    assert moved == []
    assert stored.kind_of(ALICE) == "account"
    stored.add(CAROL, None)
    [pairs] = run("domain rename", old="example.com", new="example.org", rehearse=True)
    assert json.loads(pairs) == [
        ["carol@example.com", "carol@example.org"],
        ["quarantine@example.com", "quarantine@example.org"],
    ]
    run("account rename", old="alice", new="ann")
    assert moved == [{ALICE.key: Address.parse("ann@example.org")}]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("account rename root ann", "root@example.org is in the configuration: stop the server, change the "
         "address of its [[account]] to ann@example.org"),
        ("account rename nobody ann", "nobody@example.org is not an account in the account store"),
        ("account rename sales ann", "sales@example.org is not an account in the account store"),
        ("account rename alice bob", "bob@example.org is already an account"),
        ("account rename alice sales", "sales@example.org is already an alias"),
        ("account rename alice info", "info@example.org is in the configuration (alias); change it there"),
        ("account rename alice ann@elsewhere.example", "is not in a domain of this server"),
        ("account rename alice a..b", "invalid address"),
        ("domain rename example.net example.org", "the account store has no name in example.net"),
        ("domain rename example.com example.com", "example.com is the same domain"),
        ("domain rename .. example.com", "the domain is not a valid host name"),
    ],
)  # fmt: skip
def test_what_is_refused(mailserver: Run, stored: AccountStore, words: str, problem: str) -> None:
    names = stored.names()
    done = mailserver(*words.split())
    assert (done.status, done.out, len(done.err)) == (1, [], 1)
    assert problem in done.err[0]
    assert stored.names() == names


def test_a_name_that_others_need(mailserver: Run, stored: AccountStore) -> None:
    stored.set_alias(Address.parse("boss@example.org"), [CLUB])
    assert mailserver("account", "rename", "alice", "ann", "--no-alias").status == 0
    assert stored.aliases()[SALES.key][0].local == "ann"
