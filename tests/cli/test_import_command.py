"""``mailserver import``: what is taken over, what is not, and what is told of it."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from mailserver.accounts import bulk_hashing
from mailserver.accounts.store import AccountStore
from mailserver.cli import accounts as account_commands
from mailserver.commands import accounts as admin_accounts
from mailserver.commands.account_admin import AccountAdmin
from mailserver.commands.accounts import ACCOUNT_COMMANDS
from mailserver.control.channel import MAX_LINE
from mailserver.errors import AccountError
from mailserver.mail.address import Address
from tests.support.cli import ALICE, BOB, ROOT, SALES, Ended, Run
from tests.support.e2e.programs import need, run

CRYPT = "$6$saltsalt$pqxtaP8VN9msji06dnBCbUbaSGTOXyo9jZDqZxik1rPexoqRIW4UKuiD0ZHZchCSd7S4/HoRU8bcFbnz2ihUr."

FILE = """\
# from the old server
alice:{PLAIN}wonderland
bob@example.com:{SSHA.HEX}7f97b1d48d2b2fa0bbd0ba1c4ec1df7c4bc3b15f61626364:5000:5000::/home/bob::
root:{PLAIN}secret
sales:{PLAIN}secret
known:{PLAIN}secret
carol:secret
eve@elsewhere.example:{PLAIN}secret
mallory:{NONE}
"""


def test_import(mailserver: Run, accounts: AccountStore, tmp_path: Path) -> None:
    accounts.set_alias(SALES, [ROOT])
    known = Address.parse("known@example.org")
    accounts.add(known, "mine", ["APOP"])
    accounts.add_app_password(known, "phone")
    before = accounts.account(known)
    (tmp_path / "users").write_text(FILE)
    done = mailserver("import", "passwd-file", str(tmp_path / "users"))
    assert done == Ended(
        1,
        [
            "line 4: root@example.org is in the configuration (account); change it there",
            "line 5: sales@example.org is already an alias; not changed",
            "line 6: known@example.org is already an account; not changed",
            "line 7: the password has no scheme, such as {PLAIN}, and there is no default scheme",
            "line 8: eve@elsewhere.example is not in a domain of this server; "
            "its domains: example.org, example.com",
            "3 accounts imported, 5 lines not imported",
        ],
        [],
    )
    assert accounts.account(known) == before
    alice = accounts.account(ALICE).password
    assert alice is not None
    # what is known is hashed at once
    assert (alice.scheme, alice.verify("wonderland")) == ("argon2", True)
    assert list(accounts.account(ALICE).scram) == ["sha256"]
    assert accounts.account(Address.parse("mallory@example.org")).password is None
    (tmp_path / "users").write_text("known:{PLAIN}theirs\nnew:{PLAIN}x\n")
    done = mailserver("import", "passwd-file", str(tmp_path / "users"), "--replace")
    assert done == Ended(0, ["2 accounts imported"], [])
    after = accounts.account(known)
    assert after.password is not None
    assert after.password.verify("theirs")
    assert (after.secret, after.app_passwords) == (None, before.app_passwords)


def test_import_options(mailserver: Run, accounts: AccountStore) -> None:
    words = ("import", "passwd-file", "-", "--domain", "example.com", "--scheme", "plain")
    assert mailserver(*words, given="alice:wonderland\nbob:{PLAIN}x\nbob@example.org:y") == Ended(
        0, ["3 accounts imported"], []
    )
    digits = "c3ab8ff13720e8ad9047dd39466b3c8974e592c2fa383d4a3960714caef0c4f2"  # of "foobar"
    words = ("import", "passwd-file", "-", "--scheme", "sha256.hex")  # type: ignore[assignment]
    assert mailserver(*words, given=f"hex:{digits}").status == 0
    kept = accounts.account(Address.parse("hex@example.org")).password
    assert kept is not None and kept.verify("foobar")
    accounts.remove(Address.parse("hex@example.org"))
    names = [str(each) for each in accounts.accounts()]
    assert names == ["alice@example.com", "bob@example.com", "bob@example.org"]
    assert mailserver("import", "passwd-file", "-", given="") == Ended(0, ["0 accounts imported"], [])


def test_import_of_octets_that_are_no_text(mailserver: Run, accounts: AccountStore, tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(b"b\xff:{PLAIN}secret\nalice:{PLAIN}x\n")
    done = mailserver("import", "passwd-file", str(tmp_path / "users"))
    assert done.out == ["line 1: invalid UTF-8", "1 account imported, 1 line not imported"]


def test_import_of_names_that_cannot_be_used(mailserver: Run, accounts: AccountStore) -> None:
    accounts.add(Address("jürgen", "example.org"), None)
    names = [
        "ju\u0308rgen", "a\u00a0b", "b\u200b", "c\u00ad", "d\u2066", "ü" * 43, "+" * 256, "zoë", "zoe\u0308",
        "fine",
    ]  # fmt: skip
    done = mailserver("import", "passwd-file", "-", given="".join(f"{name}:{{NONE}}\n" for name in names))
    assert [line.partition(": ")[2] for line in done.out[:-1]] == [
        "jürgen@example.org is already an account; not changed",
        "invalid address: the local part has an invisible character, U+00A0",
        "invalid address: the local part has an invisible character, U+200B",
        "invalid address: the local part has an invisible character, U+00AD",
        "invalid address: the local part has an invisible character, U+2066",
        f"invalid address: '{'ü' * 40}'… is too long for a mailbox: the name of its folder has 258 "
        "octets; the maximum is 255",
        "invalid address: the local part is longer than 255 octets",
        "zoë@example.org is already in line 8",
    ]
    assert {name.local for name in accounts.accounts()} == {"jürgen", "zoë", "fine"}


def test_plain_passwords_are_hashed_by_the_command(
    mailserver: Run, accounts: AccountStore, admin: AccountAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On all cores, with the keys that the server's mechanisms need; the server gets the hashes alone."""
    requests: list[Any] = []
    threads: set[str] = set()
    perform, make = account_commands.perform, bulk_hashing.make_credentials  # type: ignore[attr-defined]

    def counted(*args: Any) -> Any:
        threads.add(threading.current_thread().name)
        return make(*args)

    def record(data: Path, request: Any) -> Any:
        requests.append(request)
        with monkeypatch.context() as patch:
            patch.setattr(admin_accounts, "make_credentials", lambda *args: pytest.fail("the server hashes"))
            return perform(data, request)

    monkeypatch.setattr(bulk_hashing, "make_credentials", counted)
    monkeypatch.setattr(account_commands, "perform", record)
    given = "".join(f"user{n}:{{plain}}pass word {n}:1:1::/home\r\n" for n in range(40))
    given += f"root:{{PLAIN}}x\nhashed:{CRYPT}\nnone:{{NONE}}\n"
    done = mailserver("import", "passwd-file", "-", given=given)
    assert done.out[-1] == "42 accounts imported, 1 line not imported"
    [request] = requests
    assert "pass word" not in str(request)
    for n in (0, 17, 39):
        kept = accounts.account(Address.parse(f"user{n}@example.org"))
        assert kept.password is not None and kept.password.verify(f"pass word {n}")
        assert list(kept.scram) == ["sha256"] and kept.secret is None
    assert accounts.account(Address.parse("none@example.org")).password is None
    assert all(name.startswith("hashing") for name in threads)


