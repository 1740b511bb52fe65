"""A disk with a volatile write cache whose power can be cut: an image file, shown to a loop device by FUSE.

What a file system sends to its device, in which order, and where it asks for a flush, is all seen here: the
image is served by a small FUSE file server, a process of its own, where each write of the loop device
arrives as FUSE_WRITE and each flush as FUSE_FSYNC. (A loop device has no forced unit access: the kernel
makes a flush of it.) What has come since the last flush is remembered with what was there before. At the
cut each 4 KiB piece of that stays or goes by chance, which drops, reorders and tears writes as the cache
of a real disk may; what was flushed stays. From then on every request fails with EIO, so nothing more is
written, or answered as safe. Requests are served one at a time, so the cut is one moment, and not smeared
over the time that copying an image takes.

Not modelled: a disk that lies about flushes, loses what it had, or tears a piece of 4 KiB.

The server is started with the image's path and the descriptor of ``/dev/fuse``. It reads one command, a
line ``SHARE SEED WRITES SECONDS`` on standard input, and answers with a line when the cut is made: that is
at this number of further writes, or when the time is over. The protocol is that of ``linux/fuse.h``, 7.31.
"""

import errno
import json
import os
import random
import select
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import attrs

ROOT = Path(__file__).parents[2]  # where this package is found
PIECE = 4096  # octets that a disk writes as a whole
MOST = 1 << 20  # octets in one request
FOREVER = 1 << 30  # seconds for which the kernel may keep the attributes

REQUEST = struct.Struct("<IIQQIIII")  # fuse_in_header
REPLY = struct.Struct("<IiQ")  # fuse_out_header
INIT_IN = struct.Struct("<IIII")
INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
ATTRIBUTES = struct.Struct("<QII QQQQQQIIIIIIIIII")
TRANSFER = struct.Struct("<QQIIQII")  # fuse_read_in and fuse_write_in
GETATTR, OPEN, READ, WRITE, RELEASE, FSYNC, FLUSH, INIT, DESTROY = 3, 14, 15, 16, 18, 20, 25, 26, 38
UNANSWERED = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET
BIG_WRITES_AND_MAX_PAGES = 1 << 5 | 1 << 22


@attrs.frozen
class Cut:
    """When and how to turn the power off."""

    share: float  # of the unflushed pieces reaches the disk: 0.0 to 1.0
    seed: int
    writes: int  # so many more, and the last of them is still in the cache
    seconds: float  # or after this time


@attrs.define
class Counts:
    """What the disk has seen until the cut; unflushed and dropped are pieces."""

    writes: int = 0
    flushes: int = 0
    unflushed: int = 0
    dropped: int = 0


