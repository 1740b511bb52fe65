"""The index of sizes: a file in a mailbox with the sizes of foreign messages, which are then read only once.

A file that this server stored has its sizes in its name. Any other file must be read, because POP3 counts
CRLF line ends (RFC 1939 section 11). So must a file that this server stored if there is UTF-8 in a header,
since its surrogate has another size (RFC 6858). The index keeps the results across restarts. It is only a
cache: a row is valid while its file has the same inode, length and time of the last change. If the index is
missing, damaged or old, the files are read again; therefore it is never synced.

    index   = signature checksum rows     ; checksum: CRC-32 of the rows, 4 octets
    row     = inode length changed sizes surrogate      ; 8 octets each, least significant first
"""

import os
import sys
import zlib
from array import array
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from mailserver.durable.disk import Disk
from mailserver.errors import StorageError
from mailserver.store.content import open_regular

NAME = "mailserver-sizes"
LARGEST = 64 * 1024 * 1024  # octets of an index
FEW = 32  # rows; fewer are not worth saving

Rows: TypeAlias = "array[int]"

_SIGNATURE = b"mailserver sizes 2\r\n"
_COLUMNS = 5
_NONE = -1  # there is no surrogate
_INODE = 2**63 - 1  # some file systems use all 64 bits


class Sizes:
    """Rows of an index, by the inode of the file."""

    __slots__ = ("_at", "_rows")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._at = {inode: number * _COLUMNS for number, inode in enumerate(rows[::_COLUMNS])}

    def find(self, status: os.stat_result) -> tuple[int, int | None] | None:
        """The packed measure of a file that has not changed since it was read, and the size of its surrogate,
        if any; else None."""
        at = self._at.get(status.st_ino & _INODE)
        if at is None or self._rows[at + 1] != status.st_size or self._rows[at + 2] != status.st_mtime_ns:
            return None
        surrogate = self._rows[at + 4]
        return self._rows[at + 3], None if surrogate == _NONE else surrogate


def new_rows() -> Rows:
    """An empty array of rows."""
    return array("q")


def row(status: os.stat_result, packed: int, surrogate: int | None) -> tuple[int, int, int, int, int]:
    """The row for a file that had this status when it was read."""
    last = _NONE if surrogate is None else surrogate
    return status.st_ino & _INODE, status.st_size, status.st_mtime_ns, packed, last


def load(box: Path) -> Rows:
    """The rows of the index of a Maildir; none if there is no index or it is damaged."""
    rows = new_rows()
    with suppress(OSError, StorageError):
        descriptor, status = open_regular(f"{box}/{NAME}")
        try:
            data = os.pread(descriptor, status.st_size, 0) if status.st_size <= LARGEST else b""
        finally:
            os.close(descriptor)
        start = len(_SIGNATURE) + 4
        body = data[start:]
        if (
            data.startswith(_SIGNATURE)
            and zlib.crc32(body).to_bytes(4, "little") == data[len(_SIGNATURE) : start]
            and len(body) % (_COLUMNS * rows.itemsize) == 0
        ):
            rows.frombytes(body)
            if sys.byteorder == "big":
                rows.byteswap()
    return rows


def are_worth_saving(fresh: Rows, messages: int) -> bool:
    """Whether there are enough new rows to save, for a Maildir of so many messages."""
    return len(fresh) // _COLUMNS >= max(FEW, messages // 8)


def save(box: Path, fresh: Rows, disk: Disk) -> None:
    """Add rows to the index of a Maildir, and drop the rows of removed files. Raises ``OSError``."""
    there: set[int] = set()
    for folder in ("new", "cur"):
        with suppress(FileNotFoundError), os.scandir(box / folder) as entries:
            there.update(entry.inode() & _INODE for entry in entries)
    rows = load(box) + fresh
    last = {inode: number for number, inode in enumerate(rows[::_COLUMNS]) if inode in there}
    kept = new_rows()
    for number in last.values():
        kept += rows[number * _COLUMNS : (number + 1) * _COLUMNS]
    if sys.byteorder == "big":
        kept.byteswap()
    body = kept.tobytes()
    if len(body) + len(_SIGNATURE) + 4 > LARGEST:
        return
    # In tmp/, where a sweep removes it after a crash.
    temporary = f"{box}/tmp/{NAME}.{os.urandom(8).hex()}"
    disk.write_file(temporary, [_SIGNATURE, zlib.crc32(body).to_bytes(4, "little"), body], sync=False)
    try:
        disk.rename(temporary, f"{box}/{NAME}")
    except OSError:
        with suppress(OSError):
            disk.remove(temporary)
        raise
