"""``mailserver account``, ``alias`` and ``list``: from the command line to what is kept."""

from collections.abc import Iterator
from typing import Any

import pytest

from mailserver.accounts.directory import app_password_digest
from mailserver.accounts.entries import StoredList
from mailserver.accounts.store import AccountStore
from mailserver.cli import accounts as account_commands
from mailserver.commands.account_admin import AccountAdmin
from mailserver.commands.accounts import ACCOUNT_COMMANDS
from mailserver.control.channel import CommandFailed
from mailserver.mail.address import Address
from tests.support.cli import ALICE, AWAY, BOB, CLUB, INFO, ROOT, SALES, Ended, Run

# ------------------------------------------------------------ accounts


def test_accounts(mailserver: Run, accounts: AccountStore) -> None:
    added = mailserver("account", "add", "Alice", given="wonder land\nx\n")
    assert added == Ended(0, ["Alice@example.org is added"], [])
    assert mailserver("account", "add", "bob@example.com", "--no-password").out == [
        "bob@example.com is added, without a password"
    ]
    alice = accounts.account(ALICE)
    assert alice.password is not None
    assert alice.password.verify("wonder land")
    assert list(alice.scram) == ["sha256"]
    assert mailserver("account", "passwd", "alice", given="rabbit\n").out == [
        "alice@example.org has a new password"
    ]
    changed = accounts.account(ALICE).password
    assert changed is not None
    assert changed.verify("rabbit")
    assert "logins are rejected" in mailserver("account", "disable", "alice").out[0]
    assert mailserver("account", "list").out == [
        "Alice@example.org: argon2, SCRAM keys (sha256), disabled",
        "bob@example.com: no password",
        "root@example.org: in the configuration",
    ]
    assert mailserver("account", "enable", "alice").out == ["alice@example.org is enabled"]
    assert not accounts.account(ALICE).disabled
    assert mailserver("account", "remove", "alice").out == [
        "alice@example.org is removed; its mailbox stays on the disk"
    ]
    assert [str(each) for each in accounts.accounts()] == ["bob@example.com"]


def test_app_passwords(mailserver: Run, accounts: AccountStore) -> None:
    accounts.add(ALICE, None)
    words = ("account", "app-password")
    done = mailserver(*words, "add", "alice", "my phone")
    assert (done.status, done.err) == (0, [])
    [password] = done.out
    [kept] = accounts.account(ALICE).app_passwords
    assert kept.digest == app_password_digest(password)
    assert mailserver(*words, "list", "alice").out == [
        "my phone: created 2023-11-14T22:13:20Z, last used never"
    ]
    accounts.used_app_password(ALICE, "my phone", 1_700_000_060.0)
    assert mailserver(*words, "list", "alice").out[0].endswith("last used 2023-11-14T22:14:20Z")
    assert mailserver("account", "list").out[0] == "alice@example.org: no password, 1 app password"
    assert mailserver(*words, "revoke", "alice", "my phone").status == 0
    assert mailserver(*words, "list", "alice") == Ended(0, [], [])


def test_aliases(mailserver: Run, accounts: AccountStore) -> None:
    accounts.add(ALICE, None)
    assert mailserver("alias", "add", "sales", "alice", str(AWAY)).out == [
        "sales@example.org leads to alice@example.org, away@elsewhere.example",
    ]
    assert mailserver("alias", "add", "sales", "root").status == 1
    assert mailserver("alias", "add", "sales", "root", "--replace").status == 0
    assert accounts.aliases() == {SALES: (ROOT,)}
    assert mailserver("alias", "list").out == [
        "info@example.org: in the configuration",
        "sales@example.org: root@example.org",
    ]
    assert mailserver("alias", "remove", "sales").out == ["sales@example.org is removed"]
    assert accounts.aliases() == {}


def test_lists(mailserver: Run, accounts: AccountStore) -> None:
    assert mailserver("list", "add", "club", "root", str(AWAY), "--owner", "info").out == [
        "club@example.org has 2 members",
    ]
    assert mailserver("list", "list").out == [
        "club@example.org: root@example.org, away@elsewhere.example; owner info@example.org",
        "staff@example.org: in the configuration",
    ]
    assert mailserver("list", "join", "club", "info", "root").out == ["club@example.org has 3 members"]
    assert mailserver("list", "leave", "club", "root", str(AWAY)).out == ["club@example.org has 1 member"]
    assert accounts.lists() == {CLUB: StoredList((INFO,), owner=INFO)}
    assert mailserver("list", "remove", "club").out == ["club@example.org is removed"]
    assert accounts.lists() == {}


# ------------------------------------------------------------ what is refused


