"""What an administrator does to the queue: retry, hold, release, remove, expire; by any condition."""

from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from mailserver.commands import queue as commands
from mailserver.commands.queue import QUEUE_CHANGES, QUEUE_COMMANDS, change_queue
from mailserver.control.channel import CommandFailed, CommandOutcome
from mailserver.mail import outcome
from mailserver.mail.queued import HELD, LOCAL
from mailserver.mail.verdict import MAIL_SYSTEM, QueueStarted
from mailserver.queue import administration as module
from mailserver.queue.administration import QueueAdministration
from mailserver.queue.reports import Reports
from mailserver.queue.schedule import Concurrency
from mailserver.queue.selection import Selection
from tests.support.fakes import stand_in
from tests.support.queue.runners import ERIN, HOUR, Recorded, deliver_by, enqueue
from tests.support.queue.spools import NOW
from tests.support.store.messages import BOB

DOWN = outcome.Deferred(MAIL_SYSTEM, "connection refused", host="mx.a.example", reply="", unreachable=True)
DELIVERED = outcome.Delivered("mx.a.example", "250 Ok")


class Admin:
    """A queue, and the commands that change it."""

    def __init__(self, queue) -> None:
        self.queue = queue
        spool = queue.spools.spool
        now = queue.reactor.seconds
        reactor = stand_in(queue.reactor)
        reports = Reports(spool, queue.router, "mail.example.org", reactor, now)
        self.administration = QueueAdministration(spool, queue.runner, reports, reactor, now)

    def begin(self, action, **conditions):
        async def whole() -> CommandOutcome:
            request = {"command": f"queue {action}", **conditions}
            done = await change_queue(self.administration, request)
            while done.more is not None:
                done = await change_queue(self.administration, {**request, "more": done.more})
            return done

        return Deferred.fromCoroutine(whole())

    def run(self, action, **conditions):
        return self.queue.spools.wait(self.begin(action, **conditions))

    def states(self):
        page = self.queue.spools.spool.view.page(Selection(), 0, 1000)
        return {str(each.address): each.next for one in page for each in one.recipients}


@pytest.fixture
def admin(queue):
    return Admin(queue)


def two_domains(queue, due=NOW + HOUR):
    """Two messages: to two domains, and to one of them and a mailbox here."""
    enqueue(queue, ("smtp:a.example", "x@a.example"), ("smtp:b.example", "y@b.example"), due=due)
    enqueue(queue, ("smtp:a.example", "Z@a.example"), (LOCAL, str(BOB)), due=due)


@pytest.mark.parametrize(
    ("conditions", "chosen"),
    [
        ({}, ["x@a.example", "y@b.example", "Z@a.example", str(BOB)]),
        ({"domain": "A.example"}, ["x@a.example", "Z@a.example"]),
        ({"domain": "example.org"}, [str(BOB)]),
        ({"domain": "example"}, []),
        ({"recipient": "z@A.example"}, ["Z@a.example"]),
        ({"ids": ["id1"]}, ["x@a.example", "y@b.example"]),
        ({"ids": ["id1", "id2"], "domain": "b.example"}, ["y@b.example"]),
        ({"ids": ["id3"]}, []),
        ({"sender": "ERIN@example.org", "recipient": "x@a.example"}, ["x@a.example"]),
        ({"sender": ""}, []),
        ({"state": "held"}, []),
        ({"state": "waiting", "domain": "b.example"}, ["y@b.example"]),
        ({"state": "due"}, []),
    ],
)
def test_conditions(admin, monkeypatch, conditions, chosen):
    monkeypatch.setattr(commands, "time", SimpleNamespace(time=lambda: NOW))
    two_domains(admin.queue)
    listed = QUEUE_COMMANDS["queue list"](
        admin.queue.spools.spool.view, {"command": "queue list", **conditions}
    )
    assert [line.split(": ")[1] for line in listed.lines if line.startswith("    ")] == chosen
    if not chosen:
        with pytest.raises(CommandFailed, match="no recipient in the queue meets the conditions"):
            admin.run("hold", **conditions)
    else:
        done = admin.run("hold", **conditions)
        assert done.status == 0 and done.lines[0].startswith(f"{len(chosen)} recipient")
    assert [name for name, when in admin.states().items() if when == HELD] == chosen


def test_a_recipient_by_another_spelling(admin):
    enqueue(admin.queue, ("smtp:a.example", "zo\u00eb@a.example"), due=NOW + HOUR)
    done = admin.run("hold", recipient="ZOE\u0308@a.example")
    assert done.lines[0].startswith("1 recipient")


def test_retry_begins_at_once_even_if_the_destination_was_down(admin):
    queue = admin.queue
    engine = Recorded(x=DOWN, z=DELIVERED)
    deliver_by(queue, smtp=engine)
    enqueue(queue, ("smtp:a.example", "x@a.example"), attempts=0)
    queue.pass_time(1.0)
    assert engine.asked == [("id1", ["x@a.example"])]
    engine.answers["x"] = DELIVERED
    assert admin.run("retry", recipient="x@a.example").lines == ("1 recipient of 1 message: retrying now",)
    queue.pass_time(0.0)
    assert engine.asked[1:] == [("id1", ["x@a.example"])] and queue.waiting() == []


