"""An account store as its tests begin with it."""

from pathlib import Path

from mailserver.accounts.entries import StoredList
from mailserver.accounts.memory import MemoryAccounts
from mailserver.accounts.sqlite.engine import SQLiteAccounts
from mailserver.accounts.store import AccountStore
from mailserver.durable.disk import Disk
from mailserver.mail.address import Address

NOW = 1_700_000_000.0
ALICE, BOB, CAROL, SALES, CLUB = (
    Address.parse(f"{name}@example.org") for name in ("Alice", "bob", "carol", "sales", "club")
)
AWAY = Address.parse("dora@elsewhere.example")


def make(path: Path | None, disk: Disk | None = None) -> AccountStore:
    engine = MemoryAccounts() if path is None else SQLiteAccounts(path, disk or Disk())
    return AccountStore(engine, now=lambda: NOW)


def fill(accounts: AccountStore) -> None:
    accounts.add(ALICE, None)
    accounts.add_app_password(ALICE, "phone")
    accounts.set_alias(SALES, [ALICE])
    accounts.set_list(CLUB, StoredList((ALICE,)))
