"""The data directory as a whole: its owner, the checks of ``mailserver verify``, the warnings of a start."""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from mailserver.accounts.sqlite.history import verify as verify_history
from mailserver.accounts.sqlite.verify import verify as verify_accounts
from mailserver.config.keys.top_level import Config
from mailserver.durable.database import marker
from mailserver.durable.disk import Disk
from mailserver.durable.lock import DataLock
from mailserver.durable.owned import foreign
from mailserver.durable.room import room
from mailserver.errors import CannotStart, StorageRefused, storage_errors
from mailserver.mail.finding import DataCheck, Finding
from mailserver.queue.sqlite.verify import KINDS as QUEUE_KINDS
from mailserver.queue.sqlite.verify import verify as verify_queue
from mailserver.store.verify import KINDS as MAILDIR_KINDS
from mailserver.store.verify import verify as verify_maildirs
from mailserver.store.verify import verify_folders

MIB = 1024 * 1024

FORMAT = 1
"""The format of a data directory. Version 0 had no file with the number."""
_NUMBER = re.compile(r"[0-9]{1,9}\n?")
_WORKER = re.compile(r"worker-([1-9][0-9]{0,8})")


def accounts_file(data: Path) -> Path:
    """The account store."""
    return data / "accounts.db"


def history_file(data: Path) -> Path:
    """The history of contacts."""
    return data / "history.db"


def queue_file(data: Path) -> Path:
    """The database of the spool."""
    return data / "spool" / "queue.db"


def worker_spool(data: Path, number: int) -> Path:
    """The folder of the spool of another worker than the first."""
    return data / "spool" / f"worker-{number}"


def worker_spools(data: Path) -> dict[int, Path]:
    """The folders of the spools of other workers, by their numbers, in order. Raises ``OSError``."""
    found = {}
    with suppress(FileNotFoundError):
        for folder in (data / "spool").iterdir():
            if match := _WORKER.fullmatch(folder.name):
                found[int(match[1])] = folder
    return dict(sorted(found.items()))


def worker_queue_file(data: Path, number: int) -> Path:
    """The database of the spool of another worker than the first."""
    return worker_spool(data, number) / "queue.db"


def worker_queue_files(data: Path) -> dict[int, Path]:
    """The databases of the spools of other workers, by their numbers, in order: those that were ever created.
    Raises ``OSError``."""
    paths = {number: worker_queue_file(data, number) for number in worker_spools(data)}
    return {number: path for number, path in paths.items() if path.exists() or marker(path).exists()}


def left_over_queue_files(data: Path, others: Collection[int]) -> dict[int, Path]:
    """The databases of the spools of workers that do not exist, in order; ``others`` exist. A database may be
    missing in its folder. Raises ``OSError``."""
    return {n: worker_queue_file(data, n) for n in worker_spools(data) if n not in others}


def node_file(data: Path) -> Path:
    """The id of this data directory among those that use one database."""
    return data / "node"


def journal_folder(data: Path) -> Path:
    """The folder of the journal of messages."""
    return data / "trace"


def policies_folder(data: Path) -> Path:
    """The folder of the fetched TLS policies of other domains."""
    return data / "mta-sts"


def srs_keys_file(data: Path) -> Path:
    """The keys of the Sender Rewriting Scheme."""
    return data / "srs.keys"


def moved_file(config: Config) -> Path | None:
    """The record of mailboxes that have moved to other names; None if they are not on the disk."""
    return None if config.storage.engine == "memory" else config.data / "moved-mailboxes"


def data_lock(data: Path) -> DataLock:
    """The lock on a data directory. A server holds it while it runs, a command while it works alone."""
    return DataLock(data / "lock")


def format_file(data: Path) -> Path:
    """The file with the number of the format."""
    return data / "format"


