"""Notices: what happens with a worker that does not take one."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailserver.cluster.alone import Alone
from mailserver.cluster.notices import KILL, PATIENCE, publish
from mailserver.errors import ConfigurationError
from mailserver.events.cluster import NoticeNotTaken
from tests.support.net.fakes import Journal
from tests.support.peers import Peer, peers


@pytest.fixture
def three() -> list[Peer]:
    return peers(3)


@pytest.fixture
def killed(three: list[Peer]) -> list[int]:
    """The workers that the supervisor must kill."""
    supervisor = Peer(0, three[0].group)
    killed: list[int] = []
    supervisor.serve(KILL, killed.append)
    return killed


def over(told: "Deferred[None]") -> list[object]:
    results: list[object] = []
    told.addBoth(results.append)
    return results


def test_all_others_take_it(three: list[Peer], killed: list[int]) -> None:
    taken: list[object] = []
    for peer in three:
        peer.serve("news", taken.append)
    assert len(over(publish(three[0], "news", "it rains", Clock()))) == 1
    assert taken == ["it rains"] * 2
    assert killed == []


def test_one_that_is_slow_holds_up_the_change_for_a_while(
    three: list[Peer], killed: list[int], journal: Journal
) -> None:
    clock = Clock()
    three[1].serve("news", lambda value: Deferred())
    three[2].serve("news", lambda value: None)
    results = over(publish(three[0], "news", None, clock))
    clock.advance(PATIENCE - 1)
    assert results == []
    clock.advance(1)
    assert len(results) == 1
    assert killed == [2]
    [event] = journal.events
    assert isinstance(event["log_event"], NoticeNotTaken)


def test_the_others_are_waited_for_though_one_has_failed(
    three: list[Peer], killed: list[int], journal: Journal
) -> None:
    def refuse(value: object) -> None:
        raise ConfigurationError(["mailserver.toml: one", "mailserver.toml: two"])

    slow: Deferred[None] = Deferred()
    three[1].serve("news", refuse)
    three[2].serve("news", lambda value: slow)
    results = over(publish(three[0], "news", None, Clock()))
    assert results == []
    assert killed == [2]
    slow.callback(None)
    assert len(results) == 1
    [event] = journal.events
    assert str(event["error"]) == "mailserver.toml: one\nmailserver.toml: two"


def test_alone_there_is_nobody_to_tell() -> None:
    assert len(over(publish(Alone(), "news", None, Clock()))) == 1
