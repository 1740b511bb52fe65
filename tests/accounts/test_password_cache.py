"""What has been verified is known again, for some time, and no more than that."""

import pytest
from twisted.internet.task import Clock

from mailserver.accounts.password_cache import VerifiedPasswordCache


def remembered(seconds: float = 300, size: int = 3) -> tuple[VerifiedPasswordCache, Clock]:
    clock = Clock()
    return VerifiedPasswordCache(clock, seconds, size), clock


def test_for_some_time() -> None:
    known, clock = remembered()
    digest = known.digest("alice", "hash", "password")
    assert digest not in known
    known.add(digest)
    clock.advance(299)
    assert digest in known
    clock.advance(1)
    assert digest not in known
    assert len(known) == 0


def test_being_asked_for_does_not_make_it_last_longer_and_being_added_does() -> None:
    known, clock = remembered()
    known.add(b"a")
    clock.advance(200)
    assert b"a" in known
    known.add(b"b")
    known.add(b"a")
    clock.advance(200)
    assert b"a" in known and b"b" in known
    clock.advance(100)
    assert b"a" not in known and b"b" not in known


def test_what_was_added_first_makes_room() -> None:
    known, clock = remembered()
    for digest in (b"a", b"b", b"c", b"a", b"d"):
        known.add(digest)
        clock.advance(1)
    assert [digest in known for digest in (b"a", b"b", b"c", b"d")] == [True, False, True, True]


def test_nothing_is_remembered_for_no_time() -> None:
    known, _ = remembered(0)
    known.add(b"a")
    assert b"a" not in known and len(known) == 0


def test_the_time_may_change() -> None:
    known, clock = remembered()
    known.add(b"a")
    clock.advance(20)
    known.seconds = 10
    assert b"a" not in known


@pytest.mark.parametrize(
    "other", [("al", "icehash", "password"), ("alice", "hash", "Password"), ("alice", "hash2", "password"),
              ("bob", "hash", "password"), ("alice", "hashpassword"), ("alice", "hash", "password", "")],
)  # fmt: skip
def test_a_digest_covers_each_part(other: tuple[str, ...]) -> None:
    known, _ = remembered()
    assert known.digest("alice", "hash", "password") == known.digest("alice", "hash", "password")
    assert known.digest("alice", "hash", "password") != known.digest(*other)


def test_the_key_dies_with_the_process() -> None:
    assert remembered()[0].digest("a") != remembered()[0].digest("a")
