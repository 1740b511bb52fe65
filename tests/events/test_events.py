"""Events: each class is complete, documented, and one line of the log."""

import ast
import json
import string
from pathlib import Path

import attrs
import pytest
from twisted.logger import LogEvent, LogLevel, capturedLogs
from twisted.python.failure import Failure

import mailserver
from mailserver.events.base import FIELDS, Event, report
from mailserver.events.messages import MessageAccepted
from mailserver.logs.lines import NOT_FIELDS, json_line, text_line
from mailserver.mail.words import AddressNames
from tests.support.event_reference import DOCUMENT, classes, field_names, generated, modules

EVENTS = [event for module in modules() for event in classes(module)]

ACCEPTED = MessageAccepted(
    id="01A", session="01B", client="192.0.2.9", account="", sender="<a@c.example>",
    recipients=AddressNames(["b@b.example"]), size=7,
)  # fmt: skip


def reported(event: Event, failure: Failure | None = None) -> LogEvent:
    with capturedLogs() as events:
        report(event, failure)
    (one,) = events
    return one


def test_the_reference_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == generated(), "run: python -m tests.support.event_reference"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_a_class_of_events(event: type[Event]) -> None:
    fields = field_names(event)
    assert event.__doc__
    used = [name for _, name, _, _ in string.Formatter().parse(event.text) if name is not None]
    assert set(used) <= set(fields), "the text uses fields that the event does not have"
    assert set(fields) <= FIELDS.keys(), "a field has no meaning"
    assert NOT_FIELDS.isdisjoint(fields)
    assert not {"level", "namespace", "event", "traceback"} & set(fields)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event(**dict.fromkeys(fields, "x")).text = "y"  # type: ignore[misc]


def test_each_field_is_used() -> None:
    assert {name for event in EVENTS for name in field_names(event)} == FIELDS.keys()


def test_each_class_is_reported_somewhere_and_has_a_name_of_its_own() -> None:
    calls = [
        node
        for path in Path(mailserver.__file__).parent.rglob("*.py")
        if path.parent.name != "events"
        for node in ast.walk(ast.parse(path.read_text()))
    ]
    named = {node.id for node in calls if isinstance(node, ast.Name)}
    assert [event.__name__ for event in EVENTS if event.__name__ not in named] == []
    assert len({event.__name__ for event in EVENTS}) == len(EVENTS)


def test_an_observer_gets_the_event_and_its_fields() -> None:
    one = reported(ACCEPTED)
    assert one["log_event"] is ACCEPTED
    assert one["log_level"] is LogLevel.info
    assert {name: one[name] for name in field_names(MessageAccepted)} == vars(ACCEPTED)


def test_its_lines() -> None:
    one = reported(ACCEPTED)
    text = "01A: accepted: <a@c.example> to <b@b.example> (client 192.0.2.9, 7 octets)"
    assert (text_line(one) or "").endswith(f" [mailserver.MessageAccepted#info] {text}\n")
    fields = json.loads(json_line(one) or "")
    del fields["time"]
    assert fields == {
        "level": "info", "namespace": "mailserver.MessageAccepted", "event": text,
        "id": "01A", "session": "01B", "client": "192.0.2.9", "account": "",
        "sender": "<a@c.example>", "recipients": ["b@b.example"], "size": 7,
    }  # fmt: skip


def test_a_failure_has_its_traceback() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        one = reported(ACCEPTED, Failure())
    assert "ValueError: no" in (text_line(one) or "")
    assert "ValueError: no" in json.loads(json_line(one) or "")["traceback"]