class Image:
    """The one file, and what has been written to it since the last flush."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_RDWR)
        self.size = os.fstat(self.file).st_size
        self.unflushed: list[tuple[int, bytes, bytes]] = []  # offset, before, after
        self.counts = Counts()
        self.coming: Cut | None = None
        self.last_write = self.deadline = float("inf")
        self.off = False
        self.handlers = {GETATTR: self.getattr, OPEN: self.open, READ: self.read, WRITE: self.write}

    def announce(self, cut: Cut) -> None:
        self.coming = cut
        self.last_write = self.counts.writes + cut.writes
        self.deadline = time.monotonic() + cut.seconds

    def cut(self) -> None:
        """Turn the power off."""
        assert self.coming is not None
        self.off, self.deadline = True, float("inf")
        dice = random.Random(self.coming.seed)
        for offset, before, _ in reversed(self.unflushed):
            os.pwrite(self.file, before, offset)
        for offset, _, after in self.unflushed:
            for start in range(0, len(after), PIECE):
                self.counts.unflushed += 1
                if dice.random() < self.coming.share:
                    os.pwrite(self.file, after[start : start + PIECE], offset + start)
                else:
                    self.counts.dropped += 1
        print(json.dumps(attrs.asdict(self.counts)), flush=True)

    def answer(self, code: int, body: bytes) -> bytes:
        """What a request is answered with; raises ``OSError``."""
        if code == INIT:
            major, minor, read_ahead, flags = INIT_IN.unpack_from(body)
            flags &= BIG_WRITES_AND_MAX_PAGES
            return INIT_OUT.pack(major, min(minor, 31), read_ahead, flags, 64, 48, MOST, 1, MOST >> 12, 0, 0)
        if code in (RELEASE, FLUSH, DESTROY):
            return b""
        if self.off:
            raise OSError(errno.EIO, "no power")
        if code == FSYNC:
            self.counts.flushes += 1
            self.unflushed.clear()
            return b""
        if code not in self.handlers:
            raise OSError(errno.ENOSYS, "not needed")
        return self.handlers[code](body)

    def getattr(self, body: bytes) -> bytes:
        times, mode = (0,) * 6, stat.S_IFREG | 0o600
        return ATTRIBUTES.pack(
            *(FOREVER, 0, 0), *(1, self.size, self.size >> 9), *times, *(mode, 1, 0, 0, 0, PIECE, 0)
        )

    def open(self, body: bytes) -> bytes:
        return bytes(16)

    def read(self, body: bytes) -> bytes:
        _, offset, size, *_ = TRANSFER.unpack_from(body)
        return os.pread(self.file, size, offset)

    def write(self, body: bytes) -> bytes:
        _, offset, size, *_ = TRANSFER.unpack_from(body)
        data = body[TRANSFER.size : TRANSFER.size + size]
        self.counts.writes += 1
        self.unflushed.append((offset, os.pread(self.file, size, offset), data))
        os.pwrite(self.file, data, offset)
        if self.counts.writes >= self.last_write:
            self.cut()
            raise OSError(errno.EIO, "no power")
        return struct.pack("<II", size, 0)


def serve(path: str, fuse: int) -> None:
    """Until the file is unmounted, or standard input ends: then whoever has mounted it is gone."""
    image = Image(path)
    while True:
        rest = image.deadline - time.monotonic()
        ready, _, _ = select.select([fuse, sys.stdin], [], [], None if rest == float("inf") else max(rest, 0))
        if sys.stdin in ready:
            words = sys.stdin.readline().split()
            if not words:
                return
            image.announce(Cut(float(words[0]), int(words[1]), int(words[2]), float(words[3])))
        elif not ready:
            image.cut()
        if fuse in ready:
            try:
                request = os.read(fuse, MOST + (1 << 16))
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno == errno.ENOENT:
                    continue  # the request has been withdrawn
                raise
            reply(image, fuse, request)


def reply(image: Image, fuse: int, request: bytes) -> None:
    _, code, number, *_ = REQUEST.unpack_from(request)
    if code in UNANSWERED:
        return
    failure, body = 0, b""
    try:
        body = image.answer(code, request[REQUEST.size :])
    except OSError as error:
        failure = error.errno or errno.EIO
    try:
        os.write(fuse, REPLY.pack(REPLY.size + len(body), -failure, number) + body)
    except OSError as error:
        if error.errno != errno.ENOENT:  # withdrawn
            raise


class Disk:
    """For whoever mounts it: ``device`` is the file for a loop device, as long as this is open."""

    def __init__(self, image: Path, device: Path) -> None:
        self.device = device
        device.touch()
        fuse = os.open("/dev/fuse", os.O_RDWR)
        try:
            # The root of this file system is not a folder but the one file.
            options = f"fd={fuse},rootmode=100600,user_id=0,group_id=0"
            mount = ["mount", "-i", "-t", "fuse", "-o", options, "disk", str(device)]
            subprocess.run(mount, check=True, pass_fds=[fuse])
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(image), str(fuse)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[fuse],
                text=True,
                cwd=ROOT,
            )
        finally:
            os.close(fuse)

    def cut(self, cut: Cut) -> Counts:
        """Returns when the power is off."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{cut.share} {cut.seed} {cut.writes} {cut.seconds}\n")
        self.process.stdin.flush()
        return Counts(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        subprocess.run(["umount", str(self.device)], check=True)
        self.process.communicate(timeout=20)
        assert self.process.returncode == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main(path: str, fuse: int) -> None:
    try:
        serve(path, fuse)
    finally:
        # From here on all requests fail. At our exit it would be too late: the last process in a mount
        # namespace unmounts what is in it, and would wait for itself.
        os.close(fuse)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
