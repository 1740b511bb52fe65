"""The questions of a check over a resolver."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from mailserver.dns.records import MX, DNSAnswer
from mailserver.errors import DNSFailure
from mailserver.policy.lookups import LimitedResolver, StartedEvaluation, answered
from mailserver.policy.questions import Evaluation, PolicyQuestion, PolicyReply
from tests.support.fakes import stand_in
from tests.support.resolvers import FakeResolver

SECONDS = 5.0
REPLIES = {
    PolicyQuestion("example.org"): PolicyReply((b"text",)),
    PolicyQuestion("example.org", "A"): PolicyReply(("192.0.2.1",)),
    PolicyQuestion("example.org", "AAAA"): PolicyReply(),
    PolicyQuestion("example.org", "MX"): PolicyReply(("mx1.example.org", "mx2.example.org")),
    PolicyQuestion("1.2.0.192.in-addr.arpa", "PTR"): PolicyReply(("example.org",)),
    PolicyQuestion("fails.example"): PolicyReply(failed=True, reason="SERVFAIL"),
    PolicyQuestion("no.example"): PolicyReply(exists=False),
}
Found = dict[PolicyQuestion, PolicyReply]


def evaluation(times: int = 1) -> Evaluation[Found]:
    """Asks all questions so often."""
    found: Found = {}
    for _ in range(times):
        found.update((yield tuple(REPLIES)))
    return found


def resolver_with(clock: Clock) -> FakeResolver:
    resolver = FakeResolver(
        {
            ("example.org", "TXT"): [b"text"],
            ("example.org", "A"): ["192.0.2.1"],
            ("example.org", "MX"): [MX(20, "mx2.example.org"), MX(10, "mx1.example.org")],
            ("1.2.0.192.in-addr.arpa", "PTR"): ["example.org"],
            ("fails.example", "TXT"): DNSFailure("SERVFAIL"),
            ("no.example", "TXT"): DNSAnswer("no.example", "TXT", (), exists=False),
        },
        clock,
    )
    for question in REPLIES:
        resolver.delays[question.name, question.kind] = SECONDS
    return resolver


def test_questions_together_are_asked_at_the_same_time() -> None:
    clock = Clock()
    work = Deferred.fromCoroutine(answered(resolver_with(clock), evaluation(times=2)))
    clock.pump([SECONDS, SECONDS / 2])
    assert not work.called
    clock.advance(SECONDS / 2)
    assert work.result == REPLIES


def test_without_a_question() -> None:
    assert Deferred.fromCoroutine(answered(resolver_with(Clock()), evaluation(times=0))).result == {}


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    found: list[LogEvent] = []
    observer = stand_in(found.append)
    globalLogPublisher.addObserver(observer)
    yield found
    globalLogPublisher.removeObserver(observer)


def test_all_lookups_are_cancelled(logged: list[LogEvent]) -> None:
    clock = Clock()
    work = Deferred.fromCoroutine(answered(resolver_with(clock), evaluation()))
    ends: list[object] = []
    work.addErrback(lambda failure: ends.append(failure.type))
    work.cancel()
    del work
    gc.collect()  # which logs errors that nobody has handled
    assert ends == [CancelledError]
    assert not clock.getDelayedCalls()
    assert not logged


def test_the_rest_of_an_evaluation_waits_for_who_wants_its_result() -> None:
    clock = Clock()
    started = StartedEvaluation(resolver_with(clock), evaluation(times=2))
    clock.advance(2 * SECONDS)
    work = Deferred.fromCoroutine(started.result())
    assert not work.called
    clock.advance(SECONDS)
    assert work.result == REPLIES


def test_an_evaluation_without_questions() -> None:
    started = StartedEvaluation(resolver_with(Clock()), evaluation(times=0))
    assert Deferred.fromCoroutine(started.result()).result == {}
    started.stop()


def test_a_stopped_evaluation_asks_no_more(logged: list[LogEvent]) -> None:
    clock = Clock()
    started = StartedEvaluation(resolver_with(clock), evaluation())
    assert clock.getDelayedCalls()
    started.stop()
    assert not clock.getDelayedCalls()
    del started
    gc.collect()
    assert not logged


def test_lookups_end_with_the_time() -> None:
    """An answer that comes later is a failure; other answers count, and what is known already."""
    clock = Clock()
    resolver = resolver_with(clock)
    resolver.delays = {("example.org", "A"): 3 * SECONDS, ("example.org", "TXT"): SECONDS}
    limited = LimitedResolver(resolver, clock, 2 * SECONDS)
    work = Deferred.fromCoroutine(answered(limited, evaluation()))
    clock.pump([SECONDS] * 2)
    late = PolicyQuestion("example.org", "A")
    reason = "DNS lookup of example.org (A) failed: no answer in time"
    assert work.result == {**REPLIES, late: PolicyReply(failed=True, reason=reason)}
    assert not clock.getDelayedCalls()
    over: Any = Deferred.fromCoroutine(answered(limited, evaluation())).result
    assert over[late].records == ("192.0.2.1",)  # by now the cache has it
    failed = over[PolicyQuestion("fails.example")]
    assert failed.reason == "DNS lookup of fails.example (TXT) failed: the time is over"
