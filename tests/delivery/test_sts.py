"""The policies of domains over time: found, kept, refreshed; neither DNS nor the policy host weakens one."""

import errno
from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from mailserver.delivery.tls_policy.sts import MTASTS
from mailserver.delivery.tls_policy.sts_fetch import PolicyUnavailable
from mailserver.delivery.tls_policy.sts_policy import STSPolicy
from mailserver.delivery.tls_policy.sts_store import KnownPolicy, PolicyFiles
from mailserver.durable.disk import Disk
from mailserver.errors import DNSFailure
from tests.support.fakes import stand_in
from tests.support.reactor import FakeReactor
from tests.support.resolvers import FakeResolver, Question

DOMAIN = "example.org"
RECORD: Question = ("_mta-sts.example.org", "TXT")
DAY = 86400
WEEK = 7 * DAY


def policy(host: str = "mx.example.org", max_age: int = WEEK) -> STSPolicy:
    return STSPolicy("enforce", (host,), max_age)


def content(policy: STSPolicy) -> bytes:
    return "\r\n".join(policy.lines).encode()


class World:
    """A domain with a record and a policy host. ``fetched`` counts the requests to the latter."""

    def __init__(self, folder) -> None:
        self.reactor = FakeReactor()
        self.reactor.advance(1_700_000_000)
        self.resolver = FakeResolver({RECORD: [b"v=STSv1; id=1"]}, self.reactor)
        self.answer: Callable[[], Deferred[bytes]] = lambda: succeed(content(policy()))
        self.fetched = 0
        self.folder = folder / "mta-sts"
        self.restart()

    def restart(self) -> None:
        files = PolicyFiles(self.folder, Disk())
        files.open()
        self.sts = MTASTS(stand_in(self.reactor), self.resolver, self._fetch, files)

    def _fetch(self, domain: str) -> Deferred[bytes]:
        assert domain == DOMAIN
        self.fetched += 1
        return self.answer()

    def ask(self) -> Deferred[STSPolicy | None]:
        return Deferred.fromCoroutine(self.sts.policy(DOMAIN))

    def now(self) -> STSPolicy | None:
        results: list[STSPolicy | None] = []
        self.ask().addCallback(results.append)
        return results[0]

    def break_host(self) -> None:
        self.answer = lambda: fail(PolicyUnavailable("no answer"))


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_a_policy_is_fetched_once(world):
    assert world.now() == world.now() == policy()
    assert world.fetched == 1
    world.restart()
    assert world.now() == policy()
    assert world.fetched == 1


@pytest.mark.parametrize("records", [[], [b"v=spf1 -all"], DNSFailure("no answer")])
def test_no_record(world, records):
    world.resolver.records[RECORD] = records
    assert world.now() is None
    assert world.fetched == 0


@pytest.mark.parametrize("records", [[], DNSFailure("no answer")])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_policy_outlives_its_record_until_it_expires(world, records, restarted):
    world.now()
    world.resolver.records[RECORD] = records
    if restarted:
        world.restart()
    world.reactor.advance(WEEK - 1)
    assert world.now() == policy()
    world.reactor.advance(1)
    assert world.now() is None


def test_a_policy_outlives_its_host(world):
    world.now()
    world.break_host()
    world.resolver.records[RECORD] = [b"v=STSv1; id=2"]
    assert world.now() == policy()
    world.answer = lambda: succeed(b"garbage")
    world.reactor.advance(300)
    assert world.now() == policy()
    world.reactor.advance(WEEK)
    assert world.now() is None
    assert world.fetched == 4


def test_a_new_id_brings_a_new_policy(world):
    world.now()
    world.resolver.records[RECORD] = [b"v=STSv1; id=2"]
    world.answer = lambda: succeed(content(policy("other.example")))
    assert world.now() == policy("other.example")
    world.restart()
    assert world.now() == policy("other.example")
    assert world.fetched == 2


