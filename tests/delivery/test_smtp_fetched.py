"""Mail that a server fetches: its delivery by the connection of the server, and what else happens to it."""

from typing import Any

import pytest

from mailserver.interfaces import QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.address import Address
from mailserver.mail.relay_host import RelayHost
from mailserver.queue.entries import InMemoryContent
from mailserver.smtp.sender.events import CloseCause
from tests.support.delivery.relaying import (
    ACCEPTED,
    TEXT,
    UNTRIED,
    Relay,
    ScriptedConnection,
    recipient,
    two_hosts,
)
from tests.support.fakes import stand_in

ATRN: dict[str, Any] = {
    "domains": ("example.net",),
    "atrn": {"example.net": (Address("alice", "example.org"),)},
}


def delivered(connection: ScriptedConnection, *names: str) -> list[Any]:
    relay = Relay(**ATRN)
    connection.host = RelayHost("192.0.2.9")
    message = QueuedMessage(1, "m1", 0.0, "alice@example.org", len(TEXT), InMemoryContent(TEXT))
    queued = [recipient(name, number) for number, name in enumerate(names)]
    found: list[Any] = []
    relay.engine.over(stand_in(connection)).deliver(message, queued).addCallback(found.append)
    assert relay.dialler.dialled == [] and connection.quits == 0
    return [found[0][each] for each in queued]


def test_messages_go_by_the_connection_and_by_no_other() -> None:
    connection = ScriptedConnection("192.0.2.9", [])
    for _ in range(2):
        assert delivered(connection, "a", "b") == [outcome.Delivered("192.0.2.9", "250 2.0.0 ok")] * 2
    assert connection.messages == 2


@pytest.mark.parametrize("steps", [[], [([ACCEPTED, UNTRIED], CloseCause.LOST)]])
def test_after_the_end_of_the_session_the_others_wait(steps: list[Any]) -> None:
    connection = ScriptedConnection("192.0.2.9", list(steps))
    if not steps:
        connection.end()
    found = delivered(connection, "a", "b")
    assert isinstance(found[0], outcome.Delivered if steps else outcome.Deferred)
    assert isinstance(found[1], outcome.Deferred)
    assert not (found[1].tried or found[1].unreachable), "this is no failed attempt"


@pytest.mark.parametrize("options", [{}, {"smarthost": "192.0.2.5:25"}])
def test_the_mail_waits_until_it_is_fetched(options: dict[str, Any]) -> None:
    relay = Relay(two_hosts() | two_hosts("example.com"), **ATRN, **options)
    found = relay.outcome()
    assert isinstance(found, outcome.Deferred) and found.tried and not found.unreachable
    assert found.rule == "relay.atrn" and relay.dialler.dialled == []
    assert isinstance(relay.outcome(domain="example.com"), outcome.Delivered)


def test_a_route_of_the_domain_is_used() -> None:
    relay = Relay(**ATRN, routes={"example.net": "192.0.2.5:25"})
    assert isinstance(relay.outcome(), outcome.Delivered)
