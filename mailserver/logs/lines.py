"""Writes each event of ``twisted.logger`` as one line, as text or as JSON.

Control characters are escaped, so text from a client can neither begin another line nor move the cursor
of a terminal. In the text format a traceback takes further lines, each after a tab.

A line is written to the kernel before the event ends, so it survives if the process is killed. Collecting
the lines of a reactor iteration is not cheaper. Lines to standard output are queued while the reader is
slow: :mod:`mailserver.logs.queue`.

In JSON the fields of an event are keys beside ``time``, ``level``, ``namespace``, ``event`` (the text) and
``traceback``. No field may have one of these names or one of :data:`NOT_FIELDS`. The options of twistd
choose the destination of the log.
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

# Keys that twisted.python.log and its observers add to events.
NOT_FIELDS = frozenset(
    ("message", "time", "system", "format", "isError", "failure", "why", "logLevel", "printed")
)


@implementer(ILogObserver)
class LineObserver:
    """Writes the line that ``line`` makes of each event. Any thread may log."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        line: Callable[[LogEvent], str | None],
        *,
        is_standard_output: bool = False,
    ) -> None:
        """``write`` must write the whole line. ``twisted.logger`` catches its exceptions."""
        self.is_standard_output = is_standard_output
        self._write = write
        self._line = line

    def __call__(self, event: LogEvent) -> None:
        line = self._line(event)
        if line is not None:
            self._write(line.encode())

    def write_lines(self, lines: bytes) -> None:
        """Write whole lines that another process has made."""
        self._write(lines)


# ---------------------------------------------------------------- the text of an event


def text_and_traceback(event: LogEvent) -> tuple[str, str]:
    """The text of an event and its traceback, "" if there is none. Control characters are not escaped."""
    failure = event.get("log_failure")
    if failure is None and "log_text" in event and isinstance(event.get("failure"), Failure):
        # An event of twisted.python.log; its text contains the traceback.
        return safe_str(event.get("why") or "Unhandled Error"), _traceback(event["failure"])
    return _text_of(event), "" if failure is None else _traceback(failure)


def _text_of(event: LogEvent) -> str:
    try:
        if "()" not in event["log_format"] and "log_flattened" not in event:
            text: str = event["log_format"].format_map(event)
            return text
    except Exception:  # noqa: BLE001 - Twisted's slower function describes the error
        return formatEvent(event)
    return formatEvent(event)


def _traceback(failure: Failure) -> str:
    try:
        return failure.getTraceback()
    except Exception as error:  # noqa: BLE001 - str() of any exception may fail
        return f"no traceback of {safe_repr(failure)}: {safe_repr(error)}"


def _level(event: LogEvent) -> str:
    return getattr(event.get("log_level"), "name", "-")


# ---------------------------------------------------------------- text


def text_line(event: LogEvent) -> str | None:
    """An event in the format of Twisted's own log: ``2026-11-22T20:15:03+0000 [namespace#level] text``."""
    text, traceback = text_and_traceback(event)
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
    """An event as a JSON object: the text escaped as in :func:`text_line`, the fields unchanged."""
    text, traceback = text_and_traceback(event)
    if not text and not traceback:
        return None
    record: dict[str, object] = {
        "time": None if event.get("log_time") is None else utc(event["log_time"]),
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


def utc(when: float) -> str:
    """A time in seconds since the epoch, such as "2026-11-22T12:00:00.250000Z" (RFC 3339)."""
    second, micro = divmod(int(when * 1e6), 1_000_000)
    return f"{_utc_second(second)}.{micro:06}Z"


@lru_cache(maxsize=2)
def _utc_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _plain(value: object) -> object:
    """Convert a value that JSON cannot represent."""
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


def plain_text(value: object) -> str:
    """The value of a field as text. Never fails."""
    plain = value if isinstance(value, str) else _plain(value)
    return plain if isinstance(plain, str) else safe_repr(plain)


# ASCII only: no character can be read as a line end, and the locale does not matter.
_encode = json.JSONEncoder(default=_plain, allow_nan=False).encode


def _encodable(value: object) -> object:
    try:
        _encode(value)
    except (TypeError, ValueError, RecursionError):
        return safe_repr(value)
    return value


LINES: Mapping[str, Callable[[LogEvent], str | None]] = {"text": text_line, "json": json_line}


# ---------------------------------------------------------------- the destination


def twisted_logs(options: Mapping[str, Any] | None) -> bool:
    """Whether Twisted writes the log: ``options`` are not those of twistd, or have --logger or --syslog."""
    return options is None or "nodaemon" not in options or options["logger"] or options["syslog"]


def observer_for(reactor: IReactor, options: Mapping[str, Any] | None, format: str) -> ILogObserver | None:
    """The observer that logs in ``format``, "text" or "json", to the destination that the ``options`` of
    twistd choose.

    None if --logger or --syslog is given, or if the program is not twistd. Raises
    :class:`ConfigurationError` if the file of --logfile cannot be opened.
    """
    if twisted_logs(options):
        return None
    assert options is not None
    name, foreground = options["logfile"], options["nodaemon"]
    if name == "-" and not foreground:
        return None  # twistd itself rejects this
    if name == "-" or (foreground and not name):
        sys.stdout.flush()
        queue = LineQueue(sys.stdout.fileno(), partial(_dropped, LINES[format]))
        reactor.addSystemEventTrigger("after", "shutdown", queue.finish)
        return LineObserver(queue.write, LINES[format], is_standard_output=True)
    try:
        file = LogFile.fromFullPath(name or "twistd.log")
    except OSError as error:
        raise ConfigurationError([f"--logfile {name or 'twistd.log'}: {error.strerror}"]) from error
    # Like twistd: the file is rotated by size, and by SIGUSR1 unless that signal has another handler.
    if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, lambda number, frame: reactor.callFromThread(file.rotate))
    return LineObserver(file.write, LINES[format])


def _dropped(line: Callable[[LogEvent], str | None], count: int) -> bytes:
    """The line that replaces ``count`` dropped events."""
    event: LogEvent = {
        "log_format": "log: dropped {count} events: standard output was not read in time",
        "log_time": time.time(),
        "log_level": LogLevel.warn,
        "log_namespace": __name__,
        "count": count,
    }
    return (line(event) or "").encode()
