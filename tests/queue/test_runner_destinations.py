"""The runner and many destinations: none of them holds up another, and a dead one is left alone."""

from collections import Counter

import pytest
from twisted.internet.defer import Deferred, succeed

from mailserver.mail import outcome
from mailserver.mail.verdict import MAIL_SYSTEM
from mailserver.queue.runner import UNPROVEN_AT_ONCE
from mailserver.queue.schedule import Concurrency
from tests.support.queue.runners import RETRY, SCHEDULE, deliver_by, enqueue

USUAL = Concurrency()
DOWN = outcome.Deferred(MAIL_SYSTEM, "connection refused", unreachable=True)


class World:
    """Delivers to places: some answer at once, others when a test says so."""

    def __init__(self, queue, concurrency=USUAL):
        self.asked = Counter[str]()
        self.running = dict[str, list[tuple[Deferred, dict]]]()
        self.answers = dict[str, outcome.DeliveryOutcome]()
        self.queue = queue
        queue.runner._concurrency = lambda: concurrency
        deliver_by(queue, smtp=self)

    def deliver(self, message, recipients):
        place = recipients[0].destination.partition(":")[2]
        assert {each.destination for each in recipients} == {f"smtp:{place}"}
        self.asked[place] += 1
        if place in self.answers:
            return succeed(dict.fromkeys(recipients, self.answers[place]))
        answer = Deferred()
        self.running.setdefault(place, []).append((answer, dict.fromkeys(recipients, outcome.Delivered())))
        return answer

    def send(self, place, count=1):
        for number in range(count):
            enqueue(self.queue, (f"smtp:{place}", f"user{number}@{place}"), attempts=0)

    def settle(self):
        """Let everything happen that waits for no place."""
        reactor, runner = self.queue.reactor, self.queue.runner
        reactor.advance(0)
        while len(runner._busy) > sum(map(len, self.running.values())):
            reactor.run_call()
            reactor.advance(0)

    def answer(self, place):
        running, self.running[place] = self.running[place], []
        for answer, outcomes in running:
            answer.callback(outcomes)


@pytest.fixture
def world(queue):
    world = World(queue)
    yield world
    for place in list(world.running):
        world.answer(place)


def test_a_slow_place_holds_up_no_other(world):
    world.answers["fast.example"] = outcome.Delivered()
    world.send("slow.example", 100)
    world.send("fast.example", 100)
    world.settle()
    assert world.asked == {"slow.example": UNPROVEN_AT_ONCE, "fast.example": 100}


def test_a_place_that_answers_gets_more_at_once(world):
    world.send("x.example", 100)
    world.settle()
    assert world.asked["x.example"] == UNPROVEN_AT_ONCE
    world.answer("x.example")
    world.settle()
    assert len(world.running["x.example"]) == USUAL.per_destination
    while world.running["x.example"]:
        world.answer("x.example")
        world.settle()
    assert (world.asked["x.example"], world.queue.waiting()) == (100, [])


def test_unproven_places_get_half_of_the_attempts(queue):
    world = World(queue, Concurrency(8, 4))
    world.answers["good.example"] = outcome.Delivered()
    world.send("good.example")
    world.settle()
    for number in range(20):
        world.send(f"slow{number}.example")
    world.settle()
    assert sum(map(len, world.running.values())) == 4
    world.send("good.example", 30)
    world.settle()
    assert world.asked["good.example"] == 31
    while any(world.running.values()):
        for place in list(world.running):
            world.answer(place)
        world.settle()
    assert (world.asked.total(), queue.waiting()) == (51, [])


def test_a_place_that_is_down_is_left_alone(world):
    """All that waits for it is deferred with its reason; one attempt later shows that it is up again."""
    world.answers["x.example"] = DOWN
    world.send("x.example", 60)
    world.settle()
    assert world.asked["x.example"] <= UNPROVEN_AT_ONCE
    waiting = [who for _, all_ in world.queue.spools.waiting() for who in all_]
    assert [who.last.text for who in waiting] == ["connection refused"] * 60
    assert {(who.attempts, who.next - world.queue.reactor.seconds()) for who in waiting} == {(1, RETRY[0])}
    world.send("x.example")
    world.settle()
    assert world.asked["x.example"] <= UNPROVEN_AT_ONCE, "a new one is not tried either"
    world.answers["x.example"] = outcome.Delivered()
    world.queue.pass_time(RETRY[0] + 1)
    assert world.queue.waiting() == []


def test_a_place_that_stays_down_ends_in_bounces(world):
    world.answers["x.example"] = DOWN
    world.send("x.example", 5)
    world.queue.pass_time(2 * SCHEDULE.expire_after)
    assert (world.queue.waiting(), world.queue.spools.rows()) == ([], [])
    assert world.asked["x.example"] < 5 * 10


def test_a_message_for_several_places(world):
    """Each place takes its own time, and so does its next attempt."""
    world.answers["fast.example"] = outcome.Delivered()
    world.answers["grey.example"] = outcome.Deferred(MAIL_SYSTEM, "later")
    places = ("slow.example", "fast.example", "grey.example")
    enqueue(world.queue, *((f"smtp:{place}", f"a@{place}") for place in places), attempts=0)
    world.settle()
    assert sorted(world.queue.waiting()) == ["a@grey.example", "a@slow.example"]
    world.queue.reactor.advance(RETRY[0])
    world.settle()
    assert world.asked == {"slow.example": 1, "fast.example": 1, "grey.example": 2}
    world.answer("slow.example")
    world.settle()
    assert world.queue.waiting() == ["a@grey.example"]