@pytest.mark.parametrize("mechanisms", [["PLAIN"], ["SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "APOP"]])
def test_credentials_travel_as_they_are(mechanisms: list[str], accounts: AccountStore) -> None:
    done: list[int] = []
    made = bulk_hashing.hash_all({3: "wonderland", 5: "\u00ad", 9: "x" * 1000}, mechanisms, done.append)
    assert sorted(made) == [3, 9]  # of the other one SASLprep leaves nothing
    assert done[-1] == 3
    for one in made.values():
        sent = json.dumps(bulk_hashing.to_json(one))
        assert bulk_hashing.from_json(json.loads(sent)) == one
        assert len(sent) < bulk_hashing.LONGEST or one.secret == "x" * 1000


@pytest.mark.parametrize(
    "made",
    [
        None, 3, [], {}, {"password": 3, "scram": {}, "secret": None}, {"password": "{ARGON2ID}x"},
        {"password": "x", "scram": {"sha1": [1, 2]}, "secret": None},
        {"password": "x", "scram": {"sha1": ["AA==", "x", "AA==", "AA=="]}, "secret": None},
        {"password": "x", "scram": {"sha1": ["!", 1, "AA==", "AA=="]}, "secret": None},
        {"password": "x", "scram": {}, "secret": 5}, {"password": "{ARGON2ID}x", "scram": {}, "secret": None},
    ],
)  # fmt: skip
def test_credentials_that_nobody_made(admin: AccountAdmin, accounts: AccountStore, made: Any) -> None:
    request = {"text": "alice:{NONE}\n", "made": {"1": made}}
    done = ACCOUNT_COMMANDS["import passwd-file"](admin, request)
    assert done.lines[0] == "line 1: the credentials in the request are damaged"
    assert not accounts.accounts()


def test_import_is_all_or_nothing(
    admin: AccountAdmin, accounts: AccountStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that somebody else takes meanwhile fails all of it."""
    import_accounts = accounts.import_accounts

    def after_another(found: Any, replace: bool) -> None:
        monkeypatch.undo()
        accounts.set_alias(BOB, [ROOT])
        import_accounts(found, replace)

    monkeypatch.setattr(accounts, "import_accounts", after_another)
    with pytest.raises(AccountError, match="is already an alias"):
        ACCOUNT_COMMANDS["import passwd-file"](admin, {"text": "alice:{NONE}\nbob:{NONE}\n"})
    assert not accounts.accounts()


def test_a_file_too_large_for_a_request(mailserver: Run, accounts: AccountStore, tmp_path: Path) -> None:
    (tmp_path / "users").write_text("#" * MAX_LINE)
    done = mailserver("import", "passwd-file", str(tmp_path / "users"))
    assert done == Ended(1, [], [f"mailserver: the request is too large; allowed: {MAX_LINE} octets"])


def test_a_file_with_hashes_of_doveadm(mailserver: Run, accounts: AccountStore, tmp_path: Path) -> None:
    doveadm = need("doveadm")
    (tmp_path / "dovecot.conf").touch()
    users = ""
    for scheme in ("SHA512-CRYPT", "BLF-CRYPT", "SSHA256", "PLAIN"):
        words = ("-c", tmp_path / "dovecot.conf", "pw", "-s", scheme, "-p", "wonderland")
        users += f"{scheme}:{run(tmp_path, doveadm, *words).stdout.decode().strip()}:1:1::/home::\n"
    assert mailserver("import", "passwd-file", "-", given=users).out == ["4 accounts imported"]
    for account in accounts.accounts().values():
        assert account.password is not None
        assert account.password.verify("wonderland")
