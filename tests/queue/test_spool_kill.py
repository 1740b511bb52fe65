"""A server that is killed while it takes messages in has every one that it has answered."""

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import mailserver
from tests.support.queue.spools import SpoolReactor, Spools
from tests.support.runs import rest_slow
from tests.support.store.messages import ALICE

AT_ONCE = 8
CHILD = "import sys, tests.queue.test_spool_kill as test; test.deliver_until_killed(sys.argv[1])"


def text(number: int) -> bytes:
    """A message; every fourth is too large for the spool's database."""
    return b"Subject: %d\r\n\r\n%s\r\nend of %d\r\n" % (
        number,
        b"x" * (5000 if number % 4 else 100_000),
        number,
    )


def deliver_until_killed(root: str) -> None:
    """Eight deliveries are always under way; each prints its number when it has fired."""
    from twisted.internet import reactor

    spools = Spools(Path(root), reactor)  # type: ignore[arg-type]
    spools.open()

    def deliver(number: int) -> None:
        taken: Any = spools.deliver(text(number), ALICE)
        taken.addCallback(lambda _: print(number, flush=True))
        taken.addCallback(lambda _: deliver(number + AT_ONCE))

    reactor.callWhenRunning(lambda: [deliver(number) for number in range(AT_ONCE)])
    reactor.run()


@pytest.mark.parametrize("seed", rest_slow([0, 1]))
def test_kill(tmp_path: Path, spool_reactor: SpoolReactor, seed: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(mailserver.__file__).parents[1],
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        # The checkpoint comes a second after the first message: before it, and after it.
        time.sleep(random.Random(seed).uniform(0.0, 0.2) + (seed % 2) * 1.0)
    finally:
        process.kill()
        rest, _ = process.communicate()
    # A line may have been cut by the kill; its message counts only if it was printed whole.
    answered = {int(line) for line in (first + rest).splitlines(keepends=True) if line.endswith(b"\n")}
    assert answered

    spools = Spools(tmp_path, spool_reactor)
    spools.open()
    for _ in range(2):
        found = [data[data.index(b"Subject:") :] for data in spools.look(ALICE)]
        assert spools.rows() == []
        assert len(set(found)) == len(found)
        assert {text(number) for number in answered} <= set(found)
        # What was not answered may be there as well, but whole.
        numbers = {int(data.split(b"\r\n")[0].split()[1]) for data in found}
        assert set(found) == {text(number) for number in numbers}
        spools.reopen()
    spools.close()