def test_a_host_that_fails_is_left_alone_for_a_while(world):
    world.break_host()
    assert world.now() is None
    assert world.now() is None
    assert world.fetched == 1
    world.resolver.records[RECORD] = [b"v=STSv1; id=2"]
    assert world.now() is None
    assert world.fetched == 2
    world.reactor.advance(299)
    world.now()
    assert world.fetched == 2
    world.reactor.advance(1)
    world.answer = lambda: succeed(content(policy()))
    assert world.now() == policy()


def test_a_clock_that_was_ahead_does_not_stop_fetches(world):
    world.break_host()
    world.now()
    world.reactor.advance(-10 * 365 * DAY)
    world.now()
    assert world.fetched == 2


def test_many_messages_share_a_fetch(world):
    waiting: Deferred[bytes] = Deferred()
    world.answer = lambda: waiting
    results: list[STSPolicy | None] = []
    for _ in range(3):
        world.ask().addCallback(results.append)
    assert (world.fetched, results) == (1, [])
    waiting.callback(content(policy()))
    assert results == [policy()] * 3


def test_refreshing(world):
    world.now()
    world.sts.start()
    world.reactor.pump([3600] * 23)
    assert world.fetched == 1
    world.answer = lambda: succeed(content(policy("new.example")))
    world.reactor.advance(3600)
    assert world.fetched == 2
    world.resolver.records[RECORD] = DNSFailure("no answer")
    assert world.now() == policy("new.example")
    world.reactor.pump([3600] * 24)
    assert world.fetched == 2  # nobody knows whether there is another one
    world.reactor.pump([3600] * 24 * 6)
    assert world.now() is None
    assert list(world.folder.iterdir()) == []
    world.sts.stop()
    assert world.reactor.getDelayedCalls() == []


def test_stopping_in_a_refresh(world):
    world.now()
    cancelled: list[object] = []
    world.answer = lambda: Deferred(cancelled.append)
    world.sts.start()
    world.reactor.pump([3600] * 25)
    assert world.fetched == 2
    world.sts.stop()
    assert len(cancelled) == 1
    assert world.reactor.getDelayedCalls() == []


def test_a_policy_that_cannot_be_stored_is_in_force(world):
    world.folder.write_bytes(b"")
    assert world.now() == world.now() == policy()
    assert world.fetched == 1


# ------------------------------------------------------------ the files


@pytest.fixture
def files(tmp_path) -> PolicyFiles:
    files = PolicyFiles(tmp_path / "mta-sts", Disk())
    files.open()
    return files


KNOWN = KnownPolicy("1", 1e9, STSPolicy("testing", ("*.example.org", "mx.example.net"), 100))


def test_files(files, tmp_path):
    assert list(tmp_path.iterdir()) == []
    files.write("example.org", KNOWN)
    (tmp_path / "mta-sts" / ".example.net.json.0123").write_bytes(b"")
    (path,) = tmp_path.glob("*/*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    again = PolicyFiles(tmp_path / "mta-sts", Disk())
    again.open()
    assert again.domains == {"example.org"}
    assert again.read("example.org") == KNOWN
    again.remove("example.org")
    again.remove("example.org")
    assert list(path.parent.iterdir()) == []
    assert again.read("example.org") is None


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"id": 1, "fetched": "x", "policy": "x"}',
        b"\xff",
        b'{"policy": 1}',
    ],
)
def test_damaged_files(files, tmp_path, octets):
    (tmp_path / "mta-sts").mkdir()
    (tmp_path / "mta-sts" / "example.org.json").write_bytes(octets)
    assert files.read("example.org") is None


def test_limits_of_files(files, monkeypatch):
    monkeypatch.setattr("mailserver.delivery.tls_policy.sts_store.MOST_FILES", 1)
    files.write("x" * 221, KNOWN)
    files.write("x" * 220, KNOWN)
    files.write("y", KNOWN)
    files.write("x" * 220, KNOWN)
    assert files.domains == {"x" * 220}


def test_a_wrong_clock():
    assert KNOWN.expires(1e9 + 1) == 1e9 + 100
    assert KNOWN.expires(1e9 - 500) == 1e9 - 400


def test_errors_of_the_disk(files, tmp_path):
    (tmp_path / "mta-sts" / "example.org.json").mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        files.read("example.org")
    assert caught.value.errno == errno.EISDIR
