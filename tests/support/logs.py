"""Events as twisted.logger gives them to an observer, and their lines."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.logger import LogEvent, Logger, LogLevel

from mailserver.events.base import Event, observe, stop_observing
from mailserver.logs.lines import text_line
from tests.support.fakes import stand_in

NOON = 1795348800.25  # 2026-11-22 12:00 UTC


def event(format: str | None = "{text}", **fields: Any) -> LogEvent:
    """What twisted.logger gives to an observer."""
    events: list[LogEvent] = []
    Logger("some.where", observer=stand_in(events.append)).emit(LogLevel.info, format, **fields)
    return {**events[0], "log_time": NOON}


def text(event: LogEvent) -> str:
    line = text_line(event)
    assert line is not None and line.endswith("\n")
    return line[:-1]


@contextmanager
def reported() -> Iterator[list[Event]]:
    """The events that are reported meanwhile."""
    found: list[Event] = []

    def observer(record: LogEvent) -> None:
        if isinstance(record.get("log_event"), Event):
            found.append(record["log_event"])

    observe(stand_in(observer))
    try:
        yield found
    finally:
        stop_observing(stand_in(observer))
