"""The runner and the handling that the sender asks for: priority, deadline, release, REQUIRETLS."""

import attrs
import pytest
from twisted.internet.defer import succeed

from mailserver.mail import outcome
from mailserver.mail.address import Address
from mailserver.mail.envelope import ReportRequest
from mailserver.mail.handling import DeliveryDeadline, Handling
from mailserver.mail.queued import LOCAL
from mailserver.mail.verdict import MAIL_SYSTEM, Destination
from mailserver.queue.administration import Progress, QueueAdministration
from mailserver.queue.schedule import Concurrency
from mailserver.queue.selection import Selection
from mailserver.queue.show import message_lines, message_object
from tests.support.fakes import stand_in
from tests.support.queue.runners import ERIN, HOUR, SCHEDULE, deliver_by, enqueue
from tests.support.queue.spools import NOW, envelope
from tests.support.store.messages import ALICE, BOB, MESSAGE

ELSEWHERE = ("smtp:x.example", "x@x.example")
LATER = outcome.Deferred(MAIL_SYSTEM, "greylisted", host="mx.x.example", reply="450 later")


class Elsewhere:
    """Another server: its answer, and each attempt with its time."""

    def __init__(self, queue, answer=LATER):
        self.answer = answer
        self.asked = []
        self.queue = queue
        deliver_by(queue, smtp=self)

    def deliver(self, message, recipients):
        self.asked.append((message.id, self.queue.reactor.seconds() - NOW))
        return succeed(dict.fromkeys(recipients, self.answer))


def statuses(queue):
    """Each report to erin: its fields about the message, and those about the recipient."""
    found = []
    for one in queue.reports(ERIN):
        message, recipient = list(one.iter_parts())[1].get_payload()
        found.append((dict(message.items()), dict(recipient.items())))
    return found


# ---------------------------------------------------------------- MT-PRIORITY


def test_urgent_messages_go_first(queue):
    queue.runner._concurrency = lambda: Concurrency(2, 1)
    there = Elsewhere(queue, outcome.Delivered("mx", "250"))
    numbers = [enqueue(queue, ELSEWHERE, handling=Handling(level), due=NOW + 5) for level in (0, -4, 4, 0, 9)]
    queue.pass_time(10)
    first, low, high, second, highest = (f"id{seq}" for seq in numbers)
    assert [id_ for id_, _ in there.asked] == [highest, high, first, second, low]


# ---------------------------------------------------------------- DELIVERBY


def deadline(seconds, mode, trace=False):
    return Handling(3, deadline=DeliveryDeadline(NOW + seconds, mode, trace))


@pytest.mark.parametrize("seconds", [100, 300, 1000, 5 * HOUR])
def test_a_deadline_passes_and_the_message_is_returned(queue, seconds):
    """At the deadline, whenever the next attempt would be, and without one."""
    there = Elsewhere(queue)
    enqueue(queue, ELSEWHERE, attempts=0, handling=deadline(seconds, "R"))
    queue.pass_time(seconds - 1)
    assert statuses(queue) == []
    attempts = len(there.asked)
    queue.pass_time(2)
    ((about, recipient),) = statuses(queue)
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.4.7")
    assert recipient["Remote-MTA"] == "dns; mx.x.example"
    assert "Deliver-By-Date" in about
    assert (len(there.asked), queue.waiting()) == (attempts, [])


def test_a_message_comes_before_its_deadline(queue):
    there = Elsewhere(queue)
    enqueue(queue, ELSEWHERE, attempts=0, handling=deadline(1000, "R"))
    queue.pass_time(10)
    there.answer = outcome.Delivered("mx", "250", deadline=True)
    queue.pass_time(2 * HOUR)
    assert (statuses(queue), queue.waiting()) == ([], [])


def test_the_schedule_may_end_before_the_deadline(queue):
    Elsewhere(queue)
    enqueue(queue, ELSEWHERE, attempts=0, handling=deadline(1e6, "R"))
    queue.pass_time(2 * SCHEDULE.expire_after)
    ((_, recipient),) = statuses(queue)
    assert recipient["Status"] == "5.3.0"


@pytest.mark.parametrize(("notify", "reports"), [("", 1), ("FAILURE", 1), ("NEVER", 0)])
def test_a_deadline_passes_and_the_sender_is_told(queue, notify, reports):
    there = Elsewhere(queue)
    enqueue(queue, ELSEWHERE, attempts=0, notify=notify, handling=deadline(1000, "N"))
    queue.pass_time(999)
    assert statuses(queue) == []
    queue.pass_time(2)
    assert [one["Action"] for _, one in statuses(queue)] == ["delayed"] * reports
    assert there.asked[-1][1] == 1000
    queue.pass_time(2 * HOUR)
    assert (len(statuses(queue)), queue.waiting()) == (reports, [ELSEWHERE[1]])


def test_a_message_that_was_late_before_it_came(queue):
    """The server before this one has told the sender."""
    Elsewhere(queue)
    enqueue(queue, ELSEWHERE, attempts=0, handling=deadline(0, "N"))
    queue.pass_time(HOUR)
    assert statuses(queue) == []