def require_format(data: Path) -> int:
    """The number of the format, if this version can read it. Raises ``OSError``, and
    :class:`~mailserver.errors.StorageRefused` for a newer one."""
    path = format_file(data)
    try:
        text = path.read_text("ascii", "replace")
    except FileNotFoundError:
        return 0
    if not _NUMBER.fullmatch(text):
        raise StorageRefused(f"{path}: is not the number of a format")
    if int(text) > FORMAT:
        raise StorageRefused(
            f"{data} has format {int(text)}, of a newer version of mailserver; this version reads formats up "
            f"to {FORMAT}"
        )
    return int(text)


def open_format(data: Path, disk: Disk) -> None:
    """Check the format, and record the one that this version writes, before anything is converted.

    Raises :class:`~mailserver.errors.StorageError`.
    """
    with storage_errors(data):
        if require_format(data) < FORMAT:
            disk.replace(format_file(data), f"{FORMAT}\n".encode())


def checks(data: Path, allow_root: bool = True) -> tuple[DataCheck, ...]:
    """The checks of ``mailserver verify``. Without ``allow_root``, root must not own the data."""
    return (
        DataCheck((), partial(_verify_owners, data, allow_root)),
        DataCheck((), partial(verify_accounts, accounts_file(data))),
        DataCheck((), partial(verify_history, history_file(data))),
        DataCheck(MAILDIR_KINDS, partial(verify_maildirs, data / "mail")),
        DataCheck(QUEUE_KINDS, partial(_verify_queues, data)),
    )


def at_start(data: Path) -> DataCheck:
    """The quick checks for problems that keep mail from being delivered or read."""
    return DataCheck(("mailbox",), partial(verify_folders, data / "mail"))


def make_own(data: Path, disk: Disk) -> None:
    """Make the data directory unless it exists. Raises ``OSError``, and :class:`CannotStart` if another user
    owns it, or could change the server's files."""
    disk.make_dirs(data.parent)
    disk.make_dirs(data, below=data.parent)
    require_own(data)


def require_own(data: Path) -> None:
    """Raise :class:`CannotStart` if another user owns the server's files, or could change them."""
    for path in own_files(data):
        problem = foreign(path)
        if problem is not None:
            raise CannotStart(f"data: {path} {problem[0]}; fix it with: {problem[1]}")


def own_files(data: Path) -> Iterator[Path]:
    """The files and folders of the server itself; some may not exist. Not the mailboxes: the store refuses
    those of another user, and serves the rest."""
    yield from (data, data / "lock", data / "tmp", data / "tls", policies_folder(data), srs_keys_file(data))
    databases = (
        accounts_file(data),
        history_file(data),
        queue_file(data),
        *worker_queue_files(data).values(),
    )
    for database in databases:
        if database.parent != data:
            yield database.parent
        yield from sorted(database.parent.glob(f"{database.name}*"))


def _verify_queues(data: Path) -> Iterator[str | Finding]:
    """Check the spools of all workers."""
    yield from verify_queue(queue_file(data))
    for path in worker_queue_files(data).values():
        if marker(path).exists():  # otherwise a worker is about to create it
            yield from verify_queue(path)


def _verify_owners(data: Path, allow_root: bool) -> Iterator[Finding]:
    if not allow_root and os.geteuid() == 0:
        # The command has become the owner of the data, if that is not root.
        yield Finding(data, "belongs to root, but the server does not run as root", "be given to its user")
    for path in own_files(data):
        problem = foreign(path)
        if problem is not None:
            yield Finding(path, problem[0], f"be fixed by {problem[1]}")


def room_problem(config: Config) -> str | None:
    """Why mail would be deferred from the start on, if the disk has too little room."""
    if config.storage.engine == "memory" or not config.storage.reserve:
        return None
    free = room(config.data, 0)
    if free > config.storage.reserve:
        return None
    return (
        f"{config.data}: {free // MIB} MiB are free, and storage.reserve keeps "
        f"{config.storage.reserve // MIB} MiB free: all mail is deferred (452) until there is more room"
    )
