"""What each event adds to the metrics, and how many series clients can cause."""

from typing import Any

import pytest

from mailserver.events.base import observe, report, stop_observing
from mailserver.events.connections import (
    CommandRejected,
    LoginRejected,
    LoginSucceeded,
    MaildropOpened,
    RejectionsRepeated,
)
from mailserver.events.messages import MessageAccepted, MessageDeferred, MessagePostponed, MessageRejected
from mailserver.events.queue import DeliveryFailed, DeliveryFailedSilently, MessageRelayed
from mailserver.events.relay import RelayConnected
from mailserver.mail.words import AddressNames
from mailserver.metrics.catalog import BY_NAME
from mailserver.metrics.counts import AT_START, MOST, RULES, EventCounts, tls_version
from tests.support.logs import event as log_event

NAMES = AddressNames([])
CLIENT: Any = {"client": "192.0.2.1", "session": "s"}
INCOMING: Any = {**CLIENT, "id": "i", "account": "", "sender": "<>", "recipients": NAMES}
QUEUED: Any = {"id": "i", "sender": "<>", "mailboxes": NAMES, "recipients": NAMES}
GIVEN_UP: Any = {**QUEUED, "reason": "x", "rule": "queue.expire_after", "host": "", "reply": ""}
REJECTED: Any = {**CLIENT, "account": "", "reason": "no such user"}


def sums(*events):
    """The sums that differ from those of the start, without those of all events."""
    counts = EventCounts()
    for one in events:
        counts({"log_event": one})
    return {key: sum for key, sum in counts.sums().items() if sum and key[0] != "events_total"}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            MessageAccepted(size=500, **INCOMING),
            {("messages_received_total", ()): 1, ("messages_received_bytes_total", ()): 500},
        ),
        (
            MessageRejected(reason="x", rule="policy.dmarc", **INCOMING),
            {("messages_rejected_total", ("policy.dmarc",)): 1},
        ),
        (
            MessageDeferred(reason="x", rule="storage", **INCOMING),
            {("messages_deferred_total", ("storage",)): 1},
        ),
        (
            MessagePostponed(reason="x", rule="policy.greylist", **INCOMING),
            {("messages_deferred_total", ("policy.greylist",)): 1},
        ),
        (
            CommandRejected(what="RCPT", rule="routing", **REJECTED),
            {("commands_rejected_total", ("routing",)): 1},
        ),
        (
            RejectionsRepeated(count=7, rule="dnsbl[2]", **REJECTED),
            {("commands_rejected_total", ("dnsbl[2]",)): 7},
        ),
        (
            LoginSucceeded(user="a@b", mechanism="PLAIN", **CLIENT),
            {("logins_total", ("smtp", "PLAIN", "succeeded")): 1},
        ),
        (
            MaildropOpened(user="a@b", mechanism="USER", count=3, **CLIENT),
            {("logins_total", ("pop3", "USER", "succeeded")): 1},
        ),
        (
            LoginRejected(
                user="a@b", protocol="pop3", mechanism="APOP", reason="x", rule="accounts", **CLIENT
            ),
            {("logins_total", ("pop3", "APOP", "rejected")): 1},
        ),
        (
            MessageRelayed(attempt=1, host="mx", reply="250", **QUEUED),
            {("delivery_attempts_total", ("relayed",)): 1},
        ),
        (
            DeliveryFailed(bounce="b", addressee="<a@b>", **GIVEN_UP),
            {("delivery_attempts_total", ("failed",)): 1, ("bounces_total", ()): 1},
        ),
        (DeliveryFailedSilently(**GIVEN_UP), {("delivery_attempts_total", ("failed",)): 1}),
        (
            RelayConnected(host="mx", tls="TLSv1.3 with TLS_AES_256_GCM_SHA384"),
            {("relay_connections_total", ("TLSv1.3",)): 1},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_event_is_counted(event, expected):
    assert sums(event) == expected
    assert sums(event, event) == {key: 2 * number for key, number in expected.items()}


def test_all_counts_are_of_metrics_with_these_labels():
    # Any value will do as a field.
    class AnyEvent:
        size = count = 1
        rule = verdict = mechanism = protocol = tls = "x"

    found = [one for rule in RULES.values() for one in rule(AnyEvent())]
    for name, labels, _ in [*found, *((name, labels, 0) for name, labels in AT_START)]:
        assert len(BY_NAME[name].labels) == len(labels), name
        assert BY_NAME[name].type == "counter"


def test_all_events_of_the_server_are_counted_and_no_others():
    counts = EventCounts()
    observe(counts)
    try:
        report(RelayConnected(host="mx", tls="no TLS"))
    finally:
        stop_observing(counts)
    report(RelayConnected(host="mx", tls="no TLS"))
    counts(log_event("an event of Twisted"))
    assert {key: number for key, number in counts.sums().items() if key[0] == "events_total"} == {
        ("events_total", ("RelayConnected",)): 1
    }


def test_clients_cannot_cause_many_series():
    counts = EventCounts()
    words = ["x" * 81, "two words", 'quo"te', "line\n", *(f"rule.{number}" for number in range(MOST + 50))]
    for rule in words:
        counts({"log_event": CommandRejected(what="x", rule=rule, **REJECTED)})
    found = {key: number for key, number in counts.sums().items() if key[0] == "commands_rejected_total"}
    assert sum(found.values()) == len(words)
    assert len(found) == MOST
    assert found["commands_rejected_total", ("other",)] == len(words) - (MOST - 1)


@pytest.mark.parametrize(
    ("description", "version"),
    [("TLSv1.3 with TLS_AES_256_GCM_SHA384", "TLSv1.3"), ("no TLS", "none"), ("", "none")],
)
def test_tls_versions(description, version):
    assert tls_version(description) == version
