"""Looks for what is wrong in the account store. Changes nothing."""

from collections.abc import Iterator
from pathlib import Path

from mailserver.accounts.store import reader
from mailserver.durable.database import damage
from mailserver.errors import StorageError
from mailserver.mail.finding import Finding

_REPAIR = "need a backup: the server does not start"


def verify(path: Path) -> Iterator[Finding]:
    """What is wrong with the file at ``path``. Raises ``OSError``."""
    try:
        if problem := damage(path):
            yield Finding(path, problem, _REPAIR)
        else:
            reader(path).names()
    except StorageError as error:
        yield Finding(path, str(error).removeprefix(f"{path}: "), _REPAIR)