@pytest.mark.parametrize(
    ("mode", "trace", "known", "notify", "reports"),
    [
        ("N", False, False, "", 1),
        ("N", False, True, "", 0),
        ("N", False, False, "FAILURE", 1),
        ("N", False, False, "NEVER", 0),
        ("N", True, True, "", 1),
        ("R", True, True, "", 1),
        ("R", False, True, "", 0),
        ("R", True, True, "NEVER", 0),
    ],
)
def test_a_message_with_a_deadline_is_relayed(queue, mode, trace, known, notify, reports):
    """RFC 2852: to a server that does not know deadlines, or traced."""
    Elsewhere(queue, outcome.Delivered("mx.x.example", "250 ok", reports=True, deadline=known))
    enqueue(queue, ELSEWHERE, notify=notify, handling=deadline(1000, mode, trace))
    queue.pass_time(1)
    assert [one["Action"] for _, one in statuses(queue)] == ["relayed"] * reports
    assert queue.waiting() == []


# ---------------------------------------------------------------- FUTURERELEASE


def receive(queue, held, *to, **asked):
    message = queue.spools.spool.receive(
        attrs.evolve(envelope(*to, reverse_path=ERIN), handling=Handling(release=NOW + held), **asked),
        b"Received: here\r\n",
    )
    message.write(MESSAGE)
    queue.spools.wait(message.commit())


def listed(queue):
    (one,) = queue.spools.spool.view.page(Selection(states=("held",)), 0, 9)
    return one


def test_a_message_is_held(queue):
    """Also over a restart, and the longest time of the schedule."""
    there = Elsewhere(queue, outcome.Delivered("mx", "250"))
    far = Destination(Address("x", "x.example"), BOB, remote=True)
    reports = {ALICE: ReportRequest("SUCCESS")}
    receive(queue, 10 * HOUR, ALICE, far, reports=reports)
    one = listed(queue)
    _, first, second = message_lines(one, NOW)
    assert first.startswith(
        "    held until 2023-11-15T08:13:20Z: bob@example.org (x@x.example): not tried yet"
    )
    assert second.startswith("    held until 2023-11-15T08:13:20Z: alice@example.org")
    about = message_object(one, NOW)["recipients"]
    assert [(each["state"], each["next"]) for each in about] == [("held", "2023-11-15T08:13:20Z")] * 2
    queue.pass_time(5 * HOUR)
    queue.restart()
    there = Elsewhere(queue, outcome.Delivered("mx", "250"))
    queue.pass_time(5 * HOUR - 1)
    assert (queue.spools.look(ALICE), there.asked, statuses(queue)) == ([], [], [])
    queue.pass_time(2)
    (text,) = queue.spools.look(ALICE)
    assert text.endswith(b"Received: here\r\n" + MESSAGE) and text.startswith(b"Return-Path: <erin@")
    assert [time for _, time in there.asked] == [10 * HOUR]
    assert [one["Action"] for _, one in statuses(queue)] == ["delivered"]
    assert queue.waiting() == []


def test_the_schedule_begins_with_the_release(queue):
    queue.full(ALICE)
    receive(queue, 10 * HOUR, ALICE)
    queue.pass_time(10 * HOUR + SCHEDULE.expire_after - 60)
    assert statuses(queue) == []
    queue.pass_time(HOUR)
    ((about, recipient),) = statuses(queue)
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.2.2")
    assert about["Future-Release-Request"] == "until; 2023-11-15T08:13:20Z"


def test_the_time_of_release_is_over(queue):
    receive(queue, -1.0, ALICE)
    queue.pass_time(1)
    assert len(queue.spools.look(ALICE)) == 1


@pytest.mark.parametrize(("action", "there"), [("release", 1), ("retry", 0), ("remove", 0)])
def test_an_administrator_and_a_held_message(queue, action, there):
    receive(queue, 10 * HOUR, ALICE)
    runner = queue.runner
    admin = QueueAdministration(
        queue.spools.spool, runner, runner._reports, stand_in(queue.reactor), now=queue.reactor.seconds
    )
    queue.spools.wait(admin.apply(action, Selection(), Progress()))
    queue.pass_time(1)
    assert len(queue.spools.look(ALICE)) == there
    assert queue.waiting() == (["alice@example.org"] if action == "retry" else [])


# ---------------------------------------------------------------- reports


def test_the_report_about_a_binary_message_has_only_its_header(queue):
    """A report is text (RFC 3464), and goes to servers without BINARYMIME."""
    Elsewhere(queue, outcome.Failed(MAIL_SYSTEM, "no"))
    enqueue(queue, ELSEWHERE, ret="FULL", handling=Handling(binary=True))
    queue.pass_time(1)
    (report,) = queue.reports(ERIN)
    assert [part.get_content_type() for part in report.iter_parts()][2] == "text/rfc822-headers"


def test_the_report_about_a_message_inherits_its_handling(queue):
    """RFC 8689 section 5: no content, and REQUIRETLS. RFC 6710: the same priority."""
    Elsewhere(queue, outcome.Failed(MAIL_SYSTEM, "no"))
    sent = []
    accept = queue.spools.spool.accept
    queue.spools.spool.accept = lambda content, envelope, *more, **rest: (
        sent.append(envelope.handling) or accept(content, envelope, *more, **rest)
    )
    asked = Handling(-2, deadline=DeliveryDeadline(NOW + 1000, "R"), require_tls=True)
    enqueue(queue, ELSEWHERE, ret="FULL", handling=asked)
    enqueue(queue, (LOCAL, "nobody@example.org"), handling=Handling(), attempts=0)
    queue.pass_time(1)
    assert sent == [Handling(-2, require_tls=True)]
    (report,) = queue.reports(ERIN)
    assert [part.get_content_type() for part in report.iter_parts()][2] == "text/rfc822-headers"
