"""An account store as its tests begin with it."""

from pathlib import Path

from mailserver.accounts.account_rows import StoredList
from mailserver.accounts.store import AccountStore
from mailserver.durable.disk import Disk
from mailserver.mail.address import Address

NOW = 1_700_000_000.0
ALICE, BOB, CAROL, SALES, CLUB = (
    Address.parse(f"{name}@example.org") for name in ("Alice", "bob", "carol", "sales", "club")
)
AWAY = Address.parse("dora@elsewhere.example")


def make(path: Path | None) -> AccountStore:
    accounts = AccountStore(path, Disk(), now=lambda: NOW)
    accounts.open()
    return accounts


def fill(accounts: AccountStore) -> None:
    accounts.add(ALICE, None)
    accounts.add_app_password(ALICE, "phone")
    accounts.set_alias(SALES, [ALICE])
    accounts.set_list(CLUB, StoredList((ALICE,)))
