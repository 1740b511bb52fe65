"""Where the log goes: to the destination of twistd, to the journal of systemd, or to a syslog server."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from mailserver.config.keys.log import LogSection, SyslogServer
from mailserver.errors import ConfigurationError
from mailserver.interfaces import IReactor
from mailserver.logs import journald, syslog
from mailserver.logs.journald import connect_datagram, journal_message, send_to_journal
from mailserver.logs.lines import observer_for, twisted_logs
from mailserver.logs.log_socket import LogSocket
from mailserver.logs.syslog import SyslogForm, connect_syslog, framed, send_to_syslog


@implementer(ILogObserver)
class SocketObserver:
    """Writes the message that ``message`` makes of each event. Any thread may log."""

    def __init__(self, write: Callable[[bytes], object], message: Callable[[LogEvent], bytes | None]) -> None:
        self._write = write
        self._message = message

    def __call__(self, event: LogEvent) -> None:
        message = self._message(event)
        if message is not None:
            self._write(message)


def log_observer(
    reactor: IReactor, options: Mapping[str, Any] | None, section: LogSection, hostname: str, path: Path
) -> ILogObserver | None:
    """The observer that logs as ``section`` and the ``options`` of twistd say. ``path`` is the file of the
    configuration, for errors.

    None if --logger or --syslog is given, or if the program is not twistd: Twisted writes the log. Raises
    :class:`ConfigurationError` if the destination cannot be opened.
    """
    if section.format in ("text", "json") or twisted_logs(options):
        return observer_for(reactor, options, section.format)
    message: Callable[[LogEvent], bytes | None]
    connect: Callable[[], socket]
    if section.format == "journal":
        to: SyslogServer | str = section.destination or journald.SOCKET
        connect, send, message = partial(connect_datagram, str(to)), send_to_journal, journal_message
    else:
        to = section.destination or syslog.SOCKET
        connect, send, message = partial(connect_syslog, to), send_to_syslog, _syslog_message(hostname, to)
    try:
        opened = LogSocket(connect, send, partial(_dropped, message))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError([f"{path}: log.destination: cannot connect to {to}: {reason}"]) from error
    reactor.addSystemEventTrigger("after", "shutdown", opened.finish)
    return SocketObserver(opened.write, message)


def _syslog_message(hostname: str, to: SyslogServer | str) -> Callable[[LogEvent], bytes | None]:
    form = SyslogForm(hostname, local=isinstance(to, str))
    if not isinstance(to, SyslogServer) or to.protocol == "udp":
        return form.message

    def message(event: LogEvent) -> bytes | None:
        made = form.message(event)
        return None if made is None else framed(made)

    return message


def _dropped(message: Callable[[LogEvent], bytes | None], count: int) -> bytes:
    """The message that replaces ``count`` dropped ones."""
    event: LogEvent = {
        "log_format": "log: dropped {count} events: the destination did not read them in time",
        "log_time": time.time(),
        "log_level": LogLevel.warn,
        "log_namespace": __name__,
        "count": count,
    }
    return message(event) or b""
