"""Converts the errors of psycopg to errors of the operating system, as all storage raises them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors

DatabaseConnection = psycopg.Connection[tuple[Any, ...]]

_NUMBERS: tuple[tuple[type[psycopg.Error], int], ...] = (
    (errors.DiskFull, errno.ENOSPC),
    (errors.InsufficientPrivilege, errno.EACCES),
    (errors.ReadOnlySqlTransaction, errno.EROFS),
)


class CommitUnknown(OSError):
    """The connection broke during a COMMIT, and the database cannot be asked about its outcome."""


def os_error(error: psycopg.Error) -> OSError:
    """The error in the form of the operating system. Its text is one line."""
    number = next((number for kind, number in _NUMBERS if isinstance(error, kind)), errno.EIO)
    text = error.diag.message_primary or str(error) or type(error).__name__
    return OSError(number, f"PostgreSQL: {text.strip().splitlines()[0].strip()}")


@contextmanager
def os_errors() -> Iterator[None]:
    """Raise errors of psycopg as ``OSError``."""
    try:
        yield
    except psycopg.Error as error:
        raise os_error(error) from error
