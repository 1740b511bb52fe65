"""Opens the spool for listings, also while a server uses it."""

import errno
from functools import partial
from pathlib import Path

from mailserver.durable.database import read_only
from mailserver.durable.disk import Disk
from mailserver.queue.sql.listing import SpoolListing
from mailserver.queue.sqlite.contents import CONTENTS, Contents
from mailserver.queue.sqlite.schema import VERSION


class SQLiteListing(SpoolListing):
    """The messages of a spool in SQLite, for listings."""

    ranked = "recipient INDEXED BY recipient_ranked WHERE priority <> 0"


def outdated(path: Path) -> bool:
    """Whether the database has the tables of an older version. The next start converts them."""
    return any(version < VERSION for (version,) in read_only(path, "PRAGMA user_version"))


def view(path: Path) -> SQLiteListing:
    """The spool at this path, empty if there is none. A server may be using it.

    Raises ``OSError`` if it has the tables of an older version.
    """
    if outdated(path):
        raise OSError(errno.ENOTSUP, "has the format of an older version; start the server first", str(path))
    return SQLiteListing(partial(read_only, path), Contents(path.parent / CONTENTS, Disk()))
