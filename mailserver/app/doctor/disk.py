"""The disk: free space and inodes, and whether it can be written to."""

import os
from collections.abc import Iterator

from mailserver.app.doctor.findings import DoctorFinding
from mailserver.app.doctor.installation import Installation

MIB = 1024 * 1024
MESSAGES = 10  # of the largest size, which should fit
FEW_INODES = 10_000
SHARE_OF_INODES = 50  # a warning if less than one of so many is free


def check_disk(it: Installation) -> Iterator[DoctorFinding]:
    """The file system of the data directory."""
    if it.in_memory or not it.data.exists():
        return
    subject, config = str(it.data), it.config
    status = it.machine.status(it.data)
    if status.f_flag & os.ST_RDONLY:
        text = "the file system is read-only, so that the server can store no mail"
        yield DoctorFinding("disk-read-only", subject, text, f"look for its errors: dmesg; {_remount(it)}")
    free = status.f_bavail * status.f_frsize
    left = free - config.storage.reserve
    if left <= 0:
        yield DoctorFinding(
            "disk-full",
            subject,
            f"{free // MIB} MiB are free, and storage.reserve keeps {config.storage.reserve // MIB} MiB "
            "free: all mail is deferred (452)",
            f"make room on the disk: du -xh --max-depth=2 {it.data} | sort -h",
        )
    elif left < MESSAGES * config.smtp.max_message_size:
        yield DoctorFinding(
            "disk-nearly-full",
            subject,
            f"{left // MIB} MiB are free above storage.reserve: fewer than {MESSAGES} messages of "
            "smtp.max_message_size fit",
            f"make room on the disk: du -xh --max-depth=2 {it.data} | sort -h",
        )
    # Some file systems have no fixed number of inodes, and report none.
    if status.f_files and status.f_favail < min(FEW_INODES, status.f_files // SHARE_OF_INODES):
        yield DoctorFinding(
            "few-inodes",
            subject,
            f"{status.f_favail} inodes are free; each message in a mailbox needs one",
            f"remove small files, or make a file system with more inodes: df -i {it.data}",
        )


def _remount(it: Installation) -> str:
    return f"then mount -o remount,rw the file system of {it.data}"
