"""The text of a scrape: what the state of a server and the counts of events become."""

from types import MappingProxyType

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailserver.metrics.catalog import METRICS
from mailserver.metrics.exposition import exposition
from mailserver.metrics.state import DiskRoom, Histogram, QueueState, ServerState, WorkerState
from mailserver.threads.durations import BOUNDS, Durations


def histogram(*seconds: float) -> Histogram:
    durations = Durations()
    for one in seconds:
        durations.record(one)
    return Histogram.of(durations)


STATE = ServerState(
    problem="",
    open_sessions={("smtp", "TLSv1.3"): 2, ("pop3", "none"): 0},
    sessions={("smtp", "TLSv1.3"): 30, ("pop3", "none"): 4},
    lookups={("MX", "cached"): 5},
    certificates={"tls": 1.8e9},
    delivered=12,
    unsynced=3,
    commits=histogram(0.0005, 0.001, 0.3, 20.0),
    syncs=histogram(),
    queue=QueueState({"due": 1, "waiting": 2, "held": 3}, 77.5),
    disk=DiskRoom(1000, 5000, 100),
    workers={1: WorkerState(10, 1.5, 2), 2: WorkerState(11, 2.5, 0), 3: None},
)


def scraped(state: ServerState, counts=MappingProxyType({})) -> dict[tuple[str, ...], float]:
    """The samples: the name and the values of the labels, in the order of their names, and the value."""
    families = text_string_to_metric_families(exposition(counts, state).decode())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        (("mailserver_ready",), 1),
        (("mailserver_workers",), 2),
        (("mailserver_worker_cpu_seconds_total", "2"), 2.5),
        (("mailserver_sessions", "smtp", "TLSv1.3"), 2),
        (("mailserver_sessions", "pop3", "none"), 0),
        (("mailserver_sessions_total", "smtp", "TLSv1.3"), 30),
        (("mailserver_dns_lookups_total", "cached", "MX"), 5),
        (("mailserver_certificate_expiry_timestamp_seconds", "tls"), 1.8e9),
        (("mailserver_mailbox_deliveries_total",), 12),
        (("mailserver_unsynced_copies",), 3),
        (("mailserver_queue_recipients", "held"), 3),
        (("mailserver_queue_oldest_seconds",), 77.5),
        (("mailserver_disk_reserve_bytes",), 100),
        (("mailserver_storage_commit_seconds_bucket", "0.001"), 2),
        (("mailserver_storage_commit_seconds_bucket", "0.25"), 2),
        (("mailserver_storage_commit_seconds_bucket", "0.5"), 3),
        (("mailserver_storage_commit_seconds_bucket", "10.0"), 3),
        (("mailserver_storage_commit_seconds_bucket", "+Inf"), 4),
        (("mailserver_storage_commit_seconds_count",), 4),
        (("mailserver_storage_commit_seconds_sum",), pytest.approx(20.3015)),
        (("mailserver_storage_sync_seconds_count",), 0),
        (("mailserver_commands_rejected_total", "routing"), 9),
    ],
)
def test_samples(sample, value):
    assert scraped(STATE, {("commands_rejected_total", ("routing",)): 9})[sample] == value


def test_what_cannot_be_read_has_no_sample():
    state = attrs.evolve(STATE, problem="the disk is full", queue=None, disk=None)
    found = scraped(state)
    assert found["mailserver_ready",] == 0
    gone = (
        "mailserver_queue_",
        "mailserver_disk_",
        "mailserver_mailbox_messages",
        "mailserver_mailbox_bytes",
    )
    assert not [name for name, *_ in found if name.startswith(gone)]
    found = scraped(attrs.evolve(state, mailboxes={"a@example.org": (2, 345)}))
    assert found["mailserver_mailbox_bytes", "a@example.org"] == 345
    assert found["mailserver_mailbox_messages", "a@example.org"] == 2


def test_every_metric_has_its_meaning_and_the_process_is_there():
    text = exposition({}, STATE).decode()
    for metric in METRICS:
        assert f"# HELP {metric.full_name} {metric.help}\n# TYPE {metric.full_name} {metric.type}\n" in text
    assert "\nprocess_cpu_seconds_total " in text and "\nprocess_resident_memory_bytes " in text


def test_durations():
    durations = Durations()
    for seconds in (BOUNDS[0], 0.2, 0.1):
        durations.record(seconds)
    assert (sum(durations.counts), durations.counts[0]) == (3, 1)
    assert (durations.take_longest(), durations.take_longest()) == (0.2, 0.0)
