"""``python -m twisted`` with a server that asks for no sync at all: the control that must lose messages.

What the server syncs itself goes through :class:`~mailserver.durable.calls.SystemCalls`; what SQLite syncs
for it, ``PRAGMA synchronous`` turns off.
"""

import runpy
import sqlite3
from typing import Any

from mailserver.durable.calls import SystemCalls


def nothing(calls: SystemCalls, descriptor: int) -> None:
    """In place of a sync."""


def connect(*args: Any, **options: Any) -> sqlite3.Connection:
    """A connection on which the pragma is off, and setting it again does nothing."""
    connection: sqlite3.Connection = _connect(*args, **options)
    connection.execute("PRAGMA synchronous = OFF")
    connection.set_authorizer(_ignore_synchronous)
    return connection


def _ignore_synchronous(action: int, name: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA and name and name.lower() == "synchronous":
        return sqlite3.SQLITE_IGNORE
    return sqlite3.SQLITE_OK


_connect = sqlite3.connect

if __name__ == "__main__":
    for owner, name, spoilt in (
        (SystemCalls, "fsync", nothing),
        (SystemCalls, "syncfs", nothing),
        (sqlite3, "connect", connect),
    ):
        setattr(owner, name, spoilt)
    runpy.run_module("twisted", run_name="__main__", alter_sys=True)
