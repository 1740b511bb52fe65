"""The clock: the times of retries, expiry, certificates and signatures depend on it."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mailserver.app.data import accounts_file, queue_file
from mailserver.app.doctor.findings import DoctorFinding, Examined, NotChecked
from mailserver.app.doctor.installation import Installation

RELEASED = 1_764_547_200.0  # 2025-12-01: no earlier time can be right
TOLERANCE = 300.0  # seconds that a file may be newer than the clock

_MEND = "set the clock, and keep it right with an NTP client: timedatectl set-ntp true"


def check_clock(it: Installation) -> Iterator[Examined]:
    """Against the newest file of the server, and what the kernel knows."""
    now = it.now
    if now < RELEASED:
        yield DoctorFinding("clock-wrong", "clock", f"it is {_date(now)}, before this version", _MEND)
        return
    newest, path = max(((_changed(path), path) for path in _files(it.data)), default=(0.0, it.data))
    if newest > now + TOLERANCE:
        text = f"it is {_date(now)}, but {path} was changed at {_date(newest)}"
        yield DoctorFinding("clock-wrong", "clock", text, _MEND)
    synchronised = it.machine.is_synchronised()
    if synchronised is None:
        yield NotChecked("clock", "the kernel does not say whether it is synchronised")
    elif not synchronised:
        text = "the kernel says that no program keeps the clock right (adjtimex)"
        yield DoctorFinding("clock-unsynchronised", "clock", text, _MEND)


def _files(data: Path) -> Iterator[Path]:
    """Files that the server changes often."""
    for database in (accounts_file(data), queue_file(data)):
        yield from (database, database.with_name(f"{database.name}-wal"))
    yield data / "lock"


def _changed(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
