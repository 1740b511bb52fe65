"""An account store as its tests begin with it."""

from pathlib import Path

from mailserver.auth.account_rows import KeptList
from mailserver.auth.accounts import Accounts
from mailserver.durable.disk import Disk
from mailserver.mail.address import Address

NOW = 1_700_000_000.0
ALICE, BOB, CAROL, SALES, CLUB = (
    Address.parse(f"{name}@example.org") for name in ("Alice", "bob", "carol", "sales", "club")
)
AWAY = Address.parse("dora@elsewhere.example")


def make(path: Path | None) -> Accounts:
    accounts = Accounts(path, Disk(), now=lambda: NOW)
    accounts.open()
    return accounts


def fill(accounts: Accounts) -> None:
    accounts.add(ALICE, None)
    accounts.add_app_password(ALICE, "phone")
    accounts.set_alias(SALES, [ALICE])
    accounts.set_list(CLUB, KeptList((ALICE,)))
