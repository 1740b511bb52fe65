"""Accounts, directories and checkers for the tests of this room."""

from collections.abc import Sequence
from typing import Any

import attrs
from argon2 import PasswordHasher
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.accounts.checker import AccountChecker
from mailserver.accounts.cred import NamedPassword
from mailserver.accounts.directory import Account, AccountDirectory
from mailserver.accounts.passwords import StoredPassword
from mailserver.errors import StorageError
from mailserver.mail.address import Address
from mailserver.threads.fair import FairThreadPool
from tests.support.reactor import FakeReactor

DOMAIN = "example.org"
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
HASHED = CHEAP.hash("wonderland", salt=b"pepper and salt.")


def account(name: str, password: str | None = None, **more: Any) -> Account:
    """An account in DOMAIN, unless the name has a domain; ``password`` as it is stored."""
    address = Address.parse(name if "@" in name else f"{name}@{DOMAIN}")
    return Account(address, None if password is None else StoredPassword.read(password), **more)


def directory(*accounts: Account) -> AccountDirectory:
    return AccountDirectory(accounts, DOMAIN)


@attrs.define
class Bench:
    """A checker, with a clock and threads that are the test's."""

    checker: AccountChecker
    reactor: FakeReactor
    threads: FakeReactor
    hashing: FairThreadPool


def bench(accounts: Sequence[Account] = (), *, held: bool = False, width: int = 2, **more: Any) -> Bench:
    """``held``: hashing waits for ``threads.run_threads()``."""
    reactor, threads = FakeReactor(), FakeReactor(held=held)
    hashing = FairThreadPool(reactor, threads, width)  # type: ignore[arg-type]
    checker = AccountChecker(directory(*accounts), reactor, hashing, **more)  # type: ignore[arg-type]
    return Bench(checker, reactor, threads, hashing)


def outcome(login: Deferred[Any]) -> Any:
    """What a login came to by now: the account, the exception of a refusal, or None while it waits."""
    found: list[Any] = []
    login.addBoth(found.append)
    if found and isinstance(found[0], Failure):
        found[0].trap(UnauthorizedLogin, StorageError)
        return found[0].value
    return found[0].decode() if found else None


def login(checker: AccountChecker, credentials: ICredentials) -> Any:
    return outcome(checker.requestAvatarId(credentials))


def polls(stand: Bench, name: str, password: str, times: int = 3) -> list[Any]:
    """What several logins, one after another, came to."""
    return [login(stand.checker, NamedPassword(name, password)) for _ in range(times)]