def test_held_recipients_wait_until_they_are_released(admin):
    queue = admin.queue
    engine = Recorded(x=DELIVERED, y=DELIVERED)
    deliver_by(queue, smtp=engine)
    with capturedLogs() as events:
        two_domains(queue, due=NOW + 60)
        assert admin.run("hold", domain="a.example").lines == ("2 recipients of 2 messages: held",)
        queue.pass_time(10 * HOUR)
        assert engine.asked == [("id1", ["y@b.example"])]
        with pytest.raises(CommandFailed):
            admin.run("retry", domain="a.example")
        queue.restart()
        admin = Admin(queue)
        deliver_by(queue, smtp=engine)
        queue.pass_time(10 * HOUR)
        assert len(engine.asked) == 1
        assert admin.run("release", recipient="x@a.example").lines == (
            "1 recipient of 1 message: released, retrying now",
        )
        queue.pass_time(0.0)
    assert engine.asked[1:] == [("id1", ["x@a.example"])]
    assert queue.waiting() == ["Z@a.example"]
    names = [event["log_namespace"].partition(".")[2] for event in events]
    assert (names.count("RecipientsHeld"), names.count("RecipientsReleased")) == (2, 1)


def test_a_hold_during_an_attempt_lasts(admin):
    queue = admin.queue
    answer = Deferred()

    class Slow:
        def deliver(self, message, recipients):
            return answer.addCallback(lambda result: dict.fromkeys(recipients, result))

    deliver_by(queue, smtp=Slow())
    enqueue(queue, ("smtp:a.example", "x@a.example"), attempts=0)
    queue.reactor.advance(0)
    while not queue.runner._active["smtp:a.example"].busy:
        queue.reactor.run_call()
    admin.run("hold", ids=["id1"])
    # while it is being tried, it is not removed
    removal = admin.begin("remove", ids=["id1"])
    while not any(
        call.getTime() == queue.reactor.seconds() + module.PAUSE for call in queue.reactor.getDelayedCalls()
    ):
        queue.reactor.run_call()
    for _ in range(module.PATIENCE):
        queue.reactor.advance(module.PAUSE)
    done = queue.spools.wait(removal)
    assert done.lines == (
        "0 recipients of 0 messages: removed", "1 recipient left alone: an attempt is in progress; try again",
    )  # fmt: skip
    assert done.status == 1
    answer.callback(DOWN)
    queue.finish()
    assert admin.states() == {"x@a.example": HELD}


class OneByOne:
    """Records the addresses of each attempt. The test decides when an attempt ends."""

    def __init__(self):
        self.asked = []
        self.answers = []

    def deliver(self, message, recipients):
        self.asked += [each.address for each in recipients]
        self.answers.append(Deferred())
        return self.answers[-1].addCallback(lambda result: dict.fromkeys(recipients, result))


def answer(queue, engine, number, asked):
    """An attempt succeeds, and others begin until so many have begun."""
    engine.answers[number].callback(DELIVERED)
    while len(engine.asked) < asked:
        queue.reactor.run_call()


@pytest.mark.parametrize(("action", "text"), [("hold", "held"), ("remove", "removed"), ("expire", "expired")])
def test_a_message_that_is_read_and_not_yet_tried(admin, action, text):
    queue = admin.queue
    queue.runner._concurrency = lambda: Concurrency(per_destination=2)
    engine = OneByOne()
    deliver_by(queue, smtp=engine)
    for names in ("a", "b", "c", "d", "ef"):
        enqueue(queue, *(("smtp:a.example", f"{name}@a.example") for name in names), attempts=0)
    queue.reactor.advance(0)
    while not engine.asked:
        queue.reactor.run_call()
    answer(queue, engine, 0, 3)
    answer(queue, engine, 1, 4)
    assert len(queue.runner._active["smtp:a.example"].loaded) == 1
    assert admin.run(action, recipient="e@a.example").lines == (f"1 recipient of 1 message: {text}",)
    answer(queue, engine, 2, 5)
    answer(queue, engine, 3, 5)
    answer(queue, engine, 4, 5)
    queue.finish()
    assert engine.asked == [f"{name}@a.example" for name in "abcdf"]
    assert admin.states() == ({"e@a.example": HELD} if action == "hold" else {})


def test_a_message_that_is_held_while_it_is_read(admin, monkeypatch):
    queue = admin.queue
    engine = Recorded(x=DELIVERED)
    deliver_by(queue, smtp=engine)
    read_due, reads = queue.spools.spool.read_due, []

    def read(*asked):
        reads.append(read_due(*asked))
        transaction = queue.spools.engine.begin()
        transaction.reschedule(1, [1], HELD)
        transaction.commit()
        if len(reads) == 1:
            queue.runner.unload("smtp:a.example", {1})
        return reads[-1]

    monkeypatch.setattr(queue.spools.spool, "read_due", read)
    assert enqueue(queue, ("smtp:a.example", "x@a.example"), attempts=0) == 1
    queue.pass_time(0.0)
    assert [len(found) for found, _ in reads] == [1, 0]
    assert (engine.asked, admin.states()) == ([], {"x@a.example": HELD})


