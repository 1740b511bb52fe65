"""State that all workers see alike: the first one has it, and the others ask and tell."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from mailserver.accounts.history import MAX_TIME
from mailserver.app.alerts import Alert, Alerts
from mailserver.app.dmarc_reports import DMARCReports
from mailserver.app.reputation import HistoryOfFirst, contact_history
from mailserver.app.workers.queue_starter import QueueStarter
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.durable.disk import Disk
from mailserver.durable.rotated import RotatedFiles
from mailserver.errors import StorageError
from mailserver.events.base import report
from mailserver.events.connections import LoginRejected
from mailserver.events.queue import MessageWaiting
from mailserver.logs.journal import Journal
from mailserver.logs.trace import trace
from mailserver.mail.seen import Seen
from mailserver.mail.words import AddressNames
from mailserver.policy.dmarc.aggregate import AggregateRow
from tests.support.fakes import stand_in
from tests.support.peers import Peer, peers
from tests.support.reactor import FakeReactor

KEY = "heard", "bob@elsewhere.example"
EVERYTHING = Path(__file__).parents[1] / "config" / "everything.toml"


def config(tmp_path: Path, text: str = "") -> Config:
    path = tmp_path / "mailserver.toml"
    path.write_text(f'hostname = "mail.example.org"\n{text}\n[storage]\nengine = "memory"\n')
    return load(path, {})


@pytest.fixture
def two() -> list[Peer]:
    return peers(2)


def found(asked: Any) -> list[Any]:
    results: list[Any] = []
    if isinstance(asked, Deferred):
        asked.addBoth(results.append)
    else:
        results.append(asked)
    return results


def test_a_first_try_on_one_worker_is_known_to_the_other(tmp_path: Path, two: list[Peer]) -> None:
    clock = stand_in(Clock())
    histories = [contact_history(config(tmp_path), Disk(), stand_in(None), clock, peer) for peer in two]
    seen = Seen(5.0, 2e9)
    histories[1].record(KEY, seen)  # type: ignore[arg-type]
    for history in histories:
        assert found(history.find(KEY)) == [{KEY: seen}]  # type: ignore[arg-type]
    for history in histories:
        found(Deferred.fromCoroutine(history.close()))


def test_a_lookup_does_not_wait_for_ever(two: list[Peer]) -> None:
    clock = Clock()
    two[0].serve("find contacts", lambda keys: Deferred())
    results = found(HistoryOfFirst(two[1], clock).find(KEY))  # type: ignore[arg-type]
    assert results == []
    clock.advance(MAX_TIME)
    assert results[0].check(StorageError)


def test_results_of_dmarc_are_counted_by_the_first_worker(tmp_path: Path, two: list[Peer]) -> None:
    settings = config(tmp_path, "[policy]\ndmarc_reports = true")
    both = [
        DMARCReports(settings, stand_in(Clock()), stand_in(None), stand_in(None), stand_in(None), peer)
        for peer in two
    ]
    counted: list[Any] = []
    both[0].results.count = lambda *what: counted.append(what)
    row: AggregateRow = stand_in("row")
    for reports in both:
        reports.count(stand_in("policy"), row)
    assert counted == [("policy", "row")] * 2


def test_deliveries_start_on_the_first_worker(two: list[Peer]) -> None:
    class Starter:
        def __init__(self, number: int) -> None:
            self.number = number

        def start_domain(self, domain: str) -> Any:
            return succeed((self.number, domain))

    starters = [QueueStarter(stand_in(Starter(peer.number)), peer) for peer in two]
    for starter in starters:
        assert found(starter.start_domain("backup.example")) == [(1, "backup.example")]


def test_the_first_worker_raises_the_alerts(tmp_path: Path, two: list[Peer]) -> None:
    considered: list[Alert] = []

    class Recorded(Alerts):
        def _consider(self, alert: Alert) -> None:
            considered.append(alert)

    reactor = stand_in(Clock())
    reactor.callFromThread = lambda call, *arguments: call(*arguments)
    for peer in two:
        alerts = Recorded(config(tmp_path), reactor, *[stand_in(None)] * 3, peers=peer)
        alerts.startService()
        try:
            report(
                LoginRejected(
                    user="alice", client="192.0.2.1", session="s", protocol="smtp", mechanism="PLAIN",
                    reason="blocked", rule="limits.auth_block",
                )
            )  # fmt: skip
        finally:
            alerts.stopService()
    assert [alert.about for alert in considered] == ["alice 192.0.2.1"] * 2


def test_the_first_worker_writes_the_journal(tmp_path: Path, two: list[Peer]) -> None:
    files = RotatedFiles(tmp_path / "trace", Disk(), days=1, max_octets=1 << 20)
    reactor = FakeReactor()  # its threads are done at once
    first, other = (Journal(files, stand_in(reactor), peer) for peer in two)
    other(_event(2.0))
    first(_event(3.0))
    found(Deferred.fromCoroutine(first.flush_all()))
    other(_event(1.0))
    found(Deferred.fromCoroutine(first.flush_all()))
    two[0].gone = True
    other(_event(4.0))
    found(other.flush())
    two[0].gone = False
    found(other.flush())
    [message] = trace(tmp_path / "trace", "abc", 1).messages
    assert [record["time"] for record in message.records] == [1.0, 2.0, 3.0, 4.0]


def _event(when: float) -> LogEvent:
    nobody = AddressNames(())
    what = MessageWaiting(
        id="abc", sender="<>", mailboxes=nobody, recipients=nobody, reason="full", client="none", rule=""
    )
    return {"log_time": when, "log_event": what}


def test_each_configuration_can_be_copied_to_a_worker() -> None:
    loaded = load(EVERYTHING, {})
    assert pickle.loads(pickle.dumps(loaded)) == loaded
