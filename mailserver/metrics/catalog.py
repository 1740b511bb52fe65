"""All metrics: names, types, labels and meanings. Nothing is exposed that is not here.

Names follow the conventions of Prometheus: base units, and ``_total`` for counters. No label has a text that
a client can choose.
"""

from collections.abc import Mapping
from typing import Literal

import attrs

MetricType = Literal["counter", "gauge", "histogram"]


@attrs.frozen
class Metric:
    """One metric. ``name`` is without the prefix of all."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str

    @property
    def full_name(self) -> str:
        """The name in a scrape."""
        return f"mailserver_{self.name}"


METRICS: tuple[Metric, ...] = (
    Metric("messages_received_total", "counter", (), "Messages that clients got a 250 for"),
    Metric("messages_received_bytes_total", "counter", (), "Octets of these messages"),
    Metric(
        "messages_rejected_total", "counter", ("reason",), "Messages that were rejected after their content"
    ),
    Metric("messages_deferred_total", "counter", ("reason",), "Messages that got a temporary error"),
    Metric("messages_quarantined_total", "counter", ("reason",), "Messages that went to the quarantine"),
    Metric("messages_discarded_total", "counter", ("reason",), "Messages that a check has dropped"),
    Metric(
        "commands_rejected_total",
        "counter",
        ("reason",),
        "Rejected clients, senders, recipients and other commands",
    ),
    Metric("sender_checks_total", "counter", ("verdict",), "Messages by the result of SPF, DKIM and DMARC"),
    Metric("mailbox_deliveries_total", "counter", (), "Copies of messages put into mailboxes"),
    Metric(
        "delivery_attempts_total",
        "counter",
        ("outcome",),
        "Attempts of the queue: delivered here, relayed to another server, deferred, or failed for good",
    ),
    Metric("bounces_total", "counter", (), "Bounces that the queue has sent"),
    Metric(
        "queue_recipients",
        "gauge",
        ("state",),
        "Recipients in the queue: due, waiting for a later attempt, or held by an administrator",
    ),
    Metric("queue_oldest_seconds", "gauge", (), "Age of the oldest message in the queue; 0 if it is empty"),
    Metric("unsynced_copies", "gauge", (), "Delivered copies that are not yet synced to their mailboxes"),
    Metric("sessions", "gauge", ("protocol", "tls"), "Open sessions by protocol and TLS version"),
    Metric("sessions_total", "counter", ("protocol", "tls"), "Sessions since the start, with the open ones"),
    Metric("tls_failures_total", "counter", (), "TLS handshakes of clients that have failed"),
    Metric("logins_total", "counter", ("protocol", "mechanism", "outcome"), "Logins: succeeded or rejected"),
    Metric("relay_connections_total", "counter", ("tls",), "Connections to other servers by TLS version"),
    Metric("relay_hosts_unusable_total", "counter", (), "Other servers that could not take mail"),
    Metric("relay_tls_failures_total", "counter", (), "Failures of TLS with other servers"),
    Metric(
        "dns_lookups_total",
        "counter",
        ("type", "outcome"),
        "DNS lookups: answered, answered from the cache, or failed",
    ),
    Metric(
        "storage_commit_seconds",
        "histogram",
        (),
        "Time to stage, commit and publish a group of messages or changes",
    ),
    Metric("storage_sync_seconds", "histogram", (), "Time of a checkpoint, which syncs delivered copies"),
    Metric("disk_free_bytes", "gauge", (), "Space that the server can use on the disk of the data directory"),
    Metric("disk_size_bytes", "gauge", (), "Size of the disk of the data directory"),
    Metric("disk_reserve_bytes", "gauge", (), "Space that new mail leaves free: storage.reserve"),
    Metric(
        "certificate_expiry_timestamp_seconds",
        "gauge",
        ("certificate",),
        "End of each certificate, by its table in the configuration",
    ),
    Metric("workers", "gauge", (), "Workers that serve; without several workers 1"),
    Metric("worker_cpu_seconds_total", "counter", ("worker",), "CPU time of the process of each worker"),
    Metric("ready", "gauge", (), "1 if the server accepts mail, as /readyz says"),
    Metric("events_total", "counter", ("event",), "Events by their class, as in the log"),
    Metric("build_info", "gauge", ("version", "python", "twisted"), "Always 1"),
    Metric("mailbox_messages", "gauge", ("mailbox",), "Messages of each mailbox; with ?mailboxes=1 only"),
    Metric("mailbox_bytes", "gauge", ("mailbox",), "Octets of each mailbox; with ?mailboxes=1 only"),
)

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}
