"""The lines of the log on copies that wait, until each is delivered or given up."""

import json

import pytest
from twisted.logger import capturedLogs

from mailserver.logs.lines import json_line
from mailserver.mail.address import Address
from mailserver.routing.router import UNKNOWN
from tests.support.queue.runners import ERIN, RETRY, SCHEDULE, by_alias, member
from tests.support.store.messages import ALICE, BOB


def lines(events):
    """The lines on messages, without their ids, and one of their fields."""
    found = [json.loads(json_line(event) or "") for event in events if "id" in event]
    return [
        (one["event"].partition(": ")[2], one["level"], one["mailboxes"], one.get("rule")) for one in found
    ]


def test_a_copy_of_a_list_that_waits(queue):
    """The issue's case: it was logged only as accepted."""
    queue.full(BOB)
    with capturedLogs() as events:
        queue.deliver(member(ALICE), member(BOB), reverse_path=ERIN)
        queue.pass_time(RETRY[0])
        queue.full()
        queue.pass_time(RETRY[1])
    bob = ["bob@example.org"]
    waiting = "waiting: <erin@example.org> to <bob@example.org>: the mailbox is full"
    assert lines(events) == [
        (f"{waiting} (client none, storage.quota)", "info", bob, "storage.quota"),
        (f"{waiting} (attempt 2)", "info", bob, "storage.quota"),
        ("delivered: <erin@example.org> to <bob@example.org> (attempt 3)", "info", bob, None),
    ]


@pytest.mark.parametrize(
    ("to", "reverse_path", "last", "level"),
    [
        ((by_alias(ALICE), by_alias(BOB)), ERIN, "gave up: <erin@example.org> to {}; bounce ", "info"),
        ((member(ALICE), member(BOB)), ERIN, "gave up: <club-bounces@example.org> to {}; bounce ", "info"),
        (
            (member(ALICE), member(BOB)),
            None,
            "gave up: <> to {}; null reverse-path, no bounce sent (",
            "error",
        ),
        (
            (by_alias(ALICE), by_alias(BOB)),
            Address("gone", "example.org"),
            "gave up: <gone@example.org> to {}; bounce ",
            "info",
        ),
    ],
)
def test_the_end(queue, to, reverse_path, last, level):
    queue.full(BOB)
    with capturedLogs() as events:
        queue.deliver(*to, reverse_path=reverse_path)
        queue.pass_time(SCHEDULE.expire_after + max(RETRY))
    found = [line for line in lines(events) if line[3] == "queue.expire_after"]
    assert found[0][0].startswith(last.format("<bob@example.org>: the mailbox is full"))
    assert found[0][1:3] == (level, ["bob@example.org"])


def test_the_end_without_a_postmaster(queue):
    queue.router.route = lambda recipient: UNKNOWN
    queue.full(BOB)
    with capturedLogs() as events:
        queue.deliver(by_alias(ALICE), by_alias(BOB), reverse_path=Address("gone", "example.org"))
        queue.pass_time(SCHEDULE.expire_after + max(RETRY))
    *_, (text, level, _, _) = lines(events)
    waiting = "waiting: <gone@example.org> to <bob@example.org>: the mailbox is full"
    assert text.startswith(f"{waiting}; bounce not deliverable now (")
    assert level == "error"


def test_many_that_wait_are_one_line(queue):
    boxes = [Address(f"u{number}", "example.org") for number in range(150)]
    queue.full(*boxes)
    with capturedLogs() as events:
        queue.deliver(*map(member, boxes))
        queue.pass_time(RETRY[0])
    first, second = lines(events)
    for text, _, mailboxes, _ in (first, second):
        assert "<u0@example.org>, <u1@example.org>, <u2@example.org> and 147 more" in text
        assert len(mailboxes) == 100
