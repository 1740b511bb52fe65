"""The connections of a next hop: limits, turns, reuse."""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mailserver.config.keys.queue import QueueSection
from mailserver.delivery.smtp import pool
from mailserver.mail import outcome
from mailserver.smtp.sender.events import CloseCause
from tests.support.delivery.relaying import ACCEPTED, UNTRIED, Relay, ScriptedConnection, two_hosts, unusable

MX1 = "mx1.example.net"
LIMIT = 20


def many(relay: Relay, count: int, **more: Any) -> list[list[Any]]:
    return [relay.start(**more) for _ in range(count)]


def test_a_connection_carries_one_message_after_another() -> None:
    relay = Relay()
    for _ in range(3):
        assert isinstance(relay.outcome(), outcome.Delivered)
    [connection] = relay.dialler.made
    assert (connection.messages, connection.quits) == (3, 0)
    relay.reactor.advance(pool.KEPT - 0.1)
    assert connection.quits == 0
    relay.outcome()
    relay.reactor.advance(pool.KEPT - 0.1)
    assert connection.quits == 0, "idle since the last message"
    relay.reactor.advance(0.1)
    assert connection.quits == 1
    assert not relay.reactor.getDelayedCalls()
    relay.outcome()
    assert len(relay.dialler.made) == 2


def test_a_smarthost_keeps_connections_longer_and_for_all_domains() -> None:
    relay = Relay(smarthost="192.0.2.1:587")
    for domain in ("a.example", "b.example"):
        assert isinstance(relay.outcome(domain=domain), outcome.Delivered)
    relay.reactor.advance(pool.KEPT_BY_ROUTE - 0.1)
    relay.outcome(domain="c.example")
    [connection] = relay.dialler.made
    assert connection.messages == 3
    relay.reactor.advance(pool.KEPT_BY_ROUTE)
    assert connection.quits == 1


def test_domains_with_different_tls_do_not_share_connections() -> None:
    relay = Relay(smarthost="192.0.2.1:587", tls_domains={"bank.example": "verified"})
    for domain in ("a.example", "bank.example", "bank.example"):
        relay.outcome(domain=domain)
    assert [one.requirement.level.value for one in relay.dialler.dialled] == ["opportunistic", "verified"]


def test_a_connection_ends_at_its_limit_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MESSAGES", 3)
    relay = Relay()
    for _ in range(4):
        relay.outcome()
    assert [(one.messages, one.quits) for one in relay.dialler.made] == [(3, 1), (1, 0)]


def test_the_limit_of_connections_and_turns_in_order() -> None:
    relay = Relay(held=True)
    running = many(relay, LIMIT + 3)
    assert len(relay.dialler.dialled) == LIMIT
    relay.dialler.held = False
    first = relay.dialler.dialled[0]
    connection = relay.dialler.connection(first.host)
    first.answer.callback(connection)
    # All that wait get this connection, one after the other.
    assert connection.messages == 4
    assert [bool(one) for one in running] == [True] + [False] * (LIMIT - 1) + [True] * 3
    # Others have no idle connection left to use, but a free place.
    assert len(relay.dialler.dialled) == LIMIT


def test_the_limit_of_all_connections_counts_the_idle_ones() -> None:
    domains = [f"d{number}.example" for number in range(6)]
    records = {key: value for domain in domains for key, value in two_hosts(domain).items()}
    relay = Relay(records, queue=QueueSection(connections=3))

    def open_hosts() -> list[int]:
        return [at for at, one in enumerate(relay.dialler.made) if one.ended is None]

    for domain in domains[:3]:
        assert isinstance(relay.outcome(domain=domain), outcome.Delivered)
        relay.reactor.advance(0.1)
    relay.outcome(domain=domains[0])  # uses its connection again
    assert open_hosts() == [0, 1, 2]
    for domain in domains[3:5]:
        relay.outcome(domain=domain)
    # The connections that were idle for the longest time are gone.
    assert open_hosts() == [0, 3, 4]
    assert [one.quits for one in relay.dialler.made] == [0, 1, 1, 0, 0]
    # Connections of messages under way are never ended, and none is opened while an idle one serves.
    relay.dialler.held = True
    many(relay, 2, domain=domains[5])
    assert open_hosts() == [4]
    assert isinstance(relay.outcome(domain=domains[4]), outcome.Delivered)
    relay.engine._pool.close()
    assert open_hosts() == []
    for dialled in relay.dialler.dialled[-2:]:
        dialled.answer.callback(relay.dialler.connection(dialled.host))
    relay.reactor.advance(pool.KEPT)
    assert relay.engine._pool._hops == {} and relay.engine._pool.taken == len(relay.engine._pool.idle) == 0


def test_an_attempt_that_fails_gives_its_place_to_the_next() -> None:
    relay = Relay(held=True)
    running = many(relay, LIMIT + 1)
    connection = ScriptedConnection(MX1, [([UNTRIED], CloseCause.LOST), ([ACCEPTED], None)])
    relay.dialler.dialled[0].answer.callback(connection)
    # The message goes on to the second host, which is the next dialled one.
    assert len(relay.dialler.dialled) == LIMIT + 1
    relay.dialler.dialled[LIMIT].answer.callback(ScriptedConnection("mx2", []))
    assert running[0] and running[LIMIT]


def test_those_who_wait_share_the_outcome_of_an_unreachable_host() -> None:
    relay = Relay(held=True)
    running = many(relay, LIMIT + 2)
    for _ in range(2):  # both hosts
        dialled, relay.dialler.dialled[0:1] = relay.dialler.dialled[0], []
        dialled.answer.errback(unusable(f"{dialled.host.name}: refused"))
        relay.dialler.dialled.insert(0, relay.dialler.dialled.pop())
    [found] = running[0]
    assert found.unreachable and found.text == "mx2.example.net: refused"
    assert running[LIMIT] == running[LIMIT + 1] == [found]
    assert not running[1], "those who connect make their own attempt"


def test_a_dead_connection_from_the_pool_is_replaced_and_does_not_count() -> None:
    relay = Relay()
    relay.outcome()
    [idle] = relay.dialler.made
    idle.steps.append(([UNTRIED], CloseCause.LOST))
    assert isinstance(relay.outcome(), outcome.Delivered)
    assert relay.dialler.names == [MX1, MX1], "the same host again"
    # One that has ended while it was idle is not used at all.
    relay.dialler.made[1].end()
    assert isinstance(relay.outcome(), outcome.Delivered)
    assert relay.dialler.made[1].messages == 1


def test_a_turn_can_be_cancelled() -> None:
    relay = Relay(held=True)
    hop = relay.engine._settings.routes.next_hop("example.net")
    connections = relay.engine._pool.of(hop)
    for _ in range(LIMIT):
        assert connections.acquire() is None
    turn, other = connections.acquire(), connections.acquire()
    assert isinstance(turn, Deferred) and isinstance(other, Deferred)
    failures: list[Failure] = []
    turn.addErrback(failures.append)
    turn.cancel()
    assert failures[0].check(CancelledError)
    connections.release(None)
    assert other.called
    for _ in range(LIMIT):
        connections.release(None)
    assert relay.engine._pool._hops == {}