def prepare(accounts: AccountStore) -> None:
    accounts.add(ALICE, None)
    accounts.set_alias(SALES, [ALICE])
    accounts.set_list(CLUB, StoredList((ALICE,)))
    accounts.add(Address("jürgen", "example.org"), None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("account add root", "root@example.org is in the configuration (account)"),
        ("account add INFO", "INFO@example.org is in the configuration (alias)"),
        ("account add staff", "is in the configuration (list)"),
        ("account add dora", "is in the configuration (moved)"),
        ("account passwd root", "is in the configuration (account)"),
        ("account remove root", "is in the configuration (account)"),
        ("account add x@elsewhere.example", "is not in a domain of this server; its domains: example.org, "),
        ("account add a..b", "invalid address: the local part has an invalid character"),
        ("account add @", "invalid address"),
        ("account add alice", "alice@example.org is already an account"),
        ("account add " + "ü" * 43, "too long for a mailbox: the name of its folder has 258 octets"),
        ("account add " + "a" * 243, "it has 255 octets; the maximum is 254"),
        ("account add " + "b" * 120 + "." + "c" * 122, "it has 255 octets; the maximum is 254"),
        ("account add " + "a" * 255, "it has 267 octets; the maximum is 254"),
        ("account add " + "!" * 86, "too long for a mailbox"),
        ('account add "' + "/" * 86 + '"', "too long for a mailbox"),
        ("account add ju\u0308rgen", "jürgen@example.org is already an account"),
        ("account add JU\u0308RGEN --no-password", "JÜRGEN@example.org is already an account"),
        ("account add \uff41lice", "is another Unicode form of alice@example.org"),
        ("account add \u24d8nfo", "is another Unicode form of info@example.org"),
        ("account add ro\u00adot", "the local part has an invisible character, U+00AD"),
        ("account add ali\u200bce", "the local part has an invisible character, U+200B"),
        ("account add a\u202eb", "the local part has an invisible character, U+202E"),
        ("account add a\u3164", "the local part has an invisible character, U+3164"),
        ("account add a\ufe0f", "the local part has an invisible character, U+FE0F"),
        ("account add a\ue000", "the local part has an invisible character, U+E000"),
        ("account add \u0430lice", "the local part mixes letters of the scripts Cyrillic and Latin"),
        ("list add cl\u03c5b root", "the local part mixes letters of the scripts Greek and Latin"),
        ("alias add s\u200cales root", "the local part has an invisible character, U+200C"),
        ("alias add ju\u0308rgen root --replace", "jürgen@example.org is already an account"),
        ("list add \uff43lub root", "is another Unicode form of club@example.org"),
        ("account add sales", "sales@example.org is already an alias"),
        ("account passwd bob", "bob@example.org is not an account in the account store"),
        ("account passwd sales", "sales@example.org is not an account"),
        ("account disable bob", "is not an account"),
        ("account enable bob", "is not an account"),
        ("account remove bob@elsewhere.example", "is not in a domain"),
        (
            "account remove alice",
            "alice@example.org is still in use by the alias sales@example.org, the list club@example.org",
        ),
        ("account app-password add bob phone", "is not an account"),
        ("account app-password list bob", "is not an account"),
        ("account app-password revoke alice phone", "has no app password phone"),
        ("alias add info root", "is in the configuration (alias)"),
        ("alias add new bob", "new@example.org leads to bob@example.org, which does not exist here"),
        ("alias add new new", "alias loop: new@example.org -> new@example.org"),
        ("alias add sales sales --replace", "alias loop"),
        ("alias add new sales club bob@", "invalid address: the domain is missing"),
        ("alias remove new", "is not an alias"),
        ("alias remove club", "is not an alias"),
        ("list add new alice bob", "which does not exist here"),
        ("list add new alice --owner bob", "which does not exist here"),
        ("list add sales alice", "is already an alias"),
        ("list join new alice", "is not a mailing list"),
        ("list join club bob", "which does not exist here"),
        ("list join club club", "alias loop"),
        ("list leave club alice", "at least one member"),
        ("list leave club bob", "not a member of club@example.org: bob@example.org"),
        ("list remove sales", "is not a mailing list"),
    ],
)  # fmt: skip
def test_what_is_refused_is_one_line_and_changes_nothing(
    mailserver: Run, accounts: AccountStore, words: str, told: str
) -> None:
    prepare(accounts)
    before = (accounts.accounts(), accounts.names())
    done = mailserver(*words.split(), given="wonderland\n")
    assert (done.status, done.out) == (1, [])
    [line] = done.err
    assert line.startswith("mailserver: ")
    assert told in line
    assert (accounts.accounts(), accounts.names()) == before


def test_what_was_wrong_before_keeps_nobody_from_changing(mailserver: Run, accounts: AccountStore) -> None:
    """The configuration may have lost a name that something kept leads to."""
    accounts.set_alias(SALES, [BOB])
    assert mailserver("alias", "add", "new", "root").status == 0
    assert mailserver("alias", "remove", "sales").status == 0


@pytest.mark.parametrize("reason", ["is in the configuration", "is not in a domain"])
def test_what_the_configuration_would_not_let_in_any_more_can_be_removed(
    mailserver: Run, accounts: AccountStore, reason: str
) -> None:
    address = str(ROOT) if reason == "is in the configuration" else str(AWAY)
    accounts.add(Address.parse(address), None)
    assert reason in mailserver("account", "add", address, "--no-password").err[0]
    assert mailserver("account", "remove", address).status == 0
    assert not accounts.accounts()


