"""Counts events. An observer of the log, which only a server with a listener for metrics has.

Any thread may report an event. One count costs a lock and one or two additions.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from mailserver.events.authentication import SenderChecked
from mailserver.events.base import Event
from mailserver.events.connections import (
    ClientRejected,
    CommandRejected,
    LoginRejected,
    LoginSucceeded,
    MaildropOpened,
    RejectionsRepeated,
    TLSFailed,
)
from mailserver.events.messages import (
    MessageAccepted,
    MessageDeferred,
    MessageDiscarded,
    MessagePostponed,
    MessageQuarantined,
    MessageRejected,
)
from mailserver.events.queue import (
    DeliveryDeferred,
    DeliveryFailed,
    DeliveryFailedSilently,
    DeliveryFailedUnreported,
    MessageDelivered,
    MessageRelayed,
)
from mailserver.events.relay import RelayConnected, RelayHostUnusable, RelayTLSFailed

MOST = 200  # combinations of labels of one metric; further ones are counted together
OTHER = "other"
_PLAIN = re.compile(r"[\w.\[\]-]{1,80}", re.ASCII)

CountedSample = tuple[
    str, tuple[str, ...], int
]  # the name of a metric, the values of its labels, and a number
SampleKey = tuple[str, tuple[str, ...]]


def tls_version(description: str) -> str:
    """The version in a description such as "TLSv1.3 with TLS_AES_256_GCM_SHA384"; "none" without TLS."""
    word = description.partition(" ")[0]
    return word if word.startswith("TLS") else "none"


def _one(name: str, *labels: str) -> Sequence[CountedSample]:
    return ((name, labels, 1),)


# What an event adds to the metrics, by its class. Any: each function takes the events of one class.
RULES: Mapping[type[Event], Callable[[Any], Sequence[CountedSample]]] = {
    MessageAccepted: lambda event: (
        ("messages_received_total", (), 1),
        ("messages_received_bytes_total", (), event.size),
    ),
    MessageRejected: lambda event: _one("messages_rejected_total", event.rule),
    MessageDeferred: lambda event: _one("messages_deferred_total", event.rule),
    MessagePostponed: lambda event: _one("messages_deferred_total", event.rule),
    MessageQuarantined: lambda event: _one("messages_quarantined_total", event.rule),
    MessageDiscarded: lambda event: _one("messages_discarded_total", event.rule),
    CommandRejected: lambda event: _one("commands_rejected_total", event.rule),
    ClientRejected: lambda event: _one("commands_rejected_total", event.rule),
    RejectionsRepeated: lambda event: (("commands_rejected_total", (event.rule,), event.count),),
    SenderChecked: lambda event: _one("sender_checks_total", event.verdict),
    MessageDelivered: lambda event: _one("delivery_attempts_total", "delivered"),
    MessageRelayed: lambda event: _one("delivery_attempts_total", "relayed"),
    DeliveryDeferred: lambda event: _one("delivery_attempts_total", "deferred"),
    DeliveryFailed: lambda event: (
        ("delivery_attempts_total", ("failed",), 1),
        ("bounces_total", (), 1),
    ),
    DeliveryFailedSilently: lambda event: _one("delivery_attempts_total", "failed"),
    DeliveryFailedUnreported: lambda event: _one("delivery_attempts_total", "failed"),
    LoginSucceeded: lambda event: _one("logins_total", "smtp", event.mechanism, "succeeded"),
    MaildropOpened: lambda event: _one("logins_total", "pop3", event.mechanism, "succeeded"),
    LoginRejected: lambda event: _one("logins_total", event.protocol, event.mechanism, "rejected"),
    TLSFailed: lambda event: _one("tls_failures_total"),
    RelayConnected: lambda event: _one("relay_connections_total", tls_version(event.tls)),
    RelayHostUnusable: lambda event: _one("relay_hosts_unusable_total"),
    RelayTLSFailed: lambda event: _one("relay_tls_failures_total"),
}

# These are 0 before the first event, so that rules about their increase see that one.
AT_START: tuple[SampleKey, ...] = (
    *((name, ()) for name in (
        "messages_received_total", "messages_received_bytes_total", "bounces_total", "tls_failures_total",
        "relay_hosts_unusable_total", "relay_tls_failures_total",
    )),
    *(("delivery_attempts_total", (one,)) for one in ("delivered", "relayed", "deferred", "failed")),
)  # fmt: skip


@implementer(ILogObserver)
class EventCounts:
    """The sums of the counts of all events since it observes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: Counter[SampleKey] = Counter(dict.fromkeys(AT_START, 0))
        self._events: Counter[type[Event]] = Counter()
        self._combinations: Counter[str] = Counter()

    def __call__(self, event: LogEvent) -> None:
        """Take an event. Any thread may log."""
        what = event.get("log_event")
        if not isinstance(what, Event):
            return
        rule = RULES.get(type(what))
        with self._lock:
            self._events[type(what)] += 1
            if rule is not None:
                for name, labels, number in rule(what):
                    self._add((name, labels), number)

    def _add(self, key: SampleKey, number: int) -> None:
        if key not in self._sums:
            name, labels = key
            labels = tuple(one if _PLAIN.fullmatch(one) else OTHER for one in labels)
            key = name, labels
            if key not in self._sums:
                if self._combinations[name] >= MOST:
                    key = name, (OTHER,) * len(labels)
                self._combinations[name] += 1
        self._sums[key] += number

    def sums(self) -> dict[SampleKey, int]:
        """All sums, by the name of the metric and the values of its labels."""
        with self._lock:
            sums: dict[SampleKey, int] = dict(self._sums)
            sums.update((("events_total", (one.__name__,)), count) for one, count in self._events.items())
            return sums
