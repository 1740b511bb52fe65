"""The live view: observes only while somebody asks, and says who is busy."""

import json

import attrs
import pytest

from mailserver.events.base import report
from mailserver.events.connections import CommandRejected, LoginSucceeded
from mailserver.events.relay import RelayConnected
from mailserver.metrics import live
from mailserver.metrics.live import WATCHED_FOR, BusiestNames, LiveView, Observed, StorageTimes
from mailserver.metrics.state import DiskRoom, Histogram, QueueState, ServerState, WorkerState
from mailserver.threads.durations import Durations
from tests.support.fakes import stand_in
from tests.support.reactor import FakeReactor

STATE = ServerState(
    problem="",
    open_sessions={("smtp", "TLSv1.3"): 2},
    sessions={("smtp", "TLSv1.3"): 9, ("smtp", "none"): 1},
    lookups={},
    certificates={},
    delivered=4,
    unsynced=1,
    commits=Histogram.of(Durations()),
    syncs=Histogram.of(Durations()),
    queue=QueueState({"due": 1, "waiting": 2, "held": 3}, 60.0),
    disk=DiskRoom(10, 20, 5),
)


class Watched:
    """A live view, and what it shows."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.commits = Durations()
        self.view = LiveView(stand_in(self.reactor), "mail.example.org", self.commits, Durations())

    def ask(self, state=STATE):
        self.view.watch()
        return json.loads(json.dumps(self.view.shown(state, [self.view.observed()])))


@pytest.fixture
def watched():
    watched = Watched()
    yield watched
    watched.view.rest()


def reject(client: str) -> None:
    report(
        CommandRejected(client=client, session="s", account="", what="x\x1b[2J", reason="no", rule="routing")
    )


def test_what_is_shown(watched):
    reject("192.0.2.9")  # before anybody asks
    watched.ask()
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        reject(client)
    report(LoginSucceeded(user="a@b", client="192.0.2.1", session="s", mechanism="PLAIN"))
    report(RelayConnected(host="mx", tls="no TLS"))
    watched.commits.record(0.25)
    watched.reactor.advance(5)
    shown = watched.ask()
    assert shown["clients"] == [{"name": "192.0.2.1", "events": 3}, {"name": "192.0.2.2", "events": 1}]
    assert shown["accounts"] == [{"name": "a@b", "events": 1}]
    assert shown["counts"]["commands_rejected.routing"] == 3
    assert shown["counts"]["logins.succeeded"] == 1
    assert [one["event"] for one in shown["events"]] == [
        *(["CommandRejected"] * 3),
        "LoginSucceeded",
        "RelayConnected",
    ]
    assert shown["events"][0]["text"] == "rejected x\\x1b[2J from 192.0.2.1: no"
    assert shown["storage"]["commit"] == {"count": 1, "seconds": 0.25, "longest": 0.25}
    assert watched.ask()["storage"]["commit"]["longest"] == 0.0
    assert shown["sessions"] == [
        {"protocol": "smtp", "tls": "TLSv1.3", "open": 2, "total": 9},
        {"protocol": "smtp", "tls": "none", "open": 0, "total": 1},
    ]
    assert (shown["queue"], shown["disk"]) == (
        {"due": 1, "waiting": 2, "held": 3, "oldest": 60.0},
        {"free": 10, "size": 20},
    )
    assert (shown["uptime"], shown["delivered"], shown["unsynced"]) == (5.0, 4, 1)


def test_what_several_workers_have_observed(watched):
    watched.ask()
    for number in range(12):
        reject(f"192.0.2.{number}")
    watched.commits.record(0.25)
    own = watched.view.observed()
    other = Observed(
        watched=1.0,
        counts={"commands_rejected.routing": 2, "bounces": 1},
        events=[{"time": 0.0, "event": "First"}, {"time": 1e10, "event": "Last"}],
        clients={"192.0.2.9": 5},
        accounts={"a@b": 1},
        storage={"commit": StorageTimes(3, 1.0, 0.5), "sync": StorageTimes(0, 0.0, 0.0)},
    )
    state = attrs.evolve(STATE, workers={1: WorkerState(10, 1.5, 2), 2: None})
    shown = json.loads(json.dumps(watched.view.shown(state, [own, other])))
    assert (shown["counts"]["commands_rejected.routing"], shown["counts"]["bounces"]) == (14, 1)
    assert [one["event"] for one in shown["events"]] == ["First", *["CommandRejected"] * 12, "Last"]
    assert shown["clients"][0] == {"name": "192.0.2.9", "events": 6}
    assert (len(shown["clients"]), shown["accounts"]) == (live.BUSIEST, [{"name": "a@b", "events": 1}])
    assert shown["storage"]["commit"] == {"count": 4, "seconds": 1.25, "longest": 0.5}
    assert shown["workers"] == [
        {"number": 1, "answers": True, "pid": 10, "cpu": 1.5, "sessions": 2, "received": 0},
        {"number": 2, "answers": False},
    ]


def test_what_is_unreadable(watched):
    shown = watched.ask(attrs.evolve(STATE, queue=None, disk=None))
    assert shown["queue"] is shown["disk"] is None


def test_nothing_is_observed_when_nobody_asks_any_more(watched):
    watched.ask()
    watched.reactor.advance(WATCHED_FOR - 1)
    reject("192.0.2.1")
    assert watched.ask()["clients"]
    watched.reactor.advance(WATCHED_FOR - 1)
    assert watched.view._recent is not None
    watched.reactor.advance(2)
    assert watched.view._recent is None and not watched.reactor.getDelayedCalls()
    assert watched.ask()["clients"] == []


def test_the_busiest_of_very_many(monkeypatch):
    monkeypatch.setattr(live, "MOST_NAMES", 100)
    names = BusiestNames()
    for number in range(1000):
        names.add(f"rare{number}")
        names.add("often")
        if number % 2:
            names.add("half")
    assert list(names.most().items())[:2] == [("often", 1000), ("half", 500)]
    assert len(names._counts) <= 100
