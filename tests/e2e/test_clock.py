"""A clock that jumps or stands still: names stay unique, and nothing is lost or comes back.

The clock is set by a file that the server's process looks into whenever it asks for the time.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.corpus.messages import message, original
from tests.support.e2e.dialogue import Smtp
from tests.support.e2e.mailbox import SENDER, Mailbox
from tests.support.e2e.server import DOMAIN, PASSWORD, Server, configuration, wait_until
from tests.support.runs import rest_slow

HOUR, YEAR = 3600, 365 * 86400
JUMPS = [HOUR, -HOUR, 10 * YEAR, -10 * YEAR]
SHIFTED = """
import pathlib, runpy, sys, time
clock, real = pathlib.Path(sys.argv.pop(1)), time.time_ns
def time_ns():
    pace, seconds = clock.read_text().split()
    return int(pace) * real() + int(seconds) * 10**9
time.time, time.time_ns = lambda: time_ns() / 10**9, time_ns
runpy.run_module("twisted", run_name="__main__", alter_sys=True)
"""
TABLES = f"""
[[account]]
address = "few@{DOMAIN}"
password = "{PASSWORD}"
quota_messages = 1

[[list]]
address = "club"
members = ["few"]
owner = "carol"

[queue]
retry = ["100ms"]
expire_after = "1h"
"""

pytestmark = pytest.mark.one_process("the clock that a test sets is that of the process it starts")


class Shifted(Server):
    """A server whose clock can be set."""

    @property
    def clock(self) -> Path:
        return self.directory / "clock"

    def jump(self, seconds: int) -> None:
        """So many seconds from the real time."""
        self._set(f"1 {seconds}")

    def stand_still(self, seconds: int) -> None:
        """At so many since the epoch."""
        self._set(f"0 {seconds}")

    def _set(self, clock: str) -> None:
        new = self.clock.with_suffix(".new")
        new.write_text(clock)
        new.replace(self.clock)

    def command(self) -> list[str]:
        words = super().command()
        assert words[:3] == [sys.executable, "-m", "twisted"]
        return [sys.executable, "-c", SHIFTED, str(self.clock), *words[3:]]


@pytest.fixture
def shifted(tmp_path: Path) -> Iterator[Shifted]:
    server = Shifted(tmp_path, configuration(tables=TABLES))
    server.jump(0)
    yield from server.serve()


@pytest.mark.parametrize("jumps", rest_slow([[-10 * YEAR], JUMPS]), ids=["some", "all"])
def test_mail_goes_on(shifted: Shifted, jumps: list[int]) -> None:
    """All is there once, under names of its own; what was removed stays so, over the next start."""
    alice, bob = Mailbox(shifted, "alice"), Mailbox(shifted, "bob")
    known: set[bytes] = set()
    kept: list[bytes] = []
    for jump in jumps:
        sent = []
        for number, shift in enumerate((0, jump, 0, jump)):
            shifted.jump(shift)
            for box in (alice, bob):
                sent.append(message(f"clock.{jump}.{number}", b"tick\r\n"))
                box.fill(sent[-1])
        uids = alice.uids() + [uid for uid in bob.uids() if uid not in kept]
        assert len(set(uids)) == len(uids) == len(sent)
        assert known.isdisjoint(uids)
        found = list(map(original, alice.messages() + bob.messages()))
        assert sorted(text for text in found if text in sent) == sorted(sent)
        assert len(found) == len(sent) + len(kept)
        known.update(uids)
        kept = bob.uids()
        with alice.login() as session:
            for number in (1, 2, 3, 4):
                session.expect(b"DELE %d" % number, b"+OK")
            session.expect(b"QUIT", b"+OK")
        shifted.kill()
        shifted.start()
        assert alice.uids() == []
        assert sorted(bob.uids()) == sorted(kept)


@pytest.mark.slow
def test_the_same_moment_again(shifted: Shifted) -> None:
    """Each message has a name of its own, from one process and from the next."""
    alice = Mailbox(shifted, "alice")
    sent = [message(f"still.{number}", b"tick\r\n") for number in range(6)]
    shifted.stand_still(1_700_000_000)
    for some in (sent[:3], sent[3:]):
        alice.fill(*some)
        shifted.kill()
        shifted.start()
    uids = alice.uids()
    assert all(uid.startswith(b"1700000000.M000000P") for uid in uids)
    assert len(set(uids)) == len(uids) == len(sent)
    assert sorted(map(original, alice.messages())) == sorted(sent)


@pytest.mark.slow
def test_sessions_and_attempts_go_on(shifted: Shifted) -> None:
    """Open sessions stay, who waits is tried again as planned, and no report comes early."""
    few, carol = Mailbox(shifted, "few"), Mailbox(shifted, "carol")
    few.fill(message("one", b"no room for more\r\n"))
    with few.login() as reader, Smtp(shifted.smtp) as session:
        session.begin(SENDER, f"club@{DOMAIN}")
        session.send(message("two", b"waits\r\n"))
        session.expect(b".", b"250")
        for jump in JUMPS:
            shifted.jump(jump)
            wait_until(partial(more_attempts, shifted, attempts(shifted) + 2), f"further attempts, {jump}")
            session.expect(b"NOOP", b"250")
        reader.expect(b"DELE 1", b"+OK")
        reader.expect(b"QUIT", b"+OK")
    wait_until(lambda: shifted.log.count(": delivered: "), "the attempt that has room")
    assert [original(stored) for stored in few.messages()] == [message("two", b"waits\r\n")]
    assert carol.uids() == []


def attempts(server: Server) -> int:
    return server.log.count(": the mailbox is full (attempt ")


def more_attempts(server: Server, than: int) -> bool:
    return attempts(server) > than