@pytest.mark.parametrize(
    "words",
    [
        "account add root", "account add x@elsewhere.example", "account add a..b", "account add alice",
        "account add sales", "account add ali\u200bce", "account passwd bob", "account passwd root",
        "account passwd sales",
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_before_somebody_types_a_password(
    mailserver: Run, accounts: AccountStore, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    prepare(accounts)
    monkeypatch.setattr(account_commands, "ask_password", lambda: pytest.fail("it has asked"))
    done = mailserver(*words.split())
    assert (done.status, done.out, len(done.err)) == (1, [], 1)


def test_all_who_lead_to_a_name_are_told(mailserver: Run, accounts: AccountStore) -> None:
    prepare(accounts)
    accounts.set_alias(Address("front", "example.org"), [SALES])
    accounts.set_list(Address("inner", "example.org"), StoredList((ROOT,), owner=ALICE))
    accounts.set_alias(Address("twice", "example.org"), [SALES, ALICE])
    for words, told in (
        (
            "account remove alice",
            "alice@example.org is still in use by the alias sales@example.org, the alias twice@example.org, "
            "the list club@example.org, inner-bounces@example.org",
        ),
        (
            "alias remove sales",
            "sales@example.org is still in use by the alias front@example.org, the alias twice@example.org",
        ),
    ):
        assert mailserver(*words.split()) == Ended(1, [], [f"mailserver: {told}"])


@pytest.mark.parametrize(
    ("given", "told"), [("", "the password is empty"), ("\nx\n", "the password is empty")]
)
@pytest.mark.parametrize("words", ["account add bob", "account passwd alice"])
def test_no_password(mailserver: Run, accounts: AccountStore, words: str, given: str, told: str) -> None:
    accounts.add(ALICE, None)
    assert mailserver(*words.split(), given=given) == Ended(1, [], [f"mailserver: {told}"])
    assert accounts.account(ALICE).password is None


@pytest.mark.parametrize(
    "words",
    [
        "account nonsense", "account add", "account add bob secret",
        "account add bob --password x",
        "account passwd", "account list bob", "account remove", "account remove a b", "account app-password",
        "account app-password add alice", "account app-password add alice a b", "alias add sales",
        "alias remove",
        "list add club", "list join club", "list leave", "import passwd-file",
        "import passwd-file /nonexistent", "import passwd-file /dev/null --scheme nonsense",
    ],
)  # fmt: skip
def test_wrong_usage(mailserver: Run, words: str) -> None:
    done = mailserver(*words.split(), given="wonderland\n")
    assert (done.status, done.out, len(done.err)) == (2, [], 1)
    assert "--help" in done.err[0]


@pytest.mark.parametrize(
    "members", [{}, {"address": 3}, {"address": ""}, {"address": ["a"]}, {"address": "\ud800"}]
)
@pytest.mark.parametrize("command", ACCOUNT_COMMANDS)
def test_a_request_by_hand(admin: AccountAdmin, command: str, members: dict[str, Any]) -> None:
    wrong = {"to": "x", "members": [], "text": 3, **members}
    if command.endswith(" list") and "app-password" not in command:
        assert ACCOUNT_COMMANDS[command](admin, wrong).status == 0
    else:
        with pytest.raises(CommandFailed, match=r"^the (request has no|address is not UTF-8)"):
            ACCOUNT_COMMANDS[command](admin, wrong)


@pytest.mark.parametrize("members", [{"to": ["root", 3]}, {"to": []}, {"to": "root"}, {"to": ["\udcff"]}])
def test_members_of_a_request_that_are_none(admin: AccountAdmin, members: dict[str, Any]) -> None:
    with pytest.raises(CommandFailed):
        ACCOUNT_COMMANDS["alias add"](admin, {"address": "new", **members})
    assert not admin.accounts.aliases()


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\u202e"])
def test_what_is_told_is_one_harmless_line(mailserver: Run, accounts: AccountStore, name: str) -> None:
    accounts.add(ALICE, None)
    done = mailserver("account", "app-password", "add", "alice", name)
    assert (done.status, len(done.err)) == (1, 1)
    accounts.add(Address(f"x{name}", "example.org"), None)
    assert all(line.isprintable() for line in mailserver("account", "list").out)


def test_the_command_line_is_not_needed_to_say_utf_8(mailserver: Run) -> None:
    assert mailserver("account", "add", "b\udcffb", "--no-password") == Ended(
        1, [], ["mailserver: the address is not UTF-8"]
    )


# ------------------------------------------------------------ the table


def test_every_command_has_its_work() -> None:
    def commands(group: Any, path: str = "") -> Iterator[str]:
        for name, command in getattr(group, "commands", {}).items():
            inner = list(commands(command, f"{path}{name} "))
            yield from inner or [f"{path}{name}"]

    told = {
        f"{group.name} {name}"
        for group in (
            account_commands.account,
            account_commands.alias,
            account_commands.domain,
            account_commands.mailing_list,
            account_commands.import_,
        )
        for name in commands(group)
    }
    # those for mail need no server
    assert told == {*ACCOUNT_COMMANDS, "import maildir", "import dovecot", "import mbox", "import store"}
