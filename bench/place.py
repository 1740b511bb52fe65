"""Describes the machine and the folder of a run, and whether the folder is on a disk."""

import os
import platform
from pathlib import Path

# usually on a disk, while /tmp may be in memory
DEFAULT = Path("/var/tmp")
HELP = f"directory for the data of the servers, on a disk (default: {DEFAULT})"
MEMORY = ("tmpfs", "ramfs")


def file_system(folder: Path) -> str:
    """The type of the file system that holds ``folder``, as /proc/self/mounts has it."""
    device = folder.stat().st_dev
    found = "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        try:
            # the last mount on a point hides those before it
            if Path(point.encode().decode("unicode_escape")).stat().st_dev == device:
                found = kind
        except OSError:
            continue
    return found


def describe(folder: Path) -> str:
    """One line: cores, kernel, file system."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, Linux {platform.release()}, {file_system(folder)}"
