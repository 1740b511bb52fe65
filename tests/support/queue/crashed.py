"""What a crash leaves, and what a disk makes of it: for tests of recovery."""

import os
import sqlite3
from pathlib import Path

from mailserver.mail.address import Address
from mailserver.store.writer import IN_SPOOL
from tests.support.queue.spools import Spools

SIZES = {"small": 100, "large": IN_SPOOL + 1}
ALIAS = Address("sales", "example.org")
HEAD = b"Return-Path: <me@x.example>\r\n"
ALONE = HEAD + b"Delivered-To: alice@example.org\r\n"


def crash(spools: Spools) -> None:
    """Leave what a kill leaves, and be ready to open it."""
    spools.leave()
    spools._make()


def row(spools, statement, *values):
    """Change the spool behind its back; the answer is what it said."""
    database = sqlite3.connect(spools.root / "spool" / "queue.db")
    try:
        with database:
            return database.execute(statement, values).fetchall()
    finally:
        database.close()


def new_file(spools, name):
    (path,) = (path for path in spools.files("new") if path.parts[-3] == name)
    return path


def damaged(spools):
    """What has been set aside, with the reason for each."""
    found = {}
    for path in sorted(spools.root.glob("damaged/*")):
        if path.suffix != ".reason":
            reason = path.with_name(f"{path.name}.reason")
            assert reason.read_bytes().strip()
            # A spool is set aside as a whole.
            found[path] = (path / "queue.db" if path.is_dir() else path).read_bytes()
    assert len(list(spools.root.glob("damaged/*"))) == 2 * len(found)
    return found


def serves(spools):
    spools.wait(spools.deliver(b"Subject: served\r\n\r\n", Address("carol", "example.org")))
    assert spools.look(Address("carol", "example.org"))[-1].endswith(b"served\r\n\r\n")


# ---------------------------------------------------------------- files


def stays(path: Path) -> None:
    pass


def is_missing(path: Path) -> None:
    path.unlink()


def was_moved(path: Path) -> None:
    path.rename(path.parents[1] / "cur" / f"{path.name}:2,FS")


def is_still_in_tmp(path: Path) -> None:
    temporary = path.parents[1] / "tmp" / path.name.partition(",")[0]
    if temporary.exists():  # a large one has both names until it is synced
        path.unlink()
    else:
        path.rename(temporary)


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def is_short(path: Path) -> None:
    replace(path, path.read_bytes()[:-1])


def is_empty(path: Path) -> None:
    replace(path, b"")


def is_wrong(path: Path) -> None:
    replace(path, bytes(len(path.read_bytes())))


def is_wrong_in_cur(path: Path) -> None:
    is_wrong(path)
    was_moved(path)


def is_twice(path: Path) -> None:
    os.link(path, path.parents[1] / "cur" / f"{path.name}:2,S")


def is_wrong_and_right(path: Path) -> None:
    right = path.parents[1] / "cur" / f"{path.name}:2,S"
    right.write_bytes(path.read_bytes())
    is_wrong(path)


def has_lost_its_folders(path: Path) -> None:
    for folder in ("new", "cur"):
        for each in (path.parents[1] / folder).rglob("*"):
            each.unlink()
        (path.parents[1] / folder).rmdir()
