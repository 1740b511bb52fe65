"""A server fetches its mail: all that waits, once, and never what another attempt has."""

import pytest
from twisted.internet.defer import Deferred, succeed

from mailserver.mail import outcome
from mailserver.mail.queued import HELD
from mailserver.mail.verdict import MAIL_SYSTEM
from mailserver.queue.fetching import MailFetching
from tests.support.fakes import stand_in
from tests.support.queue.runners import deliver_by, enqueue
from tests.support.queue.spools import NOW

HERE, LATER = "smtp:example.net", NOW + 3600.0
DEFERRED = outcome.Deferred(MAIL_SYSTEM, "not now")


class Fetch:
    """The queue with two engines: the usual one waits for a test, that of the fetch answers at once."""

    def __init__(self, queue):
        self.queue = queue
        self.tried: list[str] = []
        self.usual: list[tuple[Deferred, list]] = []
        self.answers: dict[str, outcome.DeliveryOutcome] = {}
        self.ends_after = 1000
        self.fetching = MailFetching(
            queue.spools.spool, queue.runner, lambda to: stand_in(self), queue.reactor
        )
        deliver_by(queue, smtp=Usual(self))

    def deliver(self, message, recipients):
        self.tried += [each.address for each in recipients]
        return succeed({one: self.answers.get(one.address, outcome.Delivered("far")) for one in recipients})

    def run(self, *domains):
        self.tried.clear()
        over = lambda: len(self.tried) >= self.ends_after  # noqa: E731
        self.queue.spools.wait(self.fetching.fetch(domains or ("example.net",), None, over))
        self.settle()
        return sorted(self.tried)

    def settle(self, usual=0):
        """Let the turns end, until so many attempts of the usual engine run."""
        reactor, runner = self.queue.reactor, self.queue.runner
        reactor.advance(0)
        while len(runner._busy) > len(self.usual) or len(self.usual) < usual:
            reactor.run_call()
            reactor.advance(0)

    def waiting(self, *domains):
        return list(self.queue.spools.wait(self.fetching.waiting(domains or ("example.net",))))


class Usual:
    def __init__(self, fetch):
        self.fetch = fetch

    def deliver(self, message, recipients):
        self.fetch.usual.append((Deferred(), recipients))
        return self.fetch.usual[-1][0]


@pytest.fixture
def fetch(queue):
    return Fetch(queue)


def put(fetch, *names, due=LATER, where=HERE):
    for name in names:
        enqueue(fetch.queue, (where, name), due=due)


def test_all_that_waits_is_sent_once(fetch):
    names = [f"u{number:03}@example.net" for number in range(50)]
    put(fetch, *names)
    put(fetch, "held@example.net", due=HELD)
    put(fetch, "other@example.com", where="smtp:example.com")
    assert fetch.waiting("example.com", "example.net", "none.example") == ["example.com", "example.net"]
    assert fetch.run() == names
    assert fetch.waiting() == []
    assert fetch.run() == []
    assert fetch.run("none.example", "example.com") == ["other@example.com"]
    assert not fetch.usual


def test_the_end_of_the_session_leaves_the_rest(fetch):
    put(fetch, "a@example.net", "b@example.net", "c@example.net")
    fetch.ends_after = 2
    first = fetch.run()
    assert len(first) == 2 and fetch.waiting() == ["example.net"]
    rest = fetch.run()
    assert sorted(first + rest) == ["a@example.net", "b@example.net", "c@example.net"]


def test_what_is_not_taken_waits_and_is_not_offered_again_at_once(fetch):
    put(fetch, "a@example.net", "b@example.net")
    fetch.answers["a@example.net"] = DEFERRED
    assert fetch.run() == ["a@example.net", "b@example.net"]
    fetch.answers.clear()
    assert fetch.run() == ["a@example.net"]


def test_a_server_that_takes_nothing_does_not_hold_the_queue(fetch, monkeypatch):
    monkeypatch.setattr("mailserver.queue.fetching.MOST_LEFT", 20)
    names = [f"u{number:03}@example.net" for number in range(60)]
    put(fetch, *names)
    fetch.answers = dict.fromkeys(names, DEFERRED)
    assert len(fetch.run()) == 20


def test_a_message_that_is_being_tried_is_not_sent_twice(fetch):
    put(fetch, "now@example.net", due=NOW)
    fetch.settle(1)
    put(fetch, "later@example.net")
    assert fetch.run() == ["later@example.net"]
    [(answer, recipients)] = fetch.usual
    answer.callback(dict.fromkeys(recipients, outcome.Delivered("far")))
    fetch.queue.reactor.advance(0)


def test_no_attempt_begins_during_a_fetch(fetch):
    active = fetch.queue.runner.take(HERE)
    assert fetch.queue.runner.take(HERE) is None
    put(fetch, "new@example.net", due=NOW)
    fetch.queue.reactor.advance(1)
    assert not fetch.usual
    fetch.queue.runner.give_back(active)
    fetch.settle(1)
    [(answer, recipients)] = fetch.usual
    answer.callback(dict.fromkeys(recipients, outcome.Delivered("far")))
