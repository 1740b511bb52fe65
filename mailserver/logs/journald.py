"""Log messages for the journal of systemd, in its native protocol.

A message is a list of fields, sent as one datagram to /run/systemd/journal/socket. A field is

    field = name "=" value LF                       ; for a value without LF
          / name LF length value LF                 ; the length is 64 bits, little-endian

A message that does not fit into a datagram is sent as the descriptor of a sealed file in memory. See
https://systemd.io/JOURNAL_NATIVE_PROTOCOL/. A field of an event has the prefix ``MAILSERVER_``. A list is a
field several times, so that each of its items can be searched for.
"""

import array
import errno
import fcntl
import os
import re
import socket
from collections.abc import Iterator, Mapping

from twisted.logger import LogEvent, LogLevel

from mailserver.errors import one_line
from mailserver.events.base import Event
from mailserver.logs.lines import NOT_FIELDS, plain_text, text_and_traceback

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "mailserver"
MAIL = 2  # the facility, RFC 5424 section 6.2.1
PRIORITIES: Mapping[str, int] = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}
_NAME = re.compile(r"[A-Z0-9_]{1,50}")
_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def priority(event: LogEvent) -> int:
    """The severity of an event, RFC 5424 section 6.2.1."""
    level = event.get("log_level")
    return PRIORITIES.get(level.name if level is not None else LogLevel.info.name, 6)


def journal_message(event: LogEvent) -> bytes | None:
    """An event in the native protocol; None if it has no text."""
    text, traceback = text_and_traceback(event)
    if not text and not traceback:
        return None
    return b"".join(_field(name, value) for name, value in _fields(event, text, traceback))


def _fields(event: LogEvent, text: str, traceback: str) -> Iterator[tuple[str, str]]:
    yield "MESSAGE", one_line(text)
    yield "PRIORITY", str(priority(event))
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    yield "SYSLOG_FACILITY", str(MAIL)
    what = event.get("log_event")
    if isinstance(what, Event):
        yield "MAILSERVER_EVENT", type(what).__name__
    else:
        yield "MAILSERVER_NAMESPACE", str(event.get("log_namespace", "-"))
    if traceback:
        yield "MAILSERVER_TRACEBACK", traceback
    for key, value in event.items():
        name = key.upper()
        if not key.startswith("log_") and key not in NOT_FIELDS and _NAME.fullmatch(name):
            for one in value if isinstance(value, list | tuple) else (value,):
                yield f"MAILSERVER_{name}", plain_text(one)


def _field(name: str, value: str) -> bytes:
    octets = value.encode("utf-8", "backslashreplace")
    if b"\n" in octets:
        return b"%s\n%s%s\n" % (name.encode(), len(octets).to_bytes(8, "little"), octets)
    return b"%s=%s\n" % (name.encode(), octets)


def connect_datagram(path: str) -> socket.socket:
    """A datagram socket that is connected to the socket ``path``. Raises ``OSError``."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        connected.connect(path)
    except BaseException:
        connected.close()
        raise
    return connected


def send_to_journal(to: socket.socket, message: bytes) -> bytes:
    """Send a message. Returns b"", as nothing is left. Raises ``OSError``."""
    try:
        to.send(message)
    except OSError as error:
        if error.errno not in _TOO_LARGE:
            raise
        _send_file(to, message)
    return b""


def _send_file(to: socket.socket, message: bytes) -> None:
    descriptor = os.memfd_create("mailserver-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(message)
        # The journal accepts only files that cannot change any more.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        to.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
    finally:
        os.close(descriptor)
