"""Checks the database of the account store and reports problems. Changes nothing."""

from collections.abc import Iterator
from pathlib import Path

from mailserver.accounts.sqlite.engine import ReadOnlyAccounts
from mailserver.accounts.store import AccountStore
from mailserver.durable.database import damage
from mailserver.errors import StorageError
from mailserver.mail.finding import Finding

_REPAIR = "need a backup: the server does not start"


def verify(path: Path) -> Iterator[Finding]:
    """The problems of the database at ``path``. Raises ``OSError``."""
    try:
        if problem := damage(path):
            yield Finding(path, problem, _REPAIR)
        else:
            AccountStore(ReadOnlyAccounts(path)).names()
    except StorageError as error:
        yield Finding(path, str(error).removeprefix(f"{path}: "), _REPAIR)
