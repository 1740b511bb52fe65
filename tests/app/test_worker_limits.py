"""The limits of workers that ask their supervisor: what a dead worker held, and a supervisor that is gone."""

import pickle
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from twisted.internet.task import Clock

from mailserver.app.workers import remote_limits
from mailserver.app.workers.remote_limits import LimitsLine, RemoteLimits, RemoteLogins
from mailserver.app.workers.shared_limits import LARGEST, SharedLimits
from mailserver.mail.address import Address
from mailserver.mail.rate import Rate
from tests.support.fakes import stand_in
from tests.support.net.fakes import Journal
from tests.support.net.limits import NO_LIMITS, only_limits
from tests.support.net.limits_of_workers import LimitsOfWorker
from tests.support.real_reactor import real_reactor

A, B, ALICE = "192.0.2.1", "192.0.2.2", "alice@example.org"
SETTINGS = only_limits(
    connections_per_address=2, auth_failure_delay=1.0, auth_block_after=2, auth_block=900.0
)


@pytest.fixture
def shared() -> SharedLimits:
    return SharedLimits(SETTINGS, Clock().seconds)


@pytest.fixture
def workers(shared: SharedLimits) -> list[LimitsOfWorker]:
    return [LimitsOfWorker(SETTINGS, shared, number) for number in (1, 2)]


def test_a_dead_worker_holds_no_connection(shared: SharedLimits, workers: list[LimitsOfWorker]) -> None:
    one, other = workers
    assert one.connections.admit(A) is one.connections.admit(A) is None
    assert other.connections.admit(A) is not None
    assert other.connections.admit(B) is None
    shared.gone(1)
    assert other.connections.admit(A) is other.connections.admit(A) is None
    assert other.connections.admit(A) is not None
    other.connections.release(A)
    assert shared.limits.connections.total == 2


def test_a_dead_worker_holds_no_attempt(shared: SharedLimits, workers: list[LimitsOfWorker]) -> None:
    one, other = workers
    for _ in range(4):
        one.guard.begin(A, ALICE)
    assert one.guard.may_check(A, ALICE)
    assert one.guard.may_check(A, ALICE)
    assert not other.guard.may_check(A, ALICE)
    assert other.guard.begin(A, ALICE) > 0
    other.guard.end(A)
    shared.gone(1)
    assert other.guard.may_check(A, ALICE)
    assert other.guard.begin(A, ALICE) == 0
    other.guard.checked(A, ALICE)
    other.guard.end(A)
    assert len(shared.limits.guard) == 0


def test_what_was_not_taken_cannot_be_given_back(shared: SharedLimits, workers: list[LimitsOfWorker]) -> None:
    one, other = workers
    assert one.connections.admit(A) is None
    other.connections.release(A)
    other.guard.end(A)
    other.guard.checked(A, ALICE)
    assert shared.limits.connections.total == 1


def test_failures_count_on_all_workers(workers: list[LimitsOfWorker]) -> None:
    for guard in (worker.guard for worker in workers):
        guard.begin(A, ALICE)
        guard.failed(A, ALICE)
        guard.end(A)
    assert all(worker.guard.blocked(A, ALICE) for worker in workers)
    assert not any(worker.guard.blocked(B, ALICE) for worker in workers)


def test_logins_count_on_all_workers(workers: list[LimitsOfWorker]) -> None:
    one, other = workers
    alice = Address.parse(ALICE)
    assert other.logins.get(alice) is None
    one.logins.put(alice, 5.0)
    assert other.logins.get(alice) == 5.0


def test_a_login_counts_at_once(shared: SharedLimits) -> None:
    """The client has its answer from one worker, and the supervisor hears of the next login first."""
    alice = Address.parse(ALICE)
    with real_reactor() as reactor:
        ends = [shared.connect(number, stand_in(reactor)) for number in (1, 2)]
        RemoteLogins(LimitsLine(ends[0])).put(alice, 5.0)
        answer = shared.answer(2, pickle.dumps((1, "last_login", (alice,))))
        assert answer is not None and pickle.loads(answer) == (1, 5.0)
        for number, end in enumerate(ends, 1):
            end.close()
            shared.gone(number)


