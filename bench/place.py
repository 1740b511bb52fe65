"""The machine and the folder of a run: what they are, and whether files there reach a disk."""

import os
import platform
from pathlib import Path

# kept for good by the usual set-up, where /tmp may be memory
DEFAULT = Path("/var/tmp")
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
