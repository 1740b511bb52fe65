"""A clock that jumps while the server runs: names stay unique, and nothing is lost or comes back.

The clock is set by a file that the server's process looks into whenever it asks for the time.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .corpus import message, original
from .mailbox import Mailbox
from .server import Server

HOUR, YEAR = 3600, 365 * 86400
JUMPS = [HOUR, -HOUR, 10 * YEAR, -10 * YEAR]
SHIFTED = """
import pathlib, runpy, sys, time
shift, real, real_ns = pathlib.Path(sys.argv.pop(1)), time.time, time.time_ns
time.time = lambda: real() + int(shift.read_text())
time.time_ns = lambda: real_ns() + int(shift.read_text()) * 10**9
runpy.run_module("twisted", run_name="__main__", alter_sys=True)
"""


class Shifted(Server):
    """A server whose clock can be set, in seconds from the real one."""

    def jump(self, seconds: int) -> None:
        new = self.shift.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.shift)

    @property
    def shift(self) -> Path:
        return self.directory / "shift"

    def command(self) -> list[str]:
        words = super().command()
        assert words[:3] == [sys.executable, "-m", "twisted"]
        return [sys.executable, "-c", SHIFTED, str(self.shift), *words[3:]]


@pytest.fixture
def shifted(tmp_path: Path) -> Iterator[Shifted]:
    server = Shifted(tmp_path)
    server.jump(0)
    server.start()
    yield server
    server.finish()


@pytest.mark.parametrize("jump", JUMPS)
def test_mail_goes_on(shifted: Shifted, jump: int) -> None:
    """All is there once, under names of its own; what was removed stays so, over the next start."""
    alice, bob = Mailbox(shifted, "alice"), Mailbox(shifted, "bob")
    sent = []
    for number, shift in enumerate((0, jump, 0, jump)):
        shifted.jump(shift)
        for box in (alice, bob):
            sent.append(message(f"clock.{number}", b"tick\r\n"))
            box.fill(sent[-1])
    uids = alice.uids() + bob.uids()
    assert len(set(uids)) == len(uids) == len(sent)
    assert sorted(map(original, alice.messages() + bob.messages())) == sorted(sent)
    with alice.login() as session:
        for number in (1, 2, 3, 4):
            session.expect(b"DELE %d" % number, b"+OK")
        session.expect(b"QUIT", b"+OK")
    shifted.kill()
    shifted.start()
    assert alice.uids() == []
    assert sorted(bob.uids()) == sorted(uids[4:])
    alice.fill(sent[0])
    assert set(alice.uids()).isdisjoint(uids)
