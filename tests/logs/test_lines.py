"""The log's lines: their form, and what cannot get into them."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import (
    LegacyLogObserverWrapper,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
    formatEventAsClassicLogText,
)
from twisted.python import log as legacy
from twisted.python.failure import Failure

from mailserver.logs.lines import LINES, NOT_FIELDS, json_line, text_line
from mailserver.mail.address import Address
from tests.support.fakes import stand_in
from tests.support.logs import NOON, event, text


def failure(error: BaseException) -> Failure:
    try:
        raise error
    except BaseException:  # noqa: BLE001 - whatever it is
        return Failure()


def decoded(event: LogEvent) -> dict[str, Any]:
    """The object of an event's line, which is one line of ASCII."""
    line = json_line(event)
    assert line is not None and line.endswith("\n")
    assert line[:-1].isprintable() and line.isascii()
    value = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(value, dict)
    return value


# ---------------------------------------------------------------- form


class Thing:
    value = 3
    items = ("a", "b")

    def told(self) -> str:
        return "from a call"


def of_old(*message: str, **fields: Any) -> LogEvent:
    """What comes of an event of twisted.python.log."""
    events: list[LogEvent] = []
    legacy.LogPublisher(publishPublisher=LogPublisher(stand_in(events.append))).msg(*message, **fields)
    return {**events[0], "log_time": NOON}


LIKE_TWISTED: dict[str, Callable[[], LogEvent]] = {
    "fields": lambda: event("{id}: {client}, {count:03} of {who!r}", id=1, client="::1", count=7, who="é"),
    "nothing": lambda: event("", id="01A"),
    "no format": lambda: event(None),
    "attribute and item": lambda: event("{it.value} {it.items[1]}", it=Thing()),
    "call": lambda: event("{it.told()} {it.value}", it=Thing()),
    "braces": lambda: event("{{}} {text}", text="{id}"),
    "octets": lambda: event("{text}", text=b"\r\n"),
    "no time": lambda: {**event(text="x"), "log_time": None},
    "a system": lambda: {**event(text="x"), "log_system": "SMTP,1"},
    "bare": lambda: {"log_format": "x"},
    "of old": lambda: of_old("words", "and more"),
    "of old, with a system": lambda: of_old("words", system="SMTP,1"),
    "of old, with a format": lambda: of_old(format="%(a)s", a=1),
    "of old, without": lambda: of_old(),
    "failure": lambda: event("it failed for {client}", log_failure=failure(ValueError("no")), client="::1"),
    "failure alone": lambda: event(None, log_failure=failure(ValueError("no"))),
    "of old, failure": lambda: of_old(failure=failure(ValueError("no")), isError=1, why=None),
    "of old, failure, why": lambda: of_old(failure=failure(ValueError("no")), isError=1, why="because"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIKE_TWISTED)
def test_text_is_what_twisted_would_write(name: str) -> None:
    one = LIKE_TWISTED[name]()
    expected = formatEventAsClassicLogText(one)
    # but for the empty line behind a traceback
    assert text_line(one) == (expected and re.sub(r"(\n\t)+\n$", "\n", expected))


def test_text() -> None:
    line = text(event("refused {client}: {reason}", client="192.0.2.9", reason="too many"))
    when = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(NOON))
    assert line == f"{when} [some.where#info] refused 192.0.2.9: too many"


def test_the_time_moves_on() -> None:
    for later in (0, 0.9, 1, 3600, 1, 86400 * 183):
        one = {**event(text="x"), "log_time": NOON + later}
        assert text_line(one) == formatEventAsClassicLogText(one)
        assert json.loads(json_line(one) or "")["time"] == time.strftime(
            "%Y-%m-%dT%H:%M:%S", time.gmtime(NOON + later)
        ) + f".{(0.25 + later) % 1:.6f}Z".replace(".0.", ".")


def test_json() -> None:
    one = event(
        "refused {client}: {reason}", client="192.0.2.9", reason="too many", rule="limits.connections", left=0
    )
    assert json_line(one) == (
        '{"time": "2026-11-22T12:00:00.250000Z", "level": "info", "namespace": "some.where", '
        '"event": "refused 192.0.2.9: too many", "client": "192.0.2.9", "reason": "too many", '
        '"rule": "limits.connections", "left": 0}\n'
    )


def test_json_has_none_of_twisteds_own_fields() -> None:
    seen: list[LogEvent] = []
    publisher = LogPublisher(LegacyLogObserverWrapper(stand_in(lambda event: None)), stand_in(seen.append))
    for emit in (
        lambda: Logger("some.where", observer=publisher).failure("{a}", failure(ValueError("no")), a=1),
        lambda: legacy.LogPublisher(publishPublisher=publisher).msg("a", a=1, isError=0, system="-"),
        lambda: legacy.LogPublisher(publishPublisher=publisher).msg(
            failure=failure(ValueError("no")), isError=1, a=1
        ),
    ):
        emit()
    assert len(seen) == 3
    for one in seen:
        assert set(decoded(one)) - {"traceback"} == {"time", "level", "namespace", "event", "a"}


