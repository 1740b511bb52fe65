"""Damaged databases, and messages that the server has set aside."""

from collections.abc import Iterator
from pathlib import Path

from mailserver.app.data import (
    accounts_file,
    history_file,
    queue_file,
    require_format,
    worker_queue_files,
)
from mailserver.app.doctor.findings import DoctorFinding
from mailserver.app.doctor.installation import Installation
from mailserver.durable.database import damage, marker
from mailserver.errors import StorageRefused
from mailserver.mail.words import counted
from mailserver.queue.sqlite.listing import outdated

REASON = ".reason"
LONGEST = 200  # characters of a reason


def check_damage(it: Installation) -> Iterator[DoctorFinding]:
    """The databases, and the folder of damaged files."""
    if it.in_memory or not it.data.exists():
        return
    try:
        require_format(it.data)
    except StorageRefused as error:
        text = f"{error}: the server does not start"
        yield DoctorFinding("format-newer", str(it.data), text, "install the newer version")
    yield from _databases(it.data)
    aside = [path for path in sorted((it.data / "damaged").glob("*")) if not path.name.endswith(REASON)]
    if aside:
        text = f"{counted(len(aside), 'file')} set aside because of damage, the last one {_reason(aside[-1])}"
        mend = "look for errors of the disk, save what is of use, then remove the files"
        yield DoctorFinding("set-aside", str(it.data / "damaged"), text, mend)


def _databases(data: Path) -> Iterator[DoctorFinding]:
    accounts, history, queue = accounts_file(data), history_file(data), queue_file(data)
    effects = {
        accounts: ("the server does not start", "restore it from a backup: mailserver restore"),
        history: (
            "no mail is greylisted, nor marked as a first contact",
            f"stop the server, remove {history} and {marker(history)}, start it",
        ),
        queue: (
            "the next start sets it aside, with all mail that waits",
            "stop the server, and copy the directory spool before you start it",
        ),
    }
    for worker in worker_queue_files(data).values():
        if marker(worker).exists():  # otherwise a worker is about to create it
            effects[worker] = (
                "the next start sets it aside, with the mail that was not synced to its mailboxes",
                "stop the server, and copy the directory spool before you start it",
            )
    for path, (effect, mend) in effects.items():
        if (wrong := damage(path)) is not None:
            yield DoctorFinding("database-damaged", str(path), f"it {wrong}: {effect}", mend)
        elif path == queue and outdated(path):
            text = "it has the format of an older version; the next start converts it"
            yield DoctorFinding("format-old", str(path), text, "make a backup, then restart the server")


def _reason(path: Path) -> str:
    try:
        with path.with_name(f"{path.name}{REASON}").open(errors="replace") as file:
            return f"{path.name}: {file.readline(LONGEST).strip()}"
    except OSError:
        return path.name
