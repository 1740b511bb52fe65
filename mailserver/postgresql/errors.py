"""Connections, and the errors of psycopg as those of the operating system, as all storage raises them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors

_WAIT_FOR_REPLICA = "SyncRepWaitForLSN"  # the function of PostgreSQL


class DatabaseConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that breaks if a commit has not waited for the synchronous replica.

    If a timeout or an administrator ends that wait, PostgreSQL answers with success and a warning, although
    the changes are lost if the replica takes over.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._is_replicated = True
        self.add_notice_handler(self._notice)

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.source_function == _WAIT_FOR_REPLICA:
            self._is_replicated = False

    def wait(self, *args: Any, **more: Any) -> Any:
        """See :meth:`psycopg.Connection.wait`. All statements and the ends of transactions use it."""
        result = super().wait(*args, **more)
        if not self._is_replicated:
            self.close()
            raise psycopg.OperationalError("a commit has not waited for the synchronous replica")
        return result


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
