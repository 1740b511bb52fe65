"""The last backup, as ``mailserver backup`` records it in ``DATA/last-backup.json``."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from mailserver.app.data import accounts_file
from mailserver.app.doctor.findings import DoctorFinding
from mailserver.app.doctor.installation import Installation
from mailserver.durable.database import marker

RECORD = "last-backup.json"
DAY = 86400.0  # seconds
MOST_DAYS = 7

_MEND = "mailserver backup DIRECTORY, each day by cron or a systemd timer"


def check_backup(it: Installation) -> Iterator[DoctorFinding]:
    """Its age, and whether it is still there."""
    if it.in_memory or not it.data.exists():
        return
    path = it.data / RECORD
    try:
        record = json.loads(path.read_bytes())
        made = datetime.fromisoformat(record["time"]).timestamp()
        folder = Path(record["directory"])
    except FileNotFoundError:
        yield _never(it)
        return
    except (OSError, ValueError, KeyError, TypeError):
        text = "it does not say when the last backup was made"
        yield DoctorFinding("backup-unknown", str(path), text, _MEND)
        return
    days = (it.now - made) / DAY
    if days > MOST_DAYS:
        text = f"the last backup is {days:.0f} days old: all newer mail is lost with the disk"
        yield DoctorFinding("backup-old", str(folder), text, _MEND)
    if folder.is_absolute() and not folder.exists():
        text = "the last backup was made there, and the directory does not exist now"
        yield DoctorFinding("backup-missing", str(folder), text, f"mount its disk, or: {_MEND}")


def _never(it: Installation) -> DoctorFinding:
    try:
        age = it.now - marker(accounts_file(it.data)).stat().st_mtime
    except OSError:
        age = 0.0
    if age < MOST_DAYS * DAY:
        return DoctorFinding("backup-never-new", str(it.data), "there is no backup yet", _MEND)
    text = f"there was never a backup, for {age / DAY:.0f} days: all mail is lost with the disk"
    return DoctorFinding("backup-never", str(it.data), text, _MEND)
