"""Rewritten reverse-paths against Mail::SRS, the reference implementation."""

import time
from pathlib import Path

from mailserver.mail.address import Address
from mailserver.mail.srs import SRS
from tests.support.e2e.programs import SCRIPTS, need_perl, run

OURS = SRS("us.example", (b"s3cret",))
THEIRS = SRS("them.example", (b"other",))
SENDERS = ["erin@elsewhere.example", "Erin.Example+x@elsewhere.example", "a=b@x.example", "SRS2=x@y.example"]


def reference(home: Path, srs: SRS, *lines: str) -> list[str]:
    done = run(
        home, need_perl("Mail::SRS"), SCRIPTS / "srs.pl", srs.keys[0].decode(), srs.domain,
        input="\n".join(lines).encode(),
    )  # fmt: skip
    return done.stdout.decode().splitlines()


def test_both_ways(tmp_path: Path) -> None:
    now = time.time()
    senders = [*map(Address.parse, SENDERS)]
    first = [str(THEIRS.rewritten(sender, now)) for sender in senders]  # SRS0, of another server
    second = [str(OURS.rewritten(Address.parse(path), now)) for path in first]  # SRS1
    for originals, paths in (
        (SENDERS, [str(OURS.rewritten(sender, now)) for sender in senders]),
        (first, second),
    ):
        # What we make, it reverses to the original.
        assert reference(tmp_path, OURS, *(f"reverse {path}" for path in paths)) == originals
        # What it makes is what we make.
        assert reference(tmp_path, OURS, *(f"forward {sender}" for sender in originals)) == paths