def test_no_field_takes_the_place_of_another() -> None:
    one = event("{level}{event}") | {"level": 1, "namespace": 2, "event": 3} | dict.fromkeys(NOT_FIELDS, 4)
    assert decoded(one) == {
        "time": "2026-11-22T12:00:00.250000Z", "level": "info", "namespace": "some.where", "event": "13",
    }  # fmt: skip


@pytest.mark.parametrize("form", LINES.values(), ids=LINES)
@pytest.mark.parametrize("name", ["nothing", "no format", "of old, without"])
def test_an_event_without_a_text_is_no_line(form: Callable[[LogEvent], str | None], name: str) -> None:
    assert form(LIKE_TWISTED[name]()) is None


# ---------------------------------------------------------------- hostile values

HOSTILE = (
    "\r\n2026-11-22T12:00:00+0000 [x#info] forged\n",
    "\x1b[2J\x1b]0;title\x07\x9b31m",
    "\0\x08\x7f\x85\xa0\xad",
    "\u2028\u2029\u200b\u202e\ufeff",
    "\ud800 \udfff",
    "{client} {0} %(client)s \\ \\n '\"",
)


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
@pytest.mark.parametrize("format", ["{value}", "{value!r}", "{value:>5}", "{value!s} {value}"])
def test_one_line_whatever_is_in_it(format: str, value: str) -> None:
    one = event(format, value=value)
    assert text(one).isprintable()
    assert decoded(one)["value"] == value
    assert decoded(one)["event"].isprintable()


@given(st.text(), st.sampled_from(["{value}", "{value!r}"]))
def test_any_text(value: str, format: str) -> None:
    one = event("x" + format, value=value)
    assert text(one).isprintable()
    assert decoded(one)["value"] == value
    # what needs no escaping has none
    if value.isprintable():
        assert text(one).endswith("x" + format.format(value=value))


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_names_are_one_line_too(value: str) -> None:
    for key in ("log_system", "log_namespace"):
        one = {**event("x"), key: value}
        assert text(one).isprintable()
        decoded(one)
    assert text(of_old(value, system=value)).isprintable()
    assert decoded({**event("x"), value: value})[value] == value


def test_a_traceback_is_indented_lines_that_nobody_can_end() -> None:
    one = event("failed", log_failure=failure(ValueError("first\n2026-11-22 [x] forged\r\x1b[2J")))
    first, *others = text(one).split("\n")
    assert first.endswith("] failed")
    assert others[0] == "\tTraceback (most recent call last):"
    assert "\t2026-11-22 [x] forged\\r\\x1b[2J" in others
    assert all(line[0] == "\t" and line[1:].isprintable() for line in others)
    said = decoded(one)
    assert said["event"] == "failed"
    assert said["traceback"].startswith("Traceback (most recent call last):\n")


# ---------------------------------------------------------------- odd values


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def endless() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


def deep() -> list[object]:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    return value


JSON_VALUES: list[tuple[Callable[[], object], object]] = [
    (lambda: None, None),
    (lambda: True, True),
    (lambda: 1.5, 1.5),
    (lambda: 2**70, 2**70),
    (lambda: ("a", ["b"]), ["a", ["b"]]),
    (lambda: {"a": {"b": 1}}, {"a": {"b": 1}}),
    (lambda: frozenset({"a"}), ["a"]),
    (lambda: b"\xc3\xa9\xff\n", "é\\xff\n"),
    (lambda: Path("/tmp/x"), "/tmp/x"),
    (lambda: (Address.parse("bob@example.org"),), ["bob@example.org"]),
    (lambda: ValueError("wrong"), "wrong"),
    (ValueError, "ValueError()"),
    (lambda: LogLevel.warn, "<LogLevel=warn>"),
    (lambda: float("nan"), "nan"),
    (lambda: [1, float("inf")], "[1, inf]"),
    (lambda: {(1, 2): 3}, "{(1, 2): 3}"),
    (endless, "[[...]]"),
    (deep, ...),
    (lambda: 10**5000, ...),
    (Unspeakable, ...),
    (lambda: [Unspeakable()], ...),
    (lambda: {Unspeakable(): 1}, ...),
]


@pytest.mark.parametrize(("make", "expected"), JSON_VALUES)
def test_odd_fields(make: Callable[[], object], expected: object) -> None:
    one = event("x", value=make(), other=7)
    said = decoded(one)
    assert said["event"] == "x" and said["other"] == 7
    assert said["value"] == expected if expected is not ... else isinstance(said["value"], str | list)


@pytest.mark.parametrize("make", [make for make, _ in JSON_VALUES])
@pytest.mark.parametrize(
    "format", ["{value}", "{value!r}", "{value.nothing}", "{value[5]}", "{value:d}", "{0}", "{"]
)
def test_nothing_keeps_an_event_from_being_a_line(format: str, make: Callable[[], object]) -> None:
    one = event("x" + format, value=make())
    assert text(one).isprintable()
    decoded(one)


def test_a_traceback_that_cannot_be_had() -> None:
    class Broken(Failure):
        def getTraceback(self, *args: object, **options: object) -> str:
            raise RuntimeError("no traceback")

    try:
        raise ValueError("no")
    except ValueError:
        one = event("failed", log_failure=Broken())
    assert "no traceback" in text(one)
    assert "no traceback" in decoded(one)["traceback"]
