"""The contract of every engine of the account store; see ``mailserver.accounts.interfaces``."""

from typing import Any

import pytest
from zope.interface.verify import verifyObject

from mailserver.accounts.credentials import StoredCredentials
from mailserver.accounts.directory import Account, AppPassword
from mailserver.accounts.entries import StoredList
from mailserver.accounts.interfaces import DUMMY_KEY_SIZE, IAccountEngine
from mailserver.accounts.memory import MemoryAccounts
from mailserver.accounts.passwords import StoredPassword
from mailserver.accounts.postgresql.engine import PostgreSQLAccounts
from mailserver.accounts.sqlite.engine import SQLiteAccounts
from mailserver.durable.disk import Disk
from mailserver.postgresql.connections import Connections
from mailserver.sasl.steps import ScramKeys
from tests.support.accounts.stores import ALICE, AWAY, BOB, CAROL, CLUB, SALES

ONE, TWO = (StoredPassword.read(f"{{PLAIN}}{text}") for text in ("one", "two"))
KEYS = {"sha256": ScramKeys(b"salt", 10_000, b"stored", b"server")}
PHONE, LAPTOP = AppPassword("phone", b"p" * 32, 5.0, 0.0), AppPassword("laptop", b"l" * 32, 6.0, 7.0)


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def engine(request, tmp_path):
    engine: Any
    if request.param == "sqlite":
        engine = SQLiteAccounts(tmp_path / "a.db", Disk())
    elif request.param == "memory":
        engine = MemoryAccounts()
    else:
        engine = PostgreSQLAccounts(Connections(request.getfixturevalue("database_url")))
    yield engine
    engine.close()
    engine.close()


def test_the_contract(engine):
    assert verifyObject(IAccountEngine, engine)
    assert len(engine.dummy_key) == DUMMY_KEY_SIZE
    assert (dict(engine.accounts()), list(engine.addresses()), list(engine.keys())) == ({}, [], [])


def test_credentials_are_added_and_replaced(engine):
    engine.put_credentials({BOB: StoredCredentials(None), ALICE: StoredCredentials(ONE, KEYS, "one")})
    assert list(engine.accounts().items()) == [
        (ALICE.key, Account(ALICE, ONE, KEYS, "one", stored=True)),
        (BOB, Account(BOB, None, stored=True)),
    ]
    assert list(engine.addresses()) == [ALICE, BOB]
    engine.add_app_password(ALICE.key, PHONE)
    engine.set_disabled(ALICE.key, True)
    engine.put_credentials({ALICE.key: StoredCredentials(TWO)})
    assert engine.account(ALICE.key) == Account(ALICE, TWO, {}, None, (PHONE,), disabled=True, stored=True)
    engine.set_disabled(ALICE.key, False)
    engine.replace_hash(ALICE.key, ONE, ONE)
    engine.replace_hash(BOB, ONE, TWO)
    assert (engine.account(ALICE.key).password, engine.account(BOB).password) == (TWO, None)
    engine.replace_hash(ALICE.key, TWO, ONE)
    assert engine.account(ALICE.key) == Account(ALICE, ONE, app_passwords=(PHONE,), stored=True)
    engine.remove_account(ALICE.key)
    engine.put_credentials({ALICE: StoredCredentials(None)})
    assert engine.account(ALICE.key) == Account(ALICE, None, stored=True)


def test_app_passwords(engine):
    engine.put_credentials({ALICE: StoredCredentials(None), BOB: StoredCredentials(None)})
    for each in (PHONE, LAPTOP):
        engine.add_app_password(ALICE.key, each)
    engine.add_app_password(BOB, PHONE)
    engine.record_app_password_use(ALICE.key, "phone", 9.0)
    assert engine.account(ALICE.key).app_passwords == (LAPTOP, AppPassword("phone", b"p" * 32, 5.0, 9.0))
    engine.remove_app_password(ALICE.key, "phone")
    assert engine.account(ALICE.key).app_passwords == (LAPTOP,)
    assert engine.account(BOB).app_passwords == (PHONE,)


def test_aliases_and_lists(engine):
    engine.put_alias(SALES, [BOB])
    engine.put_alias(SALES, [ALICE, AWAY])
    engine.put_alias(CAROL, [BOB])
    engine.put_list(CLUB, StoredList((ALICE,)))
    engine.put_list(CLUB, StoredList((ALICE, BOB), AWAY))
    assert list(engine.aliases().items()) == [(CAROL, (BOB,)), (SALES, (ALICE, AWAY))]
    assert engine.alias(SALES) == (ALICE, AWAY)
    assert engine.lists() == {CLUB: StoredList((ALICE, BOB), AWAY)}
    assert engine.mailing_list(CLUB) == StoredList((ALICE, BOB), AWAY)
    engine.put_credentials({ALICE: StoredCredentials(None)})
    assert sorted(engine.keys()) == sorted([ALICE.key, CAROL, SALES, CLUB])
    kinds = [engine.kind_of(key) for key in (ALICE.key, CAROL, CLUB, BOB)]
    assert kinds == ["account", "alias", "list", None]
    engine.remove_alias(CAROL)
    engine.remove_list(CLUB)
    assert (list(engine.aliases()), list(engine.lists())) == ([SALES], [])


def test_an_unknown_key_changes_nothing(engine):
    engine.replace_hash(BOB, ONE, TWO)
    engine.set_disabled(BOB, True)
    engine.remove_app_password(BOB, "phone")
    engine.record_app_password_use(BOB, "phone", 9.0)
    for remove in (engine.remove_account, engine.remove_alias, engine.remove_list):
        remove(BOB)
    assert list(engine.keys()) == []
    assert (engine.account(BOB), engine.alias(BOB), engine.mailing_list(BOB)) == (None, None, None)


def test_renaming(engine):
    engine.put_credentials({ALICE: StoredCredentials(ONE, KEYS, "one"), BOB: StoredCredentials(TWO)})
    engine.add_app_password(ALICE.key, PHONE)
    engine.set_disabled(ALICE.key, True)
    engine.put_alias(SALES, [ALICE, AWAY])
    engine.put_list(CLUB, StoredList((ALICE, BOB), BOB))
    entry = StoredList((CAROL, BOB), BOB)
    engine.rename({ALICE.key: CAROL}, [SALES.key], {ALICE.key: [CAROL]}, {CLUB: entry})
    account = Account(CAROL, ONE, KEYS, "one", (PHONE,), disabled=True, stored=True)
    assert engine.account(CAROL.key) == account
    assert engine.account(ALICE.key) is None
    assert engine.account(BOB.key) == Account(BOB, TWO, stored=True)
    assert engine.aliases() == {ALICE.key: (CAROL,)}
    assert engine.lists() == {CLUB.key: entry}
    engine.rename({ALICE.key: SALES}, [], {}, {})  # no such account
    assert engine.kind_of(SALES.key) is None
