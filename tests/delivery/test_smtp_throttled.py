"""Attempts to send to other servers that a throttle limits: which ones wait, and until when."""

from typing import Any

import pytest

from mailserver.config.keys.relay import ThrottleSection
from mailserver.dns.records import MX
from mailserver.mail import outcome
from tests.support.delivery.relaying import Relay, two_hosts, unusable

REFUSES = unusable("mx1.example.net[198.41.0.4]: connection refused")
SERVER = "mx.provider.example:25"


def test_a_throttled_domain() -> None:
    section = ThrottleSection(domain="example.net", messages=2, per=60.0)
    relay = Relay(two_hosts() | two_hosts("example.com"), throttle=[section])
    assert [type(relay.outcome()) for _ in range(2)] == [outcome.Delivered] * 2
    relay.reactor.advance(10)
    late = [relay.outcome() for _ in range(3)]
    # Two get the places of the first two, the next one has to wait for another interval.
    assert [one.until for one in late if isinstance(one, outcome.Deferred)] == [1e9 + 60, 1e9 + 60, 1e9 + 120]
    assert all(isinstance(one, outcome.Deferred) and not one.unreachable for one in late)
    assert isinstance(relay.outcome(domain="example.com"), outcome.Delivered)
    relay.reactor.advance(50)
    assert isinstance(relay.outcome(), outcome.Delivered)


@pytest.mark.parametrize(
    ("options", "section", "limited", "other"),
    [
        # The MX hosts of both domains are below the domain of the limit.
        ({}, "provider.example", ("a.example", "b.example"), "example.net"),
        ({}, "mx.provider.example", ("a.example", "b.example"), "example.net"),
        ({}, "vider.example", (), "a.example"),
        # A route and a smarthost are servers, too.
        ({"routes": {"c.example": SERVER}}, "provider.example", ("c.example",), "example.net"),
        ({"smarthost": SERVER}, "provider.example", ("a.example", "example.net"), ""),
    ],
)  # fmt: skip
def test_a_throttled_provider(
    options: dict[str, Any], section: str, limited: tuple[str, ...], other: str
) -> None:
    records = {(name, "MX"): [MX(10, "mx.provider.example")] for name in ("a.example", "b.example")}
    relay = Relay(
        records | two_hosts() | {("mx.provider.example", "A"): ["199.7.91.13"]},
        throttle=[ThrottleSection(domain=section, messages=1, per=60.0)],
        **options,
    )
    found = [relay.outcome(domain=domain) for domain in limited for _ in range(2)]
    assert [type(one) for one in found] == [outcome.Delivered, *[outcome.Deferred] * 3][: len(found)]
    for one in found[1:]:
        assert isinstance(one, outcome.Deferred)
        assert (one.text, one.rule) == (f"the limit of messages to {section} is reached", "throttle")
        assert not (one.tried or one.unreachable)
    assert len(relay.dialler.dialled) == len(found[:1]), "no connection for a message that has to wait"
    if other:
        assert isinstance(relay.outcome(domain=other), outcome.Delivered)
    relay.reactor.advance(60)
    for domain in limited[1:]:
        assert isinstance(relay.outcome(domain=domain), outcome.Delivered)


def test_a_message_needs_room_in_all_its_limits() -> None:
    sections = [
        ThrottleSection(domain="example.net", messages=2, per=60.0),
        ThrottleSection(domain="mx1.example.net", messages=1, per=30.0),
    ]
    relay = Relay(throttle=sections)
    kinds = [type(relay.outcome()) for _ in range(3)]
    assert kinds == [outcome.Delivered, outcome.Deferred, outcome.Deferred]
    relay.reactor.advance(30)
    # The deferred ones have not used the larger limit.
    assert isinstance(relay.outcome(), outcome.Delivered)


def test_a_reload_keeps_what_the_throttle_has_counted() -> None:
    relay = Relay(throttle=[ThrottleSection(domain="example.net", messages=1, per=60.0)])
    relay.outcome()
    relay.reload(allow_private=True)
    assert isinstance(relay.outcome(), outcome.Deferred)


def test_a_message_that_nobody_takes_does_not_count() -> None:
    section = ThrottleSection(domain="example.net", messages=1, per=60.0)
    relay = Relay(
        throttle=[section], scripts={"mx1.example.net": [REFUSES, []], "mx2.example.net": [REFUSES]}
    )
    assert isinstance(relay.outcome(), outcome.Deferred)
    assert isinstance(relay.outcome(), outcome.Delivered)
