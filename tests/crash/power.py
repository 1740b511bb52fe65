"""Power cuts: what was answered before one is there after it. The long form: ``python -m tests.crash.power``.

A real server keeps its data on a file system of its own, on a disk that can be turned off (``device``).
Several clients send and one removes, until the power goes at a write to that disk chosen by chance; what the
disk had not yet been told to flush is lost in whole or in part. Then the file system is mounted again, which
replays its journal (there is no fsck, and none is needed), a server is started on it, and every mailbox is
compared with the ledger: each message answered 250 before the cut began is there, octet for octet, nothing is
torn, nothing comes back that an answered QUIT removed, nothing is there twice, and the server serves. The
same disk then goes through the next cut. Some cuts come while the server still starts, and some just after
the answer to a client that was alone, when nobody else's sync could have made that safe.

The file systems are told to write nothing back by themselves for minutes, so what is safe is so because the
server has asked for it. ``--control`` runs a server whose syncs do nothing, which must lose messages: exit
status 0 then means that it was caught.

Needs root, Linux with loop devices and FUSE, the mkfs of each file system, and eatmydata for that control.
All mounts are made in a mount namespace of its own, so none can stay behind.

Exit status: 0 if all was as it must be, 1 if not, 2 for wrong usage or something missing.
"""

import argparse
import contextlib
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.crash.device import Cut, Disk
from tests.crash.ledger import Ledger
from tests.crash.traffic import CONFIGURATION, Traffic
from tests.support.e2e.programs import SEARCH
from tests.support.e2e.server import ROOT, Server, launch_python

