"""Prometheus' text format, made from counts of events and the state of a server.

The families are computed at each scrape, in a registry of its own, so that two servers in one process do not
share any number. The process collector of ``prometheus_client`` adds CPU, memory and descriptors.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

import twisted
from mailserver import __version__
from mailserver.metrics.catalog import BY_NAME, METRICS
from mailserver.metrics.counts import SampleKey
from mailserver.metrics.state import Histogram, ServerState
from mailserver.threads.durations import BOUNDS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Samples = dict[tuple[str, ...], float]


def exposition(counts: Mapping[SampleKey, int], state: ServerState) -> bytes:
    """All metrics in the text format. It reads files of /proc."""
    registry = CollectorRegistry()
    registry.register(_ServerCollector(counts, state))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _ServerCollector(Collector):
    """The families of one scrape."""

    def __init__(self, counts: Mapping[SampleKey, int], state: ServerState) -> None:
        self._state = state
        self._samples: dict[str, _Samples] = {}
        for (name, labels), number in counts.items():
            self._samples.setdefault(name, {})[labels] = number
        self._samples |= _samples(state)

    def describe(self) -> Iterable[Metric]:
        """None: the registry needs no names before a scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """See the base class."""
        for metric in METRICS:
            if metric.type == "histogram":
                commits = metric.name == "storage_commit_seconds"
                yield _histogram(metric.name, self._state.commits if commits else self._state.syncs)
                continue
            family = (CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily)(
                metric.full_name, metric.help, labels=metric.labels
            )
            for labels, value in self._samples.get(metric.name, {}).items():
                family.add_metric(labels, value)
            yield family


def _histogram(name: str, durations: Histogram) -> Metric:
    bounds = [*(str(bound) for bound in BOUNDS), "+Inf"]
    buckets = list(zip(bounds, accumulate(durations.counts), strict=True))
    metric = BY_NAME[name]
    return HistogramMetricFamily(metric.full_name, metric.help, buckets=buckets, sum_value=durations.total)


def _samples(state: ServerState) -> dict[str, _Samples]:
    samples: dict[str, _Samples] = {
        "sessions": dict(state.open_sessions.items()),
        "sessions_total": dict(state.sessions.items()),
        "dns_lookups_total": dict(state.lookups.items()),
        "certificate_expiry_timestamp_seconds": {(name,): end for name, end in state.certificates.items()},
        "mailbox_deliveries_total": {(): state.delivered},
        "unsynced_copies": {(): state.unsynced},
        "workers": {(): sum(one is not None for one in state.workers.values())},
        "worker_cpu_seconds_total": {
            (str(number),): one.cpu for number, one in state.workers.items() if one is not None
        },
        "ready": {(): 0 if state.problem else 1},
        "build_info": {(__version__, platform.python_version(), twisted.__version__): 1},
    }
    if state.queue is not None:
        samples["queue_recipients"] = {(name,): count for name, count in state.queue.recipients.items()}
        samples["queue_oldest_seconds"] = {(): state.queue.oldest}
    if state.disk is not None:
        samples["disk_free_bytes"] = {(): state.disk.free}
        samples["disk_size_bytes"] = {(): state.disk.size}
        samples["disk_reserve_bytes"] = {(): state.disk.reserve}
    if state.mailboxes is not None:
        samples["mailbox_messages"] = {(name,): count for name, (count, _) in state.mailboxes.items()}
        samples["mailbox_bytes"] = {(name,): octets for name, (_, octets) in state.mailboxes.items()}
    return samples
