"""The log: each event of ``twisted.logger`` is one line, as text or as JSON, and costs little.

Whatever a client sent stands in a line with its control characters escaped: it cannot begin another
line, nor move the cursor of whoever reads it. Only the traceback of a failure takes further lines of a
text, each behind a tab.

A line is in the kernel's hands before the event is over: what was logged is there though the process be
killed in the next moment. To collect the lines of a round of the reactor is not cheaper. On standard output
lines wait while the reader is slow: :mod:`mailserver.logs.queue`.

In JSON the fields of an event stand beside ``time``, ``level``, ``namespace``, ``event`` (its text)
and ``traceback``, so none may have one of these names, nor one of :data:`NOT_FIELDS`. Where the lines
go to is for twistd's options to say.
"""

import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from twisted.python.reflect import safe_repr, safe_str
from zope.interface import implementer

from mailserver.errors import ConfigurationError, one_line
from mailserver.interfaces import IReactor
from mailserver.logs.queue import LineQueue

# What twisted.python.log, and whoever listens to it, puts into events.
NOT_FIELDS = frozenset(
    ("message", "time", "system", "format", "isError", "failure", "why", "logLevel", "printed")
)


@implementer(ILogObserver)
class LineObserver:
    """Writes the line that ``line`` makes of each event. Any thread may log."""

    def __init__(self, write: Callable[[bytes], object], line: Callable[[LogEvent], str | None]) -> None:
        """``write`` takes all it is given; what it raises is for ``twisted.logger`` to catch."""
        self._write = write
        self._line = line

    def __call__(self, event: LogEvent) -> None:
        line = self._line(event)
        if line is not None:
            self._write(line.encode())


# ---------------------------------------------------------------- an event in words


def _told(event: LogEvent) -> tuple[str, str]:
    """The text of an event, and its traceback; "" where it has none."""
    failure = event.get("log_failure")
    if failure is None and "log_text" in event and isinstance(event.get("failure"), Failure):
        # One of twisted.python.log, whose text has the traceback in it.
        return safe_str(event.get("why") or "Unhandled Error"), _traceback(event["failure"])
    return _text_of(event), "" if failure is None else _traceback(failure)


def _text_of(event: LogEvent) -> str:
    try:
        if "()" not in event["log_format"] and "log_flattened" not in event:
            text: str = event["log_format"].format_map(event)
            return text
    except Exception:  # noqa: BLE001 - Twisted's function, which takes longer, says what is wrong
        return formatEvent(event)
    return formatEvent(event)


def _traceback(failure: Failure) -> str:
    try:
        return failure.getTraceback()
    except Exception as error:  # noqa: BLE001 - it makes texts of whatever was raised
        return f"there is no traceback of {safe_repr(failure)}: {safe_repr(error)}"


def _level(event: LogEvent) -> str:
    return getattr(event.get("log_level"), "name", "-")


# ---------------------------------------------------------------- text


def text_line(event: LogEvent) -> str | None:
    """An event as Twisted's own log has it: ``2026-11-22T20:15:03+0000 [namespace#level] text``."""
    text, traceback = _told(event)
    if not text and not traceback:
        return None
    when, system = event.get("log_time"), event.get("log_system")
    if system is None:
        system = f"{event.get('log_namespace', '-')}#{_level(event)}"
    line = f"{'-' if when is None else _local(int(when))} [{safe_str(system)}] {text}"
    if not line.isprintable():
        line = one_line(line)
    if traceback:
        line = "\n\t".join([line, *map(one_line, traceback.rstrip("\n").split("\n"))])
    return line + "\n"


@lru_cache(maxsize=2)
def _local(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))


# ---------------------------------------------------------------- JSON


def json_line(event: LogEvent) -> str | None:
    """An event as one object: its text escaped as in the other format, its fields as they are."""
    text, traceback = _told(event)
    if not text and not traceback:
        return None
    record: dict[str, object] = {
        "time": _utc(event.get("log_time")),
        "level": _level(event),
        "namespace": event.get("log_namespace", "-"),
        "event": text if text.isprintable() else one_line(text),
    }
    if traceback:
        record["traceback"] = traceback
    for name, value in event.items():
        if not name.startswith("log_") and name not in NOT_FIELDS:
            record.setdefault(name, value)
    try:
        return _encode(record) + "\n"
    except (TypeError, ValueError, RecursionError):
        return _encode({name: _encodable(value) for name, value in record.items()}) + "\n"


def _utc(when: float | None) -> str | None:
    if when is None:
        return None
    second, micro = divmod(int(when * 1e6), 1_000_000)
    return f"{_utc_second(second)}.{micro:06}Z"


@lru_cache(maxsize=2)
def _utc_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _plain(value: object) -> object:
    """What stands for a value that JSON does not know."""
    try:
        match value:
            case bytes():
                return value.decode("utf-8", "backslashreplace")
            case set() | frozenset():
                return list(value)
        # Many exceptions have no text.
        return str(value) or repr(value)
    except Exception:  # noqa: BLE001 - any class may be logged
        return safe_repr(value)


# Only ASCII: nothing in a line can be taken for the end of it, or is lost where the locale is another.
_encode = json.JSONEncoder(default=_plain, allow_nan=False).encode


def _encodable(value: object) -> object:
    try:
        _encode(value)
    except (TypeError, ValueError, RecursionError):
        return safe_repr(value)
    return value


LINES: Mapping[str, Callable[[LogEvent], str | None]] = {"text": text_line, "json": json_line}


# ---------------------------------------------------------------- where the lines go to


def observer_for(reactor: IReactor, options: Mapping[str, Any] | None, format: str) -> ILogObserver | None:
    """The observer that logs in ``format`` to where twistd would log, by its ``options``.

    None where the log is in other hands: --logger or --syslog is given, or the program is not twistd.
    Raises :class:`ConfigurationError` if the file of --logfile cannot be opened.
    """
    if options is None or "nodaemon" not in options or options["logger"] or options["syslog"]:
        return None
    name, foreground = options["logfile"], options["nodaemon"]
    if name == "-" and not foreground:
        # Which twistd itself refuses.
        return None
    if name == "-" or (foreground and not name):
        sys.stdout.flush()
        queue = LineQueue(sys.stdout.fileno(), partial(_dropped, LINES[format]))
        reactor.addSystemEventTrigger("after", "shutdown", queue.finish)
        return LineObserver(queue.write, LINES[format])
    try:
        file = LogFile.fromFullPath(name or "twistd.log")
    except OSError as error:
        raise ConfigurationError([f"--logfile {name or 'twistd.log'}: {error.strerror}"]) from error
    # As twistd does: its file is rotated by length, and by SIGUSR1 unless that means something else.
    if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, lambda number, frame: reactor.callFromThread(file.rotate))
    return LineObserver(file.write, LINES[format])


def _dropped(line: Callable[[LogEvent], str | None], count: int) -> bytes:
    """What stands for ``count`` events that nobody has read in time."""
    event: LogEvent = {
        "log_format": "log: dropped {count} events: standard output was not read in time",
        "log_time": time.time(),
        "log_level": LogLevel.warn,
        "log_namespace": __name__,
        "count": count,
    }
    return (line(event) or "").encode()