SIZE = 512 << 20  # octets of the disk; XFS wants 300 MiB at least
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q"],
    "btrfs": ["mkfs.btrfs", "-q"],
}
PACKAGES = {
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "eatmydata": "eatmydata",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
# XFS has no such option, and half a minute of its own.
OPTIONS = {"ext4": "loop,commit=300", "xfs": "loop", "btrfs": "loop,commit=300"}
# The server does not outlive us.
GUARDED = ("setpriv", "--pdeathsig", "KILL")
LAUNCH = tuple(launch_python()[:3])
CONTROLS = {
    "no-sync": (sys.executable, "-m", "tests.crash.unsynced"),
    "eatmydata": ("eatmydata", *LAUNCH),
}
SHOWN = 3  # violations of one cut


def impossible() -> str | None:
    """Why this machine cannot do it at all, whatever is installed."""
    if os.geteuid() != 0:
        return "power cuts need root, for loop devices and mounts"
    for device in ("/dev/loop-control", "/dev/fuse"):
        if not os.access(device, os.R_OK | os.W_OK):
            return f"power cuts need {device}"
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    return f"power cuts need a mount namespace: {probe.stderr.strip()}" if probe.returncode else None


def not_installed(systems: list[str], control: str | None) -> str | None:
    """Which programs are missing, with their Debian packages."""
    programs = [MAKE[one][0] for one in systems] + (["eatmydata"] if control == "eatmydata" else [])
    missing = [one for one in [*programs, GUARDED[0]] if not shutil.which(one, path=SEARCH)]
    return ", ".join(f"{one} is not installed (package {PACKAGES[one]})" for one in missing) or None


_stopping: list[bool] = []  # not empty after SIGTERM, which lets the cut under way come to its end


class Campaign:
    """Cut after cut on one disk with one file system."""

    def __init__(self, folder: Path, system: str, control: str | None, dice: random.Random) -> None:
        self.folder, self.system, self.dice = folder, system, dice
        self.image = folder / "image"
        program = CONTROLS[control] if control else LAUNCH
        (folder / "data").mkdir()
        self.server = Server(
            folder,
            CONFIGURATION,
            lambda *options: [*GUARDED, *program, "--log-format=text", "mailserver", *options],
        )
        self.counts = Counter[str]()
        self.disks = 0
        self.fresh()

    def fresh(self) -> None:
        """An empty disk, and nothing sent."""
        self.disks += 1
        self.ledger = Ledger(f"{self.system}{self.disks}")
        self.image.unlink(missing_ok=True)
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        subprocess.run([*MAKE[self.system], str(self.image)], check=True, capture_output=True)

    @contextlib.contextmanager
    def power(self) -> Iterator[Disk]:
        """The data directory is on the disk; at the end the server is dead."""
        data = str(self.server.data)
        with Disk(self.image, self.folder / "device") as disk:
            options = ["-t", self.system, "-o", OPTIONS[self.system]]
            subprocess.run(["mount", *options, str(disk.device), data], check=True)
            try:
                yield disk
            finally:
                self.kill()
                subprocess.run(["umount", data], check=True)

    def kill(self) -> None:
        if self.server.process is not None:
            self.server.process.kill()
            self.server.wait()

    def run(self, cuts: int) -> None:
        """Each kind of cut once, and then as chance has it."""
        kinds = [self.cut_busy, self.cut_quiet, self.cut_start]
        kinds += self.dice.choices(kinds, (4, 4, 2), k=cuts)
        for cut in kinds[:cuts]:
            if not _stopping:
                with self.power() as disk:
                    good = cut(disk)
                if not good:
                    self.fresh()  # so that nothing is told twice
        with self.power():
            self.start()

    def start(self) -> Traffic | None:
        """Start the server and compare all there is with the ledger; None if that fails."""
        traffic = Traffic(self.server, self.ledger, self.counts)
        try:
            self.server.start()
        except AssertionError as error:
            traffic.wrong.append(f"the server does not start: {str(error)[-2000:]}")
        else:
            traffic.check(self.dice)
        self.counts["checks"] += 1
        self.counts["failed"] += bool(traffic.wrong)
        self.tell("after", traffic.wrong)
        return None if traffic.wrong else traffic

    def cut_start(self, disk: Disk) -> bool:
        """While the server starts; it is for the next start to compare."""
        self.server.spawn()
        self.counts["starts"] += 1
        self.cut(disk, 30, self.dice.uniform(0.3, 2.0))
        return True

    def cut_busy(self, disk: Disk) -> bool:
        """While many clients are at work. False if the start before it failed, and there was no cut."""
        traffic = self.start()
        if traffic is None:
            return False
        traffic.start(self.dice.getrandbits(32))
        traffic.wait_for(20)
        time.sleep(self.dice.uniform(0.0, 1.5))
        self.cut_off(traffic, disk, 60, 0.3)
        return True

    def cut_quiet(self, disk: Disk) -> bool:
        """Just after the answer to one client that was alone. False as with ``cut_busy``."""
        traffic = self.start()
        if traffic is None:
            return False
        self.counts["quiet"] += 1
        time.sleep(self.dice.uniform(0.0, 1.5))
        traffic.one_by_one(self.dice)
        self.cut_off(traffic, disk, 1, 0.01)
        return True

    def cut_off(self, traffic: Traffic, disk: Disk, writes: int, seconds: float) -> None:
        traffic.freeze()
        self.cut(disk, writes, seconds)
        self.kill()
        traffic.join()
        self.tell("before", traffic.wrong)
        if traffic.wrong:
            print(self.server.log[-3000:])

    def tell(self, when: str, wrong: list[str]) -> None:
        self.counts["wrong"] += len(wrong)
        for line in wrong[:SHOWN]:
            print(f"  {when} cut {self.counts['cuts']}: {line}")
        if len(wrong) > SHOWN:
            print(f"  and {len(wrong) - SHOWN} more")

    def cut(self, disk: Disk, writes: int, seconds: float) -> None:
        share = self.dice.choice((0.0, 1.0, self.dice.random(), self.dice.random()))
        cut = Cut(share, self.dice.getrandbits(32), self.dice.randint(1, writes), seconds)
        self.counts["cuts"] += 1
        self.counts.update(attrs.asdict(disk.cut(cut)))


def campaign(system: str, cuts: int, control: str | None, seed: int) -> bool:
    """All cuts with one file system, and what to say of them; whether all was as it must be."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="power-") as folder:
        one = Campaign(Path(folder), system, control, random.Random(f"{seed} {system}"))
        one.run(cuts)
    if control:
        good = one.counts["failed"] > 0
        verdict = "caught" if good else "NOT CAUGHT: nothing lost"
    else:
        good = not one.counts["wrong"]
        verdict = "nothing lost" if good else f"FAILED: {one.counts['wrong']} violations"
    print(
        f"{system}, {control or 'the server as it is'}: {verdict}\n"
        "  {cuts} cuts, {starts} of them at a start, {quiet} just after an answer\n"
        "  {checks} starts checked, {failed} of these failed\n"
        "  {answered} messages answered 250, for {copies} mailboxes; {removed} removed from them\n"
        "  {writes} writes to the disk, {flushes} flushes; at the cuts {unflushed} pieces of 4 KiB were"
        " in its cache, {dropped} of them were dropped\n"
        f"  {time.monotonic() - begin:.0f} s".format_map(one.counts),
        flush=True,
    )
    return good


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash.power", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--cuts", type=int, default=50, help="for each file system (default 50)")
    parser.add_argument("--fs", default=",".join(MAKE), help="of %(default)s, which is the default")
    parser.add_argument("--control", choices=list(CONTROLS), help="a server that must be caught losing mail")
    parser.add_argument("--seed", type=int, help="the same seed makes the same choices (default: any)")
    parser.add_argument("--mounts-apart", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    options.systems = options.fs.split(",")
    if unknown := set(options.systems) - set(MAKE):
        parser.error(f"no such file system here: {', '.join(unknown)}")
    if options.cuts < 1:
        parser.error("at least one cut")
    return options


def main(words: list[str]) -> int:
    options = arguments(words)
    reason = impossible() or not_installed(options.systems, options.control)
    if reason:
        print(reason, file=sys.stderr)
        return 2
    if not options.mounts_apart:
        again = ["unshare", "--mount", sys.executable, "-m", "tests.crash.power", "--mounts-apart", *words]
        os.chdir(ROOT)
        os.execvpe(again[0], again, {**os.environ, "PYTHONPATH": str(ROOT), "PATH": SEARCH})
    signal.signal(signal.SIGTERM, lambda *_: _stopping.append(True))
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    good = [campaign(system, options.cuts, options.control, seed) for system in options.systems]
    return 0 if all(good) and not _stopping else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