def test_remove(admin):
    queue = admin.queue
    two_domains(queue)
    with capturedLogs() as events:
        assert admin.run("remove", domain="a.example").lines == ("2 recipients of 2 messages: removed",)
    assert queue.waiting() == ["y@b.example", str(BOB)]
    removed = [event for event in events if event["log_namespace"] == "mailserver.RecipientsRemoved"]
    assert [(event["id"], list(event["recipients"])) for event in removed] == [
        ("id1", ["x@a.example"]), ("id2", ["Z@a.example"]),
    ]  # fmt: skip
    assert admin.run("remove", ids=["id1"]).status == 0
    assert queue.waiting() == [str(BOB)]
    assert queue.reports(ERIN) == []


def test_expire_sends_a_bounce(admin):
    queue = admin.queue
    enqueue(queue, ("smtp:a.example", "x@a.example"), ("smtp:b.example", "y@b.example"), due=HELD, attempts=0)
    enqueue(queue, ("smtp:a.example", "z@a.example"), due=NOW + HOUR)
    assert admin.run("expire", domain="a.example").lines == ("2 recipients of 2 messages: expired",)
    assert queue.waiting() == ["y@b.example"]
    reports = [str(report) for report in queue.reports(ERIN)]
    assert len(reports) == 2
    for name, report in zip(("x", "z"), reports, strict=True):
        assert f"{name}@a.example" in report and "Status: 5.4.7" in report
        assert "the postmaster has ended the delivery attempts" in report.replace("=\n", "").replace(
            "\n", " "
        )


def test_the_bounces_of_expired_messages_are_left_alone(admin):
    admin.queue.full(ERIN)
    two_domains(admin.queue)
    assert admin.run("expire").lines == ("4 recipients of 2 messages: expired",)
    assert admin.queue.waiting() == [str(ERIN)] * 2


def test_a_crash_during_a_removal_loses_nothing(admin, monkeypatch):
    queue = admin.queue
    two_domains(queue)

    def crash(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(queue.spools.spool, "record_attempt", crash)
    with pytest.raises(ZeroDivisionError):
        admin.run("remove", ids=["id1"])
    queue.restart()
    assert len(queue.waiting()) == 4
    assert all(when < NOW + 2 * HOUR for when in admin.states().values())


def test_long_queues_in_steps(admin, monkeypatch):
    queue = admin.queue
    monkeypatch.setattr(module, "BATCH", 3)
    for number in range(10):
        enqueue(queue, ("smtp:a.example", f"u{number}@a.example"), due=NOW + HOUR)
    request = {"command": "queue hold"}
    done = queue.spools.wait(Deferred.fromCoroutine(change_queue(admin.administration, request)))
    assert done == CommandOutcome(
        (), more={"after": 3, "until": 10, "messages": 3, "recipients": 3, "busy": 0}
    )
    assert admin.run("hold").lines == ("7 recipients of 7 messages: held",)
    assert admin.run("release").lines == ("10 recipients of 10 messages: released, retrying now",)


@pytest.mark.parametrize(
    "request_",
    [
        {"ids": "id1"}, {"ids": [1]}, {"sender": 3}, {"recipient": 3}, {"domain": "a b"}, {"state": "new"},
        {"more": 3}, {"more": {"after": 1}},
        {"more": dict.fromkeys(["after", "messages", "recipients", "busy"])},
    ],
    ids=str,
)  # fmt: skip
def test_malformed_requests(admin, request_):
    for command in QUEUE_CHANGES:
        with pytest.raises(CommandFailed):
            admin.run(command.removeprefix("queue "), **request_)
    with pytest.raises(CommandFailed):
        QUEUE_COMMANDS["queue list"](admin.queue.spools.spool.view, request_)


def test_etrn(admin, monkeypatch):
    queue = admin.queue
    monkeypatch.setattr(module, "BATCH", 2)
    engine = Recorded(**dict.fromkeys(["x", "Z", "y", *(f"u{n}" for n in range(6))], DELIVERED))
    deliver_by(queue, smtp=engine)
    start = admin.administration.start_domain
    assert queue.spools.wait(start("a.example")) == QueueStarted(0)
    two_domains(queue)
    assert queue.spools.wait(start("a.example")) == QueueStarted(2)
    queue.pass_time(0.0)
    assert sorted(queue.waiting()) == sorted([str(BOB), "y@b.example"])
    for number in range(6):
        enqueue(queue, ("smtp:c.example", f"u{number}@c.example"), due=NOW + HOUR)
    assert queue.spools.wait(start("c.example")) == QueueStarted(4, more=True)
    while any(address.endswith("@c.example") for address in queue.waiting()):
        queue.reactor.run_call()  # the rest is started after the answer
    queue.finish()
    assert sorted(queue.waiting()) == sorted([str(BOB), "y@b.example"])