@pytest.mark.parametrize(
    ("settings", "client", "calls"),
    [
        (NO_LIMITS, A, 2),
        (NO_LIMITS, "", 0),
        (only_limits(messages_per_account=Rate(1, 1)), "", 1),
        (only_limits(commands_per_address=Rate(1, 1)), A, 3),
    ],
)
def test_only_what_is_counted_is_asked(
    shared: SharedLimits, settings: object, client: str, calls: int
) -> None:
    limits = LimitsOfWorker(settings, shared, 1)  # type: ignore[arg-type]
    limits.connections.admit(client)
    limits.commands(client, 1)
    limits.message(client, ALICE, "b.example")
    limits.recipient(client, ALICE, "b.example")
    limits.probe(client)
    limits.recipient_failed(client)
    limits.connections.release(client)
    assert limits.socket.calls == calls


def test_a_real_socket(shared: SharedLimits) -> None:
    """The supervisor answers in its reactor while the worker waits: here in a thread."""
    with real_reactor() as reactor, ThreadPoolExecutor(1) as thread:

        def run(call: Callable[[str], Any], client: str) -> Any:
            waiting = thread.submit(call, client)
            while not waiting.done():
                reactor.iterate(0.001)
            return waiting.result()

        ends = [shared.connect(number, stand_in(reactor)) for number in (1, 2)]
        one, other = (RemoteLimits(SETTINGS, LimitsLine(end)) for end in ends)
        assert run(one.connections.admit, A) is run(other.connections.admit, A) is None
        assert run(other.connections.admit, A).key == "limits.connections_per_address"
        ends[0].close()
        shared.gone(1)
        assert run(other.connections.admit, A) is None
        ends[1].close()
        shared.gone(2)


def test_without_a_supervisor_nothing_is_limited(journal: Journal) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    line = LimitsLine(theirs)
    limits, logins = RemoteLimits(SETTINGS, line), RemoteLogins(line)
    for _ in range(5):
        assert limits.connections.admit(A) is None
        assert limits.guard.may_check(A, ALICE)
        assert limits.guard.failed(A, ALICE) == SETTINGS.auth_failure_delay
    limits.connections.release(A)
    assert logins.get(Address.parse(ALICE)) is None
    [event] = journal.events
    assert "the limits of clients are not in force" in event["log_format"]
    theirs.close()


def test_a_late_answer_is_not_that_of_the_next_question() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(pickle.dumps((0, "late")))
        ours.send(pickle.dumps((1, "in time")))
        assert LimitsLine(theirs).ask(None, "probe", A) == "in time"


def test_a_supervisor_that_hangs_is_waited_for_once(
    journal: Journal, shared: SharedLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_limits, "PATIENCE", 0.01)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        limits = RemoteLimits(SETTINGS, LimitsLine(theirs))
        ours.setblocking(False)
        assert limits.connections.admit(A) is None
        assert theirs.gettimeout() == 0, "nothing waits any more"
        assert limits.connections.admit(A) is None
        assert len(answer_all(ours, shared)) == 1, "no more questions"
        assert limits.connections.admit(A) is None
        assert len(journal.events) == 2, "the late answer has come: a question waits again"


def test_a_full_socket_is_waited_for_once(
    journal: Journal, shared: SharedLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_limits, "PATIENCE", 0.01)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        limits = RemoteLimits(SETTINGS, LimitsLine(theirs))
        ours.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while not journal.events:
            limits.connections.release(A)
        for _ in range(1000):
            limits.connections.release(A)
        assert not limits.guard.blocked(A, ALICE)
        answer_all(ours, shared)
        assert not limits.guard.blocked(A, ALICE), "asks whether the supervisor answers again"
        answer_all(ours, shared)
        assert len(journal.events) == 1
        limits.guard.blocked(A, ALICE)
        assert len(journal.events) == 2, "a question waits again"


def test_a_killed_worker_leaves_no_error(shared: SharedLimits) -> None:
    with real_reactor() as reactor:
        others = reactor.getReaders()
        end = shared.connect(1, stand_in(reactor))
        [line] = set(reactor.getReaders()) - set(others)
        LimitsLine(end).tell("release", A)
        end.send(pickle.dumps((1, "admit", (A,))))
        end.close()
        line.doRead()
        assert line not in reactor.getReaders()
        shared.gone(1)
    assert shared.limits.connections.total == 0


def answer_all(supervisor: socket.socket, shared: SharedLimits) -> list[bytes]:
    """Answer the calls in the socket. Returns the answers."""
    answers = []
    with suppress(BlockingIOError):
        while True:
            if answer := shared.answer(1, supervisor.recv(LARGEST)):
                answers.append(answer)
                supervisor.send(answer)
    return answers
